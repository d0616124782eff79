"""The compiled simulation as one node: of autograd, of torch.func and of torch's operator library.

Three forms of the same: :class:`Simulation` costs least per call and keeps intermediate states;
:class:`TransformableSimulation` has the rules that ``torch.func`` asks for; the operator
``torch.ops.hybridlit.probabilities`` is what ``torch.compile`` and ``torch.export`` see, since
functions there refuse torch.func's gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import refuse_batches
from hybridlit.photonics.propagation import (
    LargePhasesError,
    check_kept,
    least_kept,
    probabilities_in_torch,
    unusable,
)
from hybridlit.photonics.tracing import unrecorded

__all__ = ["Simulation", "TransformableSimulation"]


class Simulation(torch.autograd.Function):
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
            raise unusable(data_phases)
        ctx.occupied, ctx.space = occupied, space
        ctx.save_for_backward(phases, data_phases, *saved)
        ctx.set_materialize_grads(False)
        if not space.unbunched:
            return result, None
        check_kept(saved[0], least_kept(space, result.dtype))
        return result, saved[0]

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, grad_kept: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        phases, data_phases, *saved = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            return *_differentiably(ctx, phases, data_phases, grad, grad_kept), None, None, None
        refuse_batches(grad, grad_kept)
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


class TransformableSimulation(torch.autograd.Function):
    """The same for ``torch.func``: everything needed again is computed again.

    The kept mass is 1 in the Fock space, where nothing is dropped.
    """

    @staticmethod
    def forward(
        phases: Tensor, data_phases: Tensor, occupied: tuple[int, ...], space: FockSpace
    ) -> tuple[Tensor, Tensor]:
        return _forward(phases, data_phases, occupied, space)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        phases, data_phases, ctx.occupied, ctx.space = inputs
        ctx.save_for_backward(phases, data_phases)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor, Tensor] = _TransformableGradient.apply(  # type: ignore[no-untyped-call]
            *ctx.saved_tensors, grad, grad_kept, ctx.occupied, ctx.space
        )
        return *found, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        phases: Tensor,
        data_phases: Tensor,
        occupied: tuple[int, ...],
        space: FockSpace,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        if in_dims[0] is None:  # the same circuit: only the batch grows
            assert in_dims[1] is not None
            batch = data_phases.movedim(in_dims[1], -1).flatten(-2)
            result, kept = TransformableSimulation.apply(phases, batch, occupied, space)  # type: ignore[no-untyped-call]
            size = (
                data_phases.shape[-1]
                if in_dims[1] not in (-1, data_phases.dim() - 1)
                else data_phases.shape[-2],
                info.batch_size,
            )
            return (result.unflatten(-2, size), kept.unflatten(-1, size)), (result.dim() - 1, -1)
        circuits = _as_circuits(info.batch_size, in_dims, (phases, data_phases))
        stack = phases.movedim(in_dims[0], 0).shape[1:-3]
        result, kept = TransformableSimulation.apply(*circuits, occupied, space)  # type: ignore[no-untyped-call]
        size = (info.batch_size, *stack)
        return (result.unflatten(0, size), kept.unflatten(0, size)), (0, 0)


class _TransformableGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        phases: Tensor,
        data_phases: Tensor,
        grad: Tensor,
        grad_kept: Tensor,
        occupied: tuple[int, ...],
        space: FockSpace,
    ) -> tuple[Tensor, Tensor]:
        return _backward(phases, data_phases, grad, grad_kept, occupied, space)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.occupied, ctx.space = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, grad, grad_kept = ctx.saved_tensors

        def gradient(
            phases: Tensor, data_phases: Tensor, grad: Tensor, grad_kept: Tensor
        ) -> tuple[Tensor, ...]:
            def values(phases: Tensor, data_phases: Tensor) -> tuple[Tensor, ...]:
                result, kept = probabilities_in_torch(phases, data_phases, ctx.occupied, ctx.space)
                return (result,) if kept is None else (result, kept)

            outputs, pull = torch.func.vjp(values, phases, data_phases)[:2]
            found: tuple[Tensor, ...] = pull((grad, grad_kept)[: len(outputs)])
            return found

        pull = torch.func.vjp(gradient, *inputs, grad, grad_kept)[1]
        return *pull(grads), None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        phases: Tensor,
        data_phases: Tensor,
        grad: Tensor,
        grad_kept: Tensor,
        occupied: tuple[int, ...],
        space: FockSpace,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        tensors = (phases, data_phases, grad, grad_kept)
        circuits = _as_circuits(info.batch_size, in_dims, tensors)
        stack = (
            phases.shape[:-3] if in_dims[0] is None else phases.movedim(in_dims[0], 0).shape[1:-3]
        )
        found = _TransformableGradient.apply(*circuits, occupied, space)  # type: ignore[no-untyped-call]
        size = (info.batch_size, *stack)
        return (found[0].unflatten(0, size), found[1].unflatten(0, size)), (0, 0)


def _as_circuits(
    size: int, in_dims: tuple[int | None, ...], tensors: tuple[Tensor, ...]
) -> list[Tensor]:
    """Make the dimension mapped over, and a stack's own, the one leading dimension of circuits."""
    result = []
    for tensor, mapped, trailing in zip(tensors, in_dims, (3, 3, 2, 1), strict=False):
        first = tensor.expand(size, *tensor.shape) if mapped is None else tensor.movedim(mapped, 0)
        result.append(first.reshape(-1, *first.shape[first.dim() - trailing :]))
    return result


def _forward(
    phases: Tensor, data_phases: Tensor, occupied: Sequence[int], space: FockSpace
) -> tuple[Tensor, Tensor]:
    result, saved = compiled.probabilities_forward(
        phases, data_phases.contiguous(), tuple(occupied), space.unbunched, True
    )
    if result is None:
        raise unusable(data_phases)
    if not space.unbunched:
        return result, result.new_ones(result.shape[:-1])
    check_kept(saved[0], least_kept(space, result.dtype))
    return result, saved[0]


def _backward(
    phases: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    grad_kept: Tensor,
    occupied: Sequence[int],
    space: FockSpace,
) -> tuple[Tensor, Tensor]:
    data_phases, photons = data_phases.contiguous(), tuple(occupied)
    result, saved = compiled.probabilities_forward(
        phases, data_phases, photons, space.unbunched, True
    )
    if result is None:
        raise unusable(data_phases)
    return compiled.probabilities_backward(
        data_phases, photons, space.unbunched, saved, grad, grad_kept if space.unbunched else None
    )


# --- the operator for tracing ---------------------------------------------------------------------

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
    try:
        return _forward(phases, data_phases, occupied, outcomes)
    except LargePhasesError:
        return _forward(phases, _without_turns(data_phases), occupied, outcomes)


def _traced_backward(
    phases: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    grad_kept: Tensor,
    occupied: list[int],
    space: str,
) -> tuple[Tensor, Tensor]:
    outcomes = _space(data_phases, occupied, space)
    try:
        return _backward(phases, data_phases, grad, grad_kept, occupied, outcomes)
    except LargePhasesError:
        left = _without_turns(data_phases)
        return _backward(phases, left, grad, grad_kept, occupied, outcomes)


def _without_turns(data_phases: Tensor) -> Tensor:
    """What is left of phases in a graph made by 0.1.0, whose layers took no whole turns off."""
    return torch.remainder(data_phases.double(), 2 * math.pi).to(data_phases.dtype)


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
    return phases.new_empty(phases.shape), data_phases.new_empty(data_phases.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    phases, data_phases, ctx.occupied, ctx.space = inputs
    ctx.save_for_backward(phases, data_phases)


def _traced_gradient(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
    operator = torch.ops.hybridlit.probabilities_backward
    return *operator(*ctx.saved_tensors, grad, grad_kept, ctx.occupied, ctx.space), None, None


_library.impl("probabilities", unrecorded()(_traced_forward), "CPU")
_library.impl("probabilities_backward", _traced_backward, "CPU")
torch.library.register_fake("hybridlit::probabilities", _shape_of_forward)
torch.library.register_fake("hybridlit::probabilities_backward", _shape_of_backward)
torch.library.register_autograd(
    "hybridlit::probabilities", _traced_gradient, setup_context=_remember
)
