"""Hybrid classical and photonic-quantum models: Lightning templates over one simulation core.

Names are loaded on first use, so that `import hybridlit` and `import hybridlit.photonics` cost
no more than torch: only the templates, callbacks and the command line import Lightning. The list of
them is `__init__.pyi`, which type checkers read as well.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
