"""Perceval, which is not installed with hybridlit."""

from importlib.util import find_spec

__all__ = ["require_perceval"]


def require_perceval() -> None:
    """Raise an ImportError that says what to install, if Perceval is missing."""
    if find_spec("perceval") is None:
        raise ImportError("this needs Perceval: pip install 'hybridlit[perceval]'")
