"""The compiled kernel on torch tensors in CPU memory.

Below this, numbers are addresses: a tensor that is negated or conjugated by a mark alone is
resolved before, since its memory holds other numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.kernels.compiled.dispatch import Amplitudes, Layer, aligned
from hybridlit.photonics.kernels.compiled.layout import mesh_scratch
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.plans import plan_for

__all__ = [
    "amplitudes_backward",
    "amplitudes_forward",
    "probabilities_backward",
    "probabilities_forward",
    "unitaries_backward",
    "unitaries_forward",
]


def _layer(occupied: tuple[int, ...], unbunched: bool, data_phases: Tensor) -> Layer:
    depth, modes = data_phases.shape[-3:-1]
    plan = plan_for(modes, occupied, unbunched)
    itemsize = data_phases.element_size()
    layer = plan.layers.get((depth, itemsize))
    if layer is None:
        layer = plan.layers[depth, itemsize] = Layer(plan, depth, itemsize)
    return layer


def probabilities_forward(
    phases: Tensor,
    data_phases: Tensor,
    occupied: tuple[int, ...],
    unbunched: bool,
    recompute: bool | None = None,
) -> tuple[Tensor | None, list[Tensor]]:
    """Return probabilities and what the gradient needs.

    Args:
        phases: of the interferometers, shape (..., columns + 1, cells, 2).
        data_phases: contiguous, shape (..., columns, modes, batch).
        occupied: the input mode of each photon, in the order of computation.
        unbunched: keep outcomes with at most one photon a mode, renormalised.
        recompute: keep no intermediate states; None keeps them while that is faster.

    Returns:
        Probabilities (..., batch, D), or None if some phase is not finite; and tensors for
        :func:`probabilities_backward`, the first of which is the kept mass (..., batch), empty
        unless unbunched.
    """
    if phases.dtype != data_phases.dtype:
        raise TypeError(f"phases are {phases.dtype} and data phases {data_phases.dtype}")
    *stack, _, _, batch = data_phases.shape
    circuits = math.prod(stack)
    layer = _layer(occupied, unbunched, data_phases)
    phases, data_phases = phases.resolve_neg().contiguous(), data_phases.resolve_neg()
    result = data_phases.new_empty(*stack, batch, layer.plan.states)
    mass = data_phases.new_empty((*stack, batch) if unbunched else 0)
    unitaries = data_phases.new_empty(circuits, layer.unitary_scalars)
    if recompute is None:
        recompute = layer.recomputes(circuits * batch)
    kept = 0 if recompute else layer.tiles(batch) * layer.tile_scalars
    tiles = data_phases.new_empty(circuits, kept)
    threads = torch.get_num_threads()
    for circuit in range(circuits):
        usable = layer.forward(
            _part(phases, circuit, circuits),
            _part(data_phases, circuit, circuits),
            _part(result, circuit, circuits),
            _part(mass, circuit, circuits),
            _part(unitaries, circuit, circuits),
            _part(tiles, circuit, circuits),
            batch,
            threads,
        )
        if not usable:
            return None, []
    return result, [mass, unitaries, tiles]


def probabilities_backward(
    data_phases: Tensor,
    occupied: tuple[int, ...],
    unbunched: bool,
    saved: list[Tensor],
    grad: Tensor,
    grad_mass: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the interferometers' phases and of the data phases.

    Args:
        data_phases: as for :func:`probabilities_forward`.
        occupied: as for :func:`probabilities_forward`.
        unbunched: as for :func:`probabilities_forward`.
        saved: what the forward call returned.
        grad: gradient of the probabilities, shape (..., batch, D), any strides.
        grad_mass: gradient of the kept mass, shape (..., batch), or None.

    Returns:
        Shapes (..., columns + 1, cells, 2) and (..., columns, modes, batch).
    """
    *stack, depth, _, batch = data_phases.shape
    circuits = math.prod(stack)
    layer = _layer(occupied, unbunched, data_phases)
    mass, unitaries, tiles = saved
    grad_phases = data_phases.new_empty(*stack, depth + 1, layer.cells, 2)
    grad_data = data_phases.new_empty(data_phases.shape)
    data_phases, grad = data_phases.resolve_neg(), grad.resolve_neg()
    grads = grad.flatten(0, -3).unbind() if stack else (grad,)
    if grad_mass is not None:
        grad_mass = grad_mass.resolve_neg().contiguous()
    threads = torch.get_num_threads()
    for circuit, grad_result in enumerate(grads):
        layer.backward(
            _part(data_phases, circuit, circuits),
            grad_result.data_ptr(),
            (grad_result.stride(0), grad_result.stride(1)),
            _part(mass, circuit, circuits),
            0 if grad_mass is None else _part(grad_mass, circuit, circuits),
            _part(unitaries, circuit, circuits),
            _part(tiles, circuit, circuits),
            _part(grad_phases, circuit, circuits),
            _part(grad_data, circuit, circuits),
            batch,
            threads,
        )
    return grad_phases, grad_data


def unitaries_forward(phases: Tensor) -> Tensor:
    """Return the unitaries of the interferometers of circuits.

    Args:
        phases: shape (..., meshes, cells, 2), real.

    Returns:
        Shape (..., meshes, modes, modes), complex.
    """
    phases = phases.resolve_neg().contiguous()
    *stack, meshes, cells, _ = phases.shape
    modes = (1 + math.isqrt(1 + 8 * cells)) // 2
    result = phases.new_empty(*stack, meshes, modes, modes, 2)
    work, address = aligned(mesh_scratch(phases.numel(), modes), phases.element_size())
    build_unitaries = entry_point("mesh_kernels.build_unitaries", phases.element_size())
    build_unitaries(
        phases.data_ptr(),
        math.prod(stack) * meshes,
        meshes,
        modes,
        result.data_ptr(),
        address,
    )
    del work  # held the memory until here
    return torch.view_as_complex(result)


def unitaries_backward(phases: Tensor, unitaries: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the phases.

    Args:
        phases: shape (..., meshes, cells, 2), real.
        unitaries: what :func:`unitaries_forward` returned.
        grad: its gradient, of the same shape.

    Returns:
        Shape (..., meshes, cells, 2).
    """
    phases, grad = phases.resolve_neg().contiguous(), grad.resolve_conj().contiguous()
    *stack, meshes, _, _ = phases.shape
    modes = unitaries.shape[-1]
    result = torch.empty_like(phases)
    work, address = aligned(mesh_scratch(phases.numel(), modes), phases.element_size())
    unitaries_gradient = entry_point("mesh_kernels.unitaries_gradient", phases.element_size())
    unitaries_gradient(
        phases.data_ptr(),
        unitaries.data_ptr(),
        grad.data_ptr(),
        math.prod(stack) * meshes,
        meshes,
        modes,
        result.data_ptr(),
        address,
    )
    del work
    return result


def amplitudes_forward(columns: Tensor, occupied: tuple[int, ...], unbunched: bool) -> Tensor:
    """Return the amplitudes of all outcomes.

    Args:
        columns: column of each photon, shape (modes, photons, batch), complex.
        occupied: the input mode of each photon, in the order of computation.
        unbunched: keep outcomes with at most one photon a mode.

    Returns:
        Shape (batch, D), complex.
    """
    planes = _planes(columns)
    modes, _, batch = columns.shape
    run = Amplitudes(plan_for(modes, occupied, unbunched, True), planes.element_size())
    result = planes.new_empty(2, batch, run.plan.states)
    run.forward(planes.data_ptr(), result.data_ptr(), batch, torch.get_num_threads())
    return torch.complex(result[0], result[1])


def amplitudes_backward(
    columns: Tensor, grad: Tensor, occupied: tuple[int, ...], unbunched: bool
) -> Tensor:
    """Return the gradient of the columns.

    Args:
        columns: as for :func:`amplitudes_forward`.
        grad: gradient of the amplitudes, shape (batch, D), complex.
        occupied: as for :func:`amplitudes_forward`.
        unbunched: as for :func:`amplitudes_forward`.

    Returns:
        Shape (modes, photons, batch), complex.
    """
    planes, above = _planes(columns), _planes(grad)
    modes, _, batch = columns.shape
    run = Amplitudes(plan_for(modes, occupied, unbunched, True), planes.element_size())
    result = torch.empty_like(planes)
    threads = torch.get_num_threads()
    run.backward(planes.data_ptr(), above.data_ptr(), result.data_ptr(), batch, threads)
    return torch.complex(result[0], result[1])


def _planes(values: Tensor) -> Tensor:
    """Real and imaginary parts of a complex tensor, contiguous, in a new first dimension."""
    return torch.stack([values.real, values.imag])


def _part(tensor: Tensor, index: int, parts: int) -> int:
    """Address of one of the equal parts of a contiguous tensor; 0 if it is empty."""
    numbers = tensor.numel()
    if not numbers:
        return 0
    return tensor.data_ptr() + index * (numbers // parts) * tensor.element_size()
