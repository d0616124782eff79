"""The compiled simulation as one node: of autograd, of torch.func and of torch's operator library.

Three forms of the same: `Simulation` costs least per call and keeps intermediate states;
`TransformableSimulation` has the rules that `torch.func` asks for; the operator
`torch.ops.hybridlit.probabilities` is what `torch.compile` and `torch.export` see, since functions
there refuse torch.func's gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.curvature import slope
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import refuse_batches
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.propagation import LargePhasesError, probabilities_in_torch, unusable
from hybridlit.photonics.tracing import unrecorded

__all__ = ["Simulation", "TransformableSimulation"]

_Inputs = tuple[int, ...]


class Simulation(torch.autograd.Function):
    """The compiled kernel as one node of autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        interferometers: Tensor,
        data_phases: Tensor,
        inputs: _Inputs,
        outcomes: Outcomes,
        recompute: bool | None,
    ) -> tuple[Tensor, Tensor | None]:
        result, saved = compiled.probabilities_forward(
            interferometers, data_phases, inputs, outcomes.selected, recompute
        )
        if result is None:
            raise unusable(data_phases)
        ctx.inputs, ctx.outcomes = inputs, outcomes
        ctx.save_for_backward(interferometers, data_phases, *saved)
        if not outcomes.selected:
            return result, None
        ctx.set_materialize_grads(False)
        return result, outcomes.checked(saved[0])

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, grad_kept: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        interferometers, data_phases, *saved = ctx.saved_tensors
        refuse_batches(grad, grad_kept)
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            found = _differentiably(ctx, interferometers, data_phases, grad, grad_kept)
            return *found, None, None, None
        if grad is None:  # only the kept mass was used
            shape = (*data_phases.shape[:-3], data_phases.shape[-1], ctx.outcomes.size)
            grad = data_phases.new_zeros(1).expand(shape)
        found = compiled.probabilities_backward(
            interferometers, data_phases, ctx.inputs, ctx.outcomes.selected, saved, grad, grad_kept
        )
        return *found, None, None, None


def _differentiably(
    ctx: Any,
    interferometers: Tensor,
    data_phases: Tensor,
    grad: Tensor | None,
    grad_kept: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Gradients with a graph of their own: of the weights of outcomes, behind those of `grad`."""
    outcomes = ctx.outcomes
    if outcomes.selected:
        found, kept = Simulation.apply(interferometers, data_phases, ctx.inputs, outcomes, True)  # type: ignore[no-untyped-call]
        by_weights = kept.new_zeros(()) if grad_kept is None else grad_kept[..., None]
        if grad is not None:
            mean = (grad * found).sum(-1, keepdim=True)
            by_weights = by_weights + (grad - mean) / kept[..., None]
        grad = by_weights.expand_as(found)
    assert grad is not None
    return slope(interferometers, data_phases, grad, ctx.inputs, outcomes.space)


class TransformableSimulation(torch.autograd.Function):
    """The same for `torch.func`: everything needed again is computed again.

    The kept mass is 1 where nothing is dropped.
    """

    @staticmethod
    def forward(
        interferometers: Tensor, data_phases: Tensor, inputs: _Inputs, outcomes: Outcomes
    ) -> tuple[Tensor, Tensor]:
        return _forward(interferometers, data_phases, inputs, outcomes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.inputs, ctx.outcomes = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor, Tensor] = _TransformableGradient.apply(  # type: ignore[no-untyped-call]
            *ctx.saved_tensors, grad, grad_kept, ctx.inputs, ctx.outcomes
        )
        return *found, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        interferometers: Tensor,
        data_phases: Tensor,
        *how: Any,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        if in_dims[0] is None:  # the same circuit: only the batch grows
            assert in_dims[1] is not None
            moved = data_phases.movedim(in_dims[1], -1)
            result, kept = TransformableSimulation.apply(interferometers, moved.flatten(-2), *how)  # type: ignore[no-untyped-call]
            size = tuple(moved.shape[-2:])
            return (result.unflatten(-2, size), kept.unflatten(-1, size)), (result.dim() - 1, -1)
        circuits, size = _as_circuits(info.batch_size, in_dims, (interferometers, data_phases))
        result, kept = TransformableSimulation.apply(*circuits, *how)  # type: ignore[no-untyped-call]
        return (result.unflatten(0, size), kept.unflatten(0, size)), (0, 0)


class _TransformableGradient(torch.autograd.Function):
    @staticmethod
    def forward(*tensors_and_how: Any) -> tuple[Tensor, Tensor]:
        return _backward(*tensors_and_how)

    setup_context = TransformableSimulation.setup_context

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        def gradient(
            interferometers: Tensor, data_phases: Tensor, grad: Tensor, grad_kept: Tensor
        ) -> tuple[Tensor, ...]:
            def values(interferometers: Tensor, data_phases: Tensor) -> tuple[Tensor, ...]:
                circuit = Lowered(interferometers, data_phases, ctx.inputs)
                result, kept = probabilities_in_torch(circuit, ctx.outcomes)
                return (result,) if kept is None else (result, kept)

            outputs, pull = torch.func.vjp(values, interferometers, data_phases)[:2]
            found: tuple[Tensor, ...] = pull((grad, grad_kept)[: len(outputs)])
            return found

        pull = torch.func.vjp(gradient, *ctx.saved_tensors)[1]
        return *pull(grads), None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *tensors_and_how: Any
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        *tensors, inputs, outcomes = tensors_and_how
        circuits, size = _as_circuits(info.batch_size, in_dims, tensors)
        found = _TransformableGradient.apply(*circuits, inputs, outcomes)  # type: ignore[no-untyped-call]
        return (found[0].unflatten(0, size), found[1].unflatten(0, size)), (0, 0)


def _as_circuits(
    size: int, in_dims: tuple[int | None, ...], tensors: Any
) -> tuple[list[Tensor], tuple[int, ...]]:
    """Make the dimension mapped over, and a stack's own, the one leading dimension of circuits.

    Returns what is left of the tensors, and the sizes that were merged.
    """
    moved = [
        tensor.expand(size, *tensor.shape) if mapped is None else tensor.movedim(mapped, 0)
        for tensor, mapped in zip(tensors, in_dims, strict=False)
    ]
    merged = [
        tensor.reshape(-1, *tensor.shape[tensor.dim() - trailing :])
        for tensor, trailing in zip(moved, (3, 3, 2, 1), strict=False)
    ]
    return merged, tuple(moved[0].shape[:-3])


def _forward(
    interferometers: Tensor, data_phases: Tensor, inputs: _Inputs, outcomes: Outcomes
) -> tuple[Tensor, Tensor]:
    result, saved = compiled.probabilities_forward(
        interferometers, data_phases, inputs, outcomes.selected, True
    )
    if result is None:
        raise unusable(data_phases)
    if not outcomes.selected:
        return result, result.new_ones(result.shape[:-1])
    return result, outcomes.checked(saved[0])


def _backward(
    interferometers: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    grad_kept: Tensor,
    inputs: _Inputs,
    outcomes: Outcomes,
) -> tuple[Tensor, Tensor]:
    selected = outcomes.selected
    result, saved = compiled.probabilities_forward(
        interferometers, data_phases, inputs, selected, True
    )
    if result is None:
        raise unusable(data_phases)
    return compiled.probabilities_backward(
        interferometers, data_phases, inputs, selected, saved, grad, grad_kept if selected else None
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


def _outcomes(data_phases: Tensor, occupied: list[int], space: str) -> Outcomes:
    modes = int(data_phases.shape[-2])
    return Outcomes(FockSpace(modes, len(occupied), ComputationSpace(space)))


def _on_plain_settings(
    compute: Callable[..., tuple[Tensor, Tensor]],
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Compute for an operator, which may be in a graph made by 0.1.0 or later.

    The layers of 0.1.0 took no whole turns off.
    """

    def operator(
        interferometers: Tensor, data_phases: Tensor, *others: Any
    ) -> tuple[Tensor, Tensor]:
        *grads, occupied, space = others
        how = tuple(occupied), _outcomes(data_phases, occupied, space)
        try:
            return compute(interferometers, data_phases, *grads, *how)
        except LargePhasesError:
            left = torch.remainder(data_phases.double(), 2 * math.pi).to(data_phases.dtype)
            return compute(interferometers, left, *grads, *how)

    return operator


def _shape_of_forward(
    interferometers: Tensor, data_phases: Tensor, occupied: list[int], space: str
) -> tuple[Tensor, Tensor]:
    rows = (*data_phases.shape[:-3], data_phases.shape[-1])
    size = _outcomes(data_phases, occupied, space).size
    return data_phases.new_empty(*rows, size), data_phases.new_empty(rows)


def _shape_of_backward(
    interferometers: Tensor, data_phases: Tensor, *others: Any
) -> tuple[Tensor, Tensor]:
    return interferometers.new_empty(interferometers.shape), data_phases.new_empty(
        data_phases.shape
    )


def _traced_gradient(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
    operator = torch.ops.hybridlit.probabilities_backward
    return *operator(*ctx.saved_tensors, grad, grad_kept, ctx.inputs, ctx.outcomes), None, None


_library.impl("probabilities", unrecorded()(_on_plain_settings(_forward)), "CPU")
_library.impl("probabilities_backward", _on_plain_settings(_backward), "CPU")
torch.library.register_fake("hybridlit::probabilities", _shape_of_forward)
torch.library.register_fake("hybridlit::probabilities_backward", _shape_of_backward)
# Its settings, a list and a word, are kept as they are.
torch.library.register_autograd(
    "hybridlit::probabilities",
    _traced_gradient,
    setup_context=TransformableSimulation.setup_context,
)
