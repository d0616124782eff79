"""Derivatives of gradients in data phases: nodes whose backward passes are compiled jets.

A loss on derivatives of the outputs, as of a differential equation, differentiates a gradient, and
to learn from it that derivative once more. `Slope` is the gradient of weighted outcomes,
`_Curvature` that gradient's derivative along a direction of the data phases; its own gradient is
compiled too. Whatever is asked beyond, derivatives of gradients of interferometers or a fourth
order, torch operations do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import refuse_batches
from hybridlit.photonics.propagation import unusable, weights_in_torch

__all__ = ["slope"]

_Gradients = tuple[Tensor | None, ...]


def slope(
    interferometers: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    inputs: tuple[int, ...],
    space: FockSpace,
) -> tuple[Tensor, Tensor]:
    """Return gradients of interferometers and data phases that can be differentiated.

    Args:
        interferometers: As a `Lowered` has them.
        data_phases: As there.
        grad: That of the weights of a space's states: of their probabilities, which are not
            renormalised. Shape (..., batch, D).
        inputs: As there.
        space: Whose states.
    """
    found: tuple[Tensor, Tensor] = _Slope.apply(  # type: ignore[no-untyped-call]
        interferometers, data_phases, grad, inputs, space
    )
    return found


class _Slope(torch.autograd.Function):
    """Gradients of the sum of `grad` times weights."""

    @staticmethod
    def forward(
        ctx: Any,
        interferometers: Tensor,
        data_phases: Tensor,
        grad: Tensor,
        inputs: tuple[int, ...],
        space: FockSpace,
    ) -> tuple[Tensor, Tensor]:
        ctx.how = inputs, space
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(interferometers, data_phases, grad)
        _, meshes, phases = _along(interferometers, data_phases, grad, (), None, *ctx.how)
        return meshes, phases[0]

    @staticmethod
    def backward(ctx: Any, by_meshes: Tensor | None, by_phases: Tensor | None) -> _Gradients:
        given = ctx.saved_tensors
        refuse_batches(by_meshes, by_phases)
        if by_meshes is not None:
            return *_pulled(_slope_in_torch, given, (by_meshes, by_phases), *ctx.how), None, None
        if by_phases is None:
            return (None,) * 5
        found: _Gradients = _Curvature.apply(*given, by_phases, *ctx.how)  # type: ignore[no-untyped-call]
        return *found, None, None


class _Curvature(torch.autograd.Function):
    """Gradients of the sum of `grad` times the derivative of weights along a direction."""

    @staticmethod
    def forward(
        ctx: Any,
        interferometers: Tensor,
        data_phases: Tensor,
        grad: Tensor,
        direction: Tensor,
        inputs: tuple[int, ...],
        space: FockSpace,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.how = inputs, space
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(interferometers, data_phases, grad, direction)
        values, meshes, phases = _along(
            interferometers, data_phases, grad, (direction,), None, *ctx.how
        )
        return meshes, phases[0], values

    @staticmethod
    def backward(
        ctx: Any, by_meshes: Tensor | None, by_phases: Tensor | None, by_values: Tensor | None
    ) -> _Gradients:
        interferometers, data_phases, grad, direction = given = ctx.saved_tensors
        circuit = interferometers, data_phases
        wanted = by_meshes, by_phases, by_values
        refuse_batches(*wanted)
        values: Tensor | None
        if by_meshes is not None or torch.is_grad_enabled():
            found = _pulled(_curvature_in_torch, given, wanted, *ctx.how)
            return *found, None, None
        if by_phases is not None:
            both = direction, by_phases
            values, meshes, phases = _along(*circuit, grad, both, by_values, *ctx.how)
        elif by_values is not None:
            _, meshes, phases = _along(*circuit, by_values, (direction,), None, *ctx.how)
            values = None
        else:
            return (None,) * 6
        return meshes, phases[0], values, phases[1], None, None


def _along(
    interferometers: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    directions: tuple[Tensor, ...],
    second: Tensor | None,
    inputs: tuple[int, ...],
    space: FockSpace,
) -> tuple[Tensor, Tensor, Tensor]:
    found = compiled.weights_along(
        interferometers, data_phases, inputs, space.unbunched, directions, grad, second
    )
    if found is None:
        raise unusable(data_phases)
    return found


# --- the same in torch operations, for derivatives of any order -----------------------------------


def _pulled(
    function: Callable[..., Sequence[Tensor | None]],
    tensors: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    *how: Any,
) -> list[Tensor | None]:
    """Pull gradients of a function's results back to its tensors."""
    live = torch.is_grad_enabled()
    with torch.enable_grad():
        given = [
            tensor if live and tensor.requires_grad else tensor.detach().requires_grad_()
            for tensor in tensors
        ]
        pairs = zip(function(*given, *how), grads, strict=True)
        known = [(result, by) for result, by in pairs if result is not None and by is not None]
        found = torch.autograd.grad(
            [result for result, _ in known],
            given,
            [by for _, by in known],
            create_graph=live,
            allow_unused=True,
        )
    return list(found)


def _slope_in_torch(
    interferometers: Tensor,
    data_phases: Tensor,
    grad: Tensor,
    inputs: tuple[int, ...],
    space: FockSpace,
) -> tuple[Tensor, ...]:
    weights = weights_in_torch(Lowered(interferometers, data_phases, inputs), space)
    return torch.autograd.grad(weights, (interferometers, data_phases), grad, create_graph=True)


def _curvature_in_torch(
    interferometers: Tensor, data_phases: Tensor, grad: Tensor, direction: Tensor, *how: Any
) -> tuple[Tensor | None, ...]:
    tensors = interferometers, data_phases, grad
    phases = _slope_in_torch(*tensors, *how)[1]
    return torch.autograd.grad(phases, tensors, direction, create_graph=True, allow_unused=True)
