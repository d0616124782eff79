"""Noisy light by the compiled kernel, wherever it can serve: columns and light, a node each.

Columns pass from one to the other as real and imaginary parts, shape (circuits, 2, modes, inputs,
batch). A derivative of a derivative is taken by torch operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.kernels.choice import (
    chosen_kernel,
    compiled_refuses,
    forward_mode,
    refuse_batches,
    serves_any,
    transforming,
)
from hybridlit.photonics.kernels.compiled import columns_backward, columns_forward
from hybridlit.photonics.kernels.compiled.light import light_backward, light_forward
from hybridlit.photonics.noise.mixture import light_behind, mixture
from hybridlit.photonics.noise.program import Program
from hybridlit.photonics.noise.steps import table_for
from hybridlit.photonics.propagation import circuit_columns, unusable
from hybridlit.photonics.tracing import recording

__all__ = [
    "compiled_columns",
    "light_of_circuit",
    "light_of_columns",
    "light_of_photons",
    "light_refuses",
    "serves_columns",
]


def light_refuses(program: Program, device: str, dtype: torch.dtype) -> str | None:
    """Return why the compiled kernel cannot serve a program, if it cannot.

    Args:
        program: What to do.
        device: Type of the device.
        dtype: Real.

    Returns:
        The reason for a message.
    """
    largest = FockSpace(program.modes, program.light.numbers[0], program.space)
    return compiled_refuses(largest, device, dtype)


def serves_columns(modes: int, like: Tensor) -> bool:
    """Return whether `compiled_columns` can serve a circuit of data phases like a given tensor."""
    if recording() or transforming() or forward_mode() or not serves_any(like):
        return False
    return compiled_refuses(FockSpace(modes, 1), like.device.type, like.dtype) is None


def compiled_columns(circuit: Lowered) -> Tensor:
    """Return what `circuit_columns` does, by the compiled kernel.

    Args:
        circuit: One, without leading dimensions; its matrices need not be unitary.

    Returns:
        Shape (modes, inputs, batch), complex.

    Raises:
        LargePhasesError: If a data phase is not below 25 radians.
        ValueError: If a phase is not finite.
    """
    planes: Tensor = _Columns.apply(*circuit)  # type: ignore[no-untyped-call]
    return torch.complex(planes[0, 0], planes[0, 1])


def light_of_circuit(circuit: Lowered, weights: Tensor, program: Program) -> Tensor:
    """Return the probabilities of all states of the light behind each circuit.

    Args:
        circuit: With any input modes.
        weights: Those of the program, shape (program.weights,), real.
        program: What to do.

    Returns:
        Shape (..., batch, program.light.size).

    Raises:
        LargePhasesError: On the CPU, if a data phase is not below 25 radians.
        ValueError: On the CPU, if a phase is not finite, or if the compiled kernel is forced but
            cannot serve.
    """
    circuit = circuit._replace(inputs=program.inputs)
    if not _serves(program, weights):
        columns = circuit_columns(circuit)
        rows = mixture(columns.flatten(2), weights, program)
        return rows.reshape(*columns.shape[2:], program.light.size)
    *stack, _, _, batch = circuit.data_phases.shape
    planes: Tensor = _Columns.apply(*circuit)  # type: ignore[no-untyped-call]
    light: Tensor = _Light.apply(planes, None, weights, program)  # type: ignore[no-untyped-call]
    return light.view(*stack, batch, program.light.size)


def light_of_columns(columns: Tensor, weights: Tensor, program: Program) -> Tensor:
    """Return the probabilities of all states of the light.

    Args:
        columns: The columns of each unitary at `program.inputs`, shape (modes, inputs, batch),
            complex.
        weights: Those of the program, shape (program.weights,), real.
        program: What to do.

    Returns:
        Shape (batch, program.light.size).

    Raises:
        ValueError: If the compiled kernel is forced but cannot serve.
    """
    if not _serves(program, weights):
        return mixture(columns, weights, program)
    planes = torch.stack([columns.real, columns.imag])[None]
    light: Tensor = _Light.apply(planes, None, weights, program)  # type: ignore[no-untyped-call]
    return light[0]


def light_of_photons(found: Tensor, weights: Tensor, program: Program) -> Tensor:
    """Return the light that is left of ideal photons behind a circuit.

    Args:
        found: Probabilities of their states, shape (batch, D).
        weights: Those of the program, shape (program.weights,), real.
        program: Without second photons.

    Returns:
        Shape (batch, program.light.size).

    Raises:
        ValueError: If the compiled kernel is forced but cannot serve.
    """
    if not program.lost:
        return found
    if not _serves(program, weights):
        return _left(found, weights, program)
    planes = found.new_empty(1, 2, program.modes, 0, len(found))
    light: Tensor = _Light.apply(planes, found, weights, program)  # type: ignore[no-untyped-call]
    return light[0]


def _serves(program: Program, weights: Tensor) -> bool:
    if recording() or transforming() or forward_mode() or not serves_any(weights):
        return False
    reason = light_refuses(program, weights.device.type, weights.dtype)
    if reason is not None and chosen_kernel() == "compiled":
        raise ValueError(f"the compiled kernel cannot serve this light: {reason}; use 'auto'")
    return reason is None


def _left(found: Tensor, weights: Tensor, program: Program) -> Tensor:
    behind = weights[len(program.options) :]
    return light_behind({len(program.photons): found.T}, behind, program, {})


class _Columns(torch.autograd.Function):
    """The columns of each circuit's unitaries."""

    @staticmethod
    def forward(
        ctx: Any, interferometers: Tensor, data_phases: Tensor, inputs: tuple[int, ...]
    ) -> Tensor:
        columns, saved = columns_forward(interferometers, data_phases, inputs)
        if columns is None:
            raise unusable(data_phases)
        ctx.inputs = inputs
        ctx.save_for_backward(interferometers, data_phases, saved)
        return columns

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        interferometers, data_phases, saved = ctx.saved_tensors
        tensors = interferometers, data_phases
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            return *_differentiably(ctx, _columns_in_torch, tensors, ctx.inputs, grad), None
        refuse_batches(grad)
        grad = grad.resolve_neg().contiguous()
        return *columns_backward(*tensors, ctx.inputs, saved, grad), None


class _Light(torch.autograd.Function):
    """Light of columns, or of the probabilities of photons that are ideal before some are lost."""

    @staticmethod
    def forward(
        ctx: Any, columns: Tensor, given: Tensor | None, weights: Tensor, program: Program
    ) -> Tensor:
        columns = columns.resolve_neg().contiguous()
        given = None if given is None else given.resolve_neg()
        weights = weights.resolve_neg().contiguous()
        ctx.program = program
        ctx.save_for_backward(columns, given, weights)
        return light_forward(table_for(program, given is not None), columns, given, weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        columns, given, weights = tensors = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiably(ctx, _light_in_torch, tensors, ctx.program, grad), None
        refuse_batches(grad)
        table = table_for(ctx.program, given is not None)
        return *light_backward(table, columns, given, weights, grad), None


def _columns_in_torch(
    interferometers: Tensor, data_phases: Tensor, inputs: tuple[int, ...]
) -> Tensor:
    """What `_Columns` does."""
    columns = circuit_columns(Lowered(interferometers, data_phases, inputs))
    modes, count, *stack, batch = columns.shape
    columns = columns.reshape(modes, count, math.prod(stack), batch).movedim(2, 0)
    return torch.stack([columns.real, columns.imag], 1)


def _light_in_torch(
    columns: Tensor, given: Tensor | None, weights: Tensor, program: Program
) -> Tensor:
    """What `_Light` does."""
    if given is not None:
        return _left(given, weights, program)[None]
    circuits, *_, batch = columns.shape
    together = torch.complex(columns[:, 0], columns[:, 1]).movedim(0, 2).flatten(2)
    return mixture(together, weights, program).reshape(circuits, batch, program.light.size)


def _differentiably(
    ctx: Any,
    compute: Callable[..., Tensor],
    tensors: Any,
    how: object,
    grad: Tensor,
) -> list[Tensor | None]:
    """The gradients of some tensors by operations that have gradients themselves."""
    wanted = [index for index in range(len(tensors)) if ctx.needs_input_grad[index]]
    found = torch.autograd.grad(
        compute(*tensors, how), [tensors[index] for index in wanted], grad,
        create_graph=True, allow_unused=True,
    )  # fmt: skip
    result: list[Tensor | None] = [None] * len(tensors)
    for index, value in zip(wanted, found, strict=True):
        result[index] = value
    return result
