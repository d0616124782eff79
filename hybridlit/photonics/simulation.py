"""Interferometer phases and data phases -> probabilities: the one seam behind which kernels are.

Several circuits of one shape are one simulation, in leading dimensions of all tensors.
The compiled kernel does all of it as one node with a hand-written gradient; torch operations do the
same on other devices, under ``torch.func`` and for second derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.amplitudes import amplitudes_from_columns
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import kernel_for, transformed
from hybridlit.photonics.memory import require_memory
from hybridlit.photonics.propagation import circuit_columns

__all__ = ["can_look_at", "probabilities", "probabilities_in_torch"]

_LARGE = 2**22
"""Probabilities beyond which it is worth asking whether memory suffices."""


def probabilities(
    phases: Tensor,
    data_phases: Tensor,
    occupied: Sequence[int],
    space: FockSpace,
    recompute: bool | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the probabilities of all outcomes and the probability that they have together.

    Args:
        phases: of the interferometers' cells in radians, shape (..., columns + 1, cells, 2), real.
        data_phases: in radians, shape (..., columns, modes, batch), real, of the same leading
            dimensions.
        occupied: the input mode of each photon, ascending.
        space: the outcomes; unbunched ones are renormalised to sum to 1.
        recompute: simulate again for the gradient instead of keeping intermediate states; None
            keeps them while they are small.

    Returns:
        Probabilities, shape (..., batch, D), and their sum before renormalisation, shape
        (..., batch): the post-selection's success probability if unbunched; None in the Fock space,
        where it is 1.

    Raises:
        MemoryError: on the CPU, if the simulation cannot fit into memory.
        ValueError: on the CPU, if a phase is not finite, or if no unbunched outcome of some sample
            has any probability.
    """
    batch = data_phases.shape[-1] * data_phases.shape[:-3].numel()
    if not torch.compiler.is_compiling() and batch * space.size > _LARGE:
        require_memory(space, batch, phases.dtype, phases.device.type)
    if kernel_for(space, phases) == "torch":
        return probabilities_in_torch(phases, data_phases, occupied, space)
    if torch.compiler.is_compiling():
        traced: tuple[Tensor, Tensor] = torch.ops.hybridlit.probabilities(
            phases, data_phases, list(occupied), space.space.value
        )
        return traced[0], (traced[1] if space.unbunched else None)
    if transformed(phases, data_phases):
        return probabilities_in_torch(phases, data_phases, occupied, space)
    result: tuple[Tensor, Tensor | None] = _Compiled.apply(  # type: ignore[no-untyped-call]
        phases, data_phases.contiguous(), tuple(occupied), space, recompute
    )
    return result


def probabilities_in_torch(
    phases: Tensor, data_phases: Tensor, occupied: Sequence[int], space: FockSpace
) -> tuple[Tensor, Tensor | None]:
    """Return what :func:`probabilities` does, as a differentiable torch expression.

    Args:
        phases: as for :func:`probabilities`.
        data_phases: as for :func:`probabilities`.
        occupied: as for :func:`probabilities`.
        space: as for :func:`probabilities`.

    Returns:
        As :func:`probabilities`.

    Raises:
        ValueError: as :func:`probabilities`.
    """
    if can_look_at(data_phases) and not bool(torch.isfinite(data_phases).all()):
        raise _not_finite()
    columns = circuit_columns(phases, data_phases, occupied)
    result = amplitudes_from_columns(columns.flatten(2), occupied, space.space)
    weights = (result.real.square() + result.imag.square()).unflatten(0, columns.shape[2:])
    if not space.unbunched:
        return weights, None
    kept = weights.sum(-1)
    _check_kept(kept)
    return weights / kept[..., None], kept


def can_look_at(tensor: Tensor) -> bool:
    """Return whether reading a value costs no synchronisation and is possible at all.

    Args:
        tensor: any tensor.

    Returns:
        True on the CPU outside tracing and ``torch.func`` transforms.
    """
    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not transformed(tensor)
    )


def _not_finite() -> ValueError:
    return ValueError(
        "x and the phases must be finite and below 2**50, got NaN, infinity or more; clean the "
        "data or look for a diverging layer before this one"
    )


def _check_kept(kept: Tensor) -> None:
    # An amplitude is exact to a few eps: below the square of that, all of it may be rounding.
    if can_look_at(kept) and bool((kept <= 64 * torch.finfo(kept.dtype).eps ** 2).any()):
        raise ValueError(
            "no unbunched outcome has any probability for some sample, which leaves nothing to "
            "renormalise; use computation_space='fock' or another input_state"
        )


class _Compiled(torch.autograd.Function):
    """The compiled kernel as one node of autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        phases: Tensor,
        data_phases: Tensor,
        occupied: tuple[int, ...],
        space: FockSpace,
        recompute: bool | None,
    ) -> tuple[Tensor, Tensor | None]:
        result, saved = compiled.probabilities_forward(
            phases, data_phases, occupied, space.unbunched, recompute
        )
        if result is None:
            raise _not_finite()
        ctx.occupied, ctx.space = occupied, space
        ctx.save_for_backward(phases, data_phases, *saved)
        ctx.set_materialize_grads(False)
        if not space.unbunched:
            return result, None
        _check_kept(saved[0])
        return result, saved[0]

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, grad_kept: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        phases, data_phases, *saved = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            return *_differentiably(ctx, phases, data_phases, grad, grad_kept), None, None, None
        if grad is None:  # only the kept mass was used
            shape = (*data_phases.shape[:-3], data_phases.shape[-1], ctx.space.size)
            grad = phases.new_zeros(1).expand(shape)
        found = compiled.probabilities_backward(
            data_phases, ctx.occupied, ctx.space.unbunched, saved, grad, grad_kept
        )
        return *found, None, None, None


def _differentiably(
    ctx: Any, phases: Tensor, data_phases: Tensor, grad: Tensor | None, grad_kept: Tensor | None
) -> list[Tensor | None]:
    inputs = [phases, data_phases]
    wanted = [index for index in range(2) if ctx.needs_input_grad[index]]
    outputs = probabilities_in_torch(phases, data_phases, ctx.occupied, ctx.space)
    pairs = zip(outputs, (grad, grad_kept), strict=True)
    given = [(o, g) for o, g in pairs if o is not None and g is not None]
    found = torch.autograd.grad(
        [output for output, _ in given],
        [inputs[index] for index in wanted],
        [gradient for _, gradient in given],
        create_graph=True,
        allow_unused=True,
    )
    result: list[Tensor | None] = [None, None]
    for index, value in zip(wanted, found, strict=True):
        result[index] = value
    return result


# The same node for tracing, in torch's operator library; functions registered there refuse
# torch.func's gradients and cost more per call, hence not for everything.

_library = torch.library.Library("hybridlit", "FRAGMENT")
_library.define(
    "probabilities(Tensor phases, Tensor data_phases, int[] occupied, str space)"
    " -> (Tensor, Tensor)"
)
_library.define(
    "probabilities_backward(Tensor phases, Tensor data_phases, Tensor grad, Tensor grad_kept,"
    " int[] occupied, str space) -> (Tensor, Tensor)"
)


def _space(data_phases: Tensor, occupied: Sequence[int], space: str) -> FockSpace:
    return FockSpace(int(data_phases.shape[-2]), len(occupied), ComputationSpace(space))


def _traced_forward(
    phases: Tensor, data_phases: Tensor, occupied: list[int], space: str
) -> tuple[Tensor, Tensor]:
    outcomes = _space(data_phases, occupied, space)
    result, kept = probabilities(phases.detach(), data_phases.detach(), occupied, outcomes)
    return result, result.new_ones(result.shape[:-1]) if kept is None else kept


def _traced_backward(
    phases: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    grad_kept: Tensor,
    occupied: list[int],
    space: str,
) -> tuple[Tensor, Tensor]:
    outcomes = _space(data_phases, occupied, space)
    with torch.enable_grad():
        inputs = phases.detach().requires_grad_(), data_phases.detach().requires_grad_()
        result, kept = probabilities(*inputs, occupied, outcomes)
    outputs, above = ([result], [grad]) if kept is None else ([result, kept], [grad, grad_kept])
    of_phases, of_data = torch.autograd.grad(outputs, inputs, above)
    return of_phases, of_data


def _shape_of_forward(
    phases: Tensor, data_phases: Tensor, occupied: list[int], space: str
) -> tuple[Tensor, Tensor]:
    rows = (*data_phases.shape[:-3], data_phases.shape[-1])
    size = _space(data_phases, occupied, space).size
    return phases.new_empty(*rows, size), phases.new_empty(rows)


def _shape_of_backward(
    phases: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    grad_kept: Tensor,
    occupied: list[int],
    space: str,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(phases), torch.empty_like(data_phases)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    phases, data_phases, ctx.occupied, ctx.space = inputs
    ctx.save_for_backward(phases, data_phases)


def _traced_gradient(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
    operator = torch.ops.hybridlit.probabilities_backward
    return *operator(*ctx.saved_tensors, grad, grad_kept, ctx.occupied, ctx.space), None, None


for _device in ("CPU", "CUDA", "MPS", "XPU"):
    _library.impl("probabilities", _traced_forward, _device)
    _library.impl("probabilities_backward", _traced_backward, _device)
torch.library.register_fake("hybridlit::probabilities", _shape_of_forward)
torch.library.register_fake("hybridlit::probabilities_backward", _shape_of_backward)
torch.library.register_autograd(
    "hybridlit::probabilities", _traced_gradient, setup_context=_remember
)
