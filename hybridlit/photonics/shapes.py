"""Results on torch's meta device, where a tensor has a shape and no numbers.

What compiled kernels do on the CPU is one node of autograd there, which keeps what theirs keep and
makes nothing but its result. So a layer of any size can be looked at, and a step of it allocates
what it does on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.outcomes import Outcomes

__all__ = ["shaped", "shaped_outcomes"]


def shaped(shape: tuple[int, ...], *sources: Tensor, complex_numbers: bool = False) -> Tensor:
    """Return a tensor of a shape on the meta device through which sources get gradients."""
    result: Tensor = _Shaped.apply(shape, complex_numbers, *sources)  # type: ignore[no-untyped-call]
    return result


def shaped_outcomes(
    rows: tuple[int, ...], outcomes: Outcomes, *sources: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return probabilities (*rows, D), and that of what is kept (*rows), if anything is dropped."""
    found = shaped((*rows, outcomes.size), *sources)
    return found, (shaped(rows, *sources) if outcomes.selected else None)


class _Shaped(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, shape: tuple[int, ...], complex_numbers: bool, *sources: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*(source.contiguous() for source in sources))
        dtype = sources[0].dtype
        return sources[0].new_empty(shape, dtype=dtype.to_complex() if complex_numbers else dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # of all sources, as the kernels do it
        return None, None, *(shaped(each.shape, each, grad) for each in ctx.saved_tensors)
