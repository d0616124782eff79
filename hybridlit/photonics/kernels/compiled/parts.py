"""The compiled kernels of parts of a circuit: interferometers alone, and photons alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.kernels.compiled.layout import CHUNK, mesh_scratch
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.plans import Plan, plan_for, refuse_overflow
from hybridlit.photonics.kernels.compiled.threads import Cut, aligned, scratch, together, worthwhile

__all__ = [
    "Amplitudes",
    "amplitudes_backward",
    "amplitudes_forward",
    "planes_backward",
    "planes_forward",
    "unitaries_backward",
    "unitaries_forward",
]


def unitaries_forward(phases: Tensor) -> Tensor:
    """Return the unitaries of the interferometers of circuits.

    Args:
        phases: Shape (..., meshes, cells, 2), real.

    Returns:
        Shape (..., meshes, modes, modes), complex.
    """
    phases = phases.resolve_neg().contiguous()
    *stack, meshes, cells, _ = phases.shape
    modes = (1 + math.isqrt(1 + 8 * cells)) // 2
    result = phases.new_empty(*stack, meshes, modes, modes, 2)
    work, address = aligned(mesh_scratch(phases.numel(), modes), phases.element_size())
    build_unitaries = entry_point("unitaries.build_unitaries", phases.element_size())
    build_unitaries(
        phases.data_ptr(), math.prod(stack) * meshes, meshes, modes, result.data_ptr(), address
    )
    del work  # held the memory until here
    return torch.view_as_complex(result)


def unitaries_backward(phases: Tensor, unitaries: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the phases from that of what `unitaries_forward` returned."""
    phases, grad = phases.resolve_neg().contiguous(), grad.resolve_conj().contiguous()
    *stack, meshes, _, _ = phases.shape
    modes = unitaries.shape[-1]
    result = torch.empty_like(phases)
    work, address = aligned(mesh_scratch(phases.numel(), modes), phases.element_size())
    unitaries_gradient = entry_point("unitaries.unitaries_gradient", phases.element_size())
    unitaries_gradient(
        phases.data_ptr(), unitaries.data_ptr(), grad.data_ptr(),
        math.prod(stack) * meshes, meshes, modes, result.data_ptr(), address,
    )  # fmt: skip
    del work
    return result


class Amplitudes:
    """The kernels of the photon recursion alone (a plan with separate columns)."""

    def __init__(self, plan: Plan, itemsize: int) -> None:
        refuse_overflow(plan, itemsize)
        self.plan, self.itemsize = plan, itemsize
        width = self.width = 64 // itemsize
        columns = plan.photons * plan.modes * 2 * width
        self._forward_need = (
            width * width + CHUNK * 2 * width + columns + (plan.rows - plan.states) * 2 * width
        )
        spare = plan.modes * 2 * width
        self._backward_need = width * width + 2 * columns + spare + plan.rows * 2 * width

    def forward(self, columns_at: int, out_at: int, batch: int, threads: int = 1) -> None:
        """Fill out (2, batch, states) from columns (2, modes, photons, batch)."""
        links = self.plan.layout_at, self.plan.parents_at, self.plan.weights_at
        self._run("forward", self._forward_need, (*links, columns_at, out_at), batch, threads)

    def backward(
        self, columns_at: int, grad_at: int, out_at: int, batch: int, threads: int = 1
    ) -> None:
        """Fill out, the gradient of columns, from grad (2, batch, states)."""
        plan = self.plan
        children_at = plan.children_at or plan.build_children()
        links = plan.layout_at, plan.parents_at, children_at, plan.weights_at
        addresses = (*links, columns_at, grad_at, out_at)
        self._run("backward", self._backward_need, addresses, batch, threads)

    def _run(
        self, direction: str, need: int, addresses: tuple[int, ...], batch: int, threads: int
    ) -> None:
        name, size = f"amplitude_kernels.amplitudes_{direction}", self.itemsize
        tiles, bunched = -(-batch // self.width), int(not self.plan.unbunched)
        workers = worthwhile(batch * self.plan.multiply_adds, tiles, threads)
        _held, address = scratch(workers * need, size, workers)
        if workers == 1:
            entry_point(name, size)(*addresses, address, batch, bunched, 0, tiles)
            return
        own = Cut(address, worker=need * size)
        tile = Cut(0, 1), Cut(1, 1)
        together(name, size, tiles, workers, (*addresses, own, batch, bunched, *tile))


def amplitudes_forward(columns: Tensor, occupied: tuple[int, ...], unbunched: bool) -> Tensor:
    """Return the amplitudes of all outcomes, shape (batch, D), complex.

    Args:
        columns: Column of each photon, shape (modes, photons, batch), complex.
        occupied: The input mode of each photon, in the order of computation.
        unbunched: Keep outcomes with at most one photon a mode.
    """
    result = planes_forward(_planes(columns), occupied, unbunched)
    return torch.complex(result[0], result[1])


def amplitudes_backward(
    columns: Tensor, grad: Tensor, occupied: tuple[int, ...], unbunched: bool
) -> Tensor:
    """Return the gradient of the columns from that of the amplitudes, shape (batch, D)."""
    result = planes_backward(_planes(columns), _planes(grad), occupied, unbunched)
    return torch.complex(result[0], result[1])


def planes_forward(columns: Tensor, occupied: tuple[int, ...], unbunched: bool) -> Tensor:
    """Return what `amplitudes_forward` does, of and in real and imaginary parts.

    Args:
        columns: Shape (2, modes, photons, batch), real, contiguous.
        occupied: As for `amplitudes_forward`.
        unbunched: As for `amplitudes_forward`.

    Returns:
        Shape (2, batch, D).
    """
    run = _amplitudes(columns, occupied, unbunched)
    result = columns.new_empty(2, columns.shape[3], run.plan.states)
    addresses = columns.data_ptr(), result.data_ptr()
    run.forward(*addresses, columns.shape[3], torch.get_num_threads())
    return result


def planes_backward(
    columns: Tensor, grad: Tensor, occupied: tuple[int, ...], unbunched: bool
) -> Tensor:
    """Return the gradient of `columns` of `planes_forward` from that of its result, contiguous."""
    run = _amplitudes(columns, occupied, unbunched)
    result = torch.empty_like(columns)
    addresses = columns.data_ptr(), grad.data_ptr(), result.data_ptr()
    run.backward(*addresses, columns.shape[3], torch.get_num_threads())
    return result


def _amplitudes(columns: Tensor, occupied: tuple[int, ...], unbunched: bool) -> Amplitudes:
    plan = plan_for(columns.shape[1], occupied, unbunched, True)
    return Amplitudes(plan, columns.element_size())


def _planes(values: Tensor) -> Tensor:
    """Real and imaginary parts of a complex tensor, contiguous, in a new first dimension."""
    return torch.stack([values.real, values.imag])
