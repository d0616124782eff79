"""Whether torch records a graph of what runs, and what such a graph cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["recording", "refuse_onnx", "unrecorded"]


def recording() -> bool:
    """Return whether ``torch.compile``, ``torch.export`` or ``torch.jit.trace`` is at work."""
    return torch.compiler.is_compiling() or torch._C._is_tracing()


@contextmanager
def unrecorded() -> Iterator[None]:
    """Keep ``torch.jit.trace`` from recording how a constant or an operator's result is made."""
    core: Any = torch._C
    state = core._get_tracing_state()
    if state is not None:
        core._set_tracing_state(None)
    try:
        yield
    finally:
        if state is not None:
            core._set_tracing_state(state)


def refuse_onnx() -> None:
    """Raise if ``torch.onnx`` records the graph: it has no complex numbers and no such operators.

    Raises:
        NotImplementedError: with what to use instead.
    """
    if recording() and torch.onnx.is_in_onnx_export():
        raise NotImplementedError(
            "photonic layers cannot be exported to ONNX, which has no operators for them; use "
            "torch.export.export(layer, (x,)) and torch.export.save"
        )
