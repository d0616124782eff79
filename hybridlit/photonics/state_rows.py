"""Input states that come with the features, checked and as rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.finite import can_look_at, require_finite
from hybridlit.photonics.fock import FockSpace

__all__ = ["state_rows"]


def state_rows(
    state: Tensor, before: tuple[int, ...], space: FockSpace, count: int | None, double: bool
) -> tuple[Tensor, tuple[int, ...]]:
    """Check input states, and return them as rows and what leads results.

    Args:
        state: Amplitudes, as for the `forward` of layers.
        before: What leads the features.
        space: The basis of states.
        count: Number of circuits in a stack.
        double: Whether the layer computes in float64.

    Returns:
        Shape (circuits or 1, samples, K), complex; and the leading shape.

    Raises:
        TypeError: If a state is no floating tensor, or more precise than the layer.
        ValueError: If its shape is wrong or, on the CPU, if an amplitude is not finite.
    """
    if not isinstance(state, Tensor) or not (state.is_complex() or state.is_floating_point()):
        got = state.dtype if isinstance(state, Tensor) else type(state).__name__
        raise TypeError(f"state must be a complex or real floating tensor, got {got}")
    sizes = [space.size]
    if space.unbunched:
        sizes.append(FockSpace(space.modes, space.photons).size)
    if state.shape[-1:].numel() not in sizes or not state.dim():
        raise ValueError(
            f"state must have shape (..., {' or '.join(map(str, sizes))}), amplitudes of "
            f"{space.photons} photon(s) in {space.modes} modes, got {tuple(state.shape)}"
        )
    lead = state.shape[:-1]
    if count is not None and len(lead) == len(before) + 1 and lead == (*before, count):
        rows = state.reshape(math.prod(before), *state.shape[-2:]).transpose(0, 1)
    elif math.prod(lead) == 1 or not before or lead == before:
        before = before or lead
        rows = state.reshape(1, math.prod(lead), state.shape[-1])
    else:
        raise ValueError(
            f"state must have a row for each row of x, of shape {before}, or one in all, got "
            f"{tuple(state.shape)}"
        )
    if state.dtype in (torch.float64, torch.complex128) and not double:
        raise TypeError(
            "state must not be more precise than the layer, got "
            f"{str(state.dtype).removeprefix('torch.')} for a float32 layer; use "
            "state.to(torch.complex64), or layer.double() to compute in float64"
        )
    # a sum costs far less than a look at each number
    if not can_look_at(state) or not math.isfinite(abs(state.detach().sum().item())):
        require_finite(state, "state")
    return rows.to(torch.complex128 if double else torch.complex64), before
