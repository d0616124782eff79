"""Whether torch records a graph of what runs, and what such a graph cannot hold."""

from __future__ import annotations

import torch

from hybridlit.internals.torch import is_tracing, unrecorded

__all__ = ["recording", "refuse_onnx", "unrecorded"]


def recording() -> bool:
    """Return whether `torch.compile`, `torch.export` or `torch.jit.trace` is at work."""
    return torch.compiler.is_compiling() or is_tracing()


def refuse_onnx() -> None:
    """Raise if `torch.onnx` records the graph: it has no complex numbers and no such operators.

    Raises:
        NotImplementedError: With what to use instead.
    """
    if recording() and torch.onnx.is_in_onnx_export():
        raise NotImplementedError(
            "photonic layers cannot be exported to ONNX, which has no operators for them; use "
            "torch.export.export(layer, (x,)) and torch.export.save"
        )
