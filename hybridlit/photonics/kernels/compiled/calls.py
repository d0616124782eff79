"""The compiled kernels of whole circuits on torch tensors in CPU memory.

Numbers passed on are addresses: a tensor that is negated or conjugated by a mark alone is resolved
before, since its memory holds other numbers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.kernels.compiled.layout import CHUNK
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.plans import (
    Plan,
    goes_by_cells,
    plan_for,
    refuse_overflow,
)
from hybridlit.photonics.kernels.compiled.state_cuts import StateCuts, cuts_states
from hybridlit.photonics.kernels.compiled.threads import Cut, aligned, scratch, together, worthwhile

__all__ = [
    "KEEP_BYTES",
    "Layer",
    "addresses_behind",
    "layer_of",
    "probabilities_backward",
    "probabilities_forward",
]

#: Tile memory up to this many bytes is kept for the backward pass: reading it back costs less than
#: computing it again, until it no longer comes from warm caches and pages.
KEEP_BYTES = 5 << 20
#: Gradients of unitaries are summed over groups of tiles, and these sums then in their order: so
#: many groups at the most, of so many multiply-adds at the least, forward and backward. Groups
#: depend on sizes alone, so that any number of threads gives the same sum.
MOST_GROUPS, GROUP_WORK = 32, 200_000
#: Memory that such sums may take at once, or as much as that of one for each thread.
SUMS_BYTES = 4 << 20


class Layer:
    """The kernels of whole circuits of one plan, depth and precision.

    `depth` counts phase columns, so there are `depth + 1` meshes, all but the first of which are
    applied to columns `by_cells` or made into unitaries. An instance holds sizes only: any number
    of threads may use it at once.
    """

    kernels = "forward_kernel.layer_forward", "backward_kernel.layer_backward"

    def __init__(self, plan: Plan, depth: int, itemsize: int, by_cells: bool = False) -> None:
        if depth < 1:
            raise ValueError("a circuit needs at least one column of phases")
        refuse_overflow(plan, itemsize)
        self.plan, self.depth, self.itemsize, self.by_cells = plan, depth, itemsize, by_cells
        width = self.width = 64 // itemsize
        modes, columns = plan.modes, plan.columns
        meshes, pitch = (1, columns) if by_cells else (depth + 1, modes)
        unitary = modes * 2 * -(-pitch // width) * width
        angles = (depth + 1) * modes * (modes - 1)
        self.cells = modes * (modes - 1) // 2
        #: Scalars of the unitaries and mesh phase factors kept for the backward pass.
        self.unitary_scalars = meshes * unitary + 2 * (-(-angles // width) * width)
        factors, final = depth * modes * 2 * width, columns * modes * 2 * width
        #: Scalars of one tile when everything is kept.
        self.tile_scalars = factors + (depth + 1) * final + plan.rows * 2 * width
        self._block = width * width
        self._forward_base = self._block + CHUNK * 2 * width
        self._forward_need = self._forward_base + self.tile_scalars - plan.states * 2 * width
        self.rows = plan.rows * 2 * width
        #: Scalars of a sum of gradients of interferometers.
        self.totals = (depth + 1) * modes * modes * 2 * width
        if by_cells:
            self.totals = final + -(-depth * modes * (modes - 1) // width) * width
        self._columns_scratch = 2 * (final + unitary)
        # Both now, so that whatever has to be compiled is compiled at once.
        forward, backward = self.kernels
        self._layer_forward = entry_point(forward, itemsize)
        self._layer_backward = entry_point(backward, itemsize)
        self.work = plan.multiply_adds + depth * modes * modes * columns
        # What adding up costs is to be some hundredth of what is added up.
        added, each = 32 * (depth + 1) * modes**2, 2 * width * self.work
        self._least_group = max(-(-added // self.work), -(-GROUP_WORK // each))

    def tiles(self, batch: int) -> int:
        """Return how many tiles a batch is split into."""
        return -(-batch // self.width)

    def recomputes(self, batch: int) -> bool:
        """Return whether the backward pass is faster if it computes every tile again."""
        return -(-batch // self.width) * self.tile_scalars * self.itemsize > KEEP_BYTES

    def forward(
        self, addresses: list[int], batch: int, tiles: int, keep: bool, build: bool
    ) -> bool:
        """Fill probabilities (batch, states), their sum (batch; unbunched only) and unitaries.

        `addresses` are those of contiguous angles, data phases, probabilities, sums, unitaries, and
        of tiles for the backward pass, used to `keep` them. Returns whether every angle and phase
        is finite and within its bound. `build` says whether angles make the unitaries.
        """
        plan, itemsize, depth = self.plan, self.itemsize, self.depth
        *outer, tiles_at = addresses
        stride = self.tile_scalars if keep else 0
        need = self._forward_base if keep else self._forward_need

        def numbers(
            address: int | Cut, tiles_at: int | Cut, start: int | Cut, stop: int | Cut, meshes: bool
        ) -> tuple[Any, ...]:
            return (
                plan.layout_at, plan.parents_at, plan.weights_at, *outer, tiles_at, address,
                depth, self.by_cells, batch, start, stop, stride, keep, meshes,
            )  # fmt: skip

        threads = torch.get_num_threads()
        if threads > 1 and cuts_states(self, tiles, threads):
            unusable = build and self._layer_forward(*numbers(0, 0, 0, 0, True))
            return not (StateCuts(self, threads).forward(addresses, batch, tiles, keep) or unusable)
        workers = 1 if threads == 1 else worthwhile(batch * self.work, tiles, threads)
        _held, address = scratch(workers * need, itemsize, workers)
        base = self._forward_base * itemsize
        first_at = tiles_at if keep else address + base
        if workers == 1:
            return not self._layer_forward(*numbers(address, first_at, 0, tiles, build))
        unusable = build and self._layer_forward(*numbers(address, first_at, 0, 0, True))
        piece, own = max(1, tiles // (4 * workers)), need * itemsize
        cuts = numbers(
            Cut(address, worker=own), tiles_at if keep else Cut(first_at, worker=own),
            Cut(0, piece), Cut(piece, piece, most=tiles), False,
        )  # fmt: skip
        name = self.kernels[0]
        return not (together(name, itemsize, -(-tiles // piece), workers, cuts) or unusable)

    def backward(
        self,
        addresses: list[int],
        strides: tuple[int, int],
        batch: int,
        keep: bool,
        matrices: Tensor | None,
    ) -> None:
        """Fill gradients of angles (depth + 1, cells, 2) and data phases (depth, modes, batch).

        `addresses` are those of data phases, gradient of the probabilities, sums, their gradient or
        0, unitaries, tiles that the forward call may have kept (`keep`), and of the two gradients.
        `strides`, of the first gradient along batch and states, are in numbers, and may be 0.
        `matrices` (depth + 1, modes, modes, 2) gets the gradients of the unitaries instead of the
        angles, if given.
        """
        plan, itemsize, depth = self.plan, self.itemsize, self.depth
        phases_at, grad_at, mass_at, grad_mass_at, unitaries_at, tiles_at, *results = addresses
        stride = self.tile_scalars if keep else 0
        base = self._block + self._columns_scratch
        need = base + (self.rows if keep else self.tile_scalars)
        children_at = plan.children_at or plan.build_children()
        tiles, threads = self.tiles(batch), torch.get_num_threads()
        group = max(self._least_group, -(-tiles // MOST_GROUPS))
        workers, more, states = 1, 0, None
        if threads > 1 and cuts_states(self, tiles, threads):
            states = StateCuts(self, threads)
            need, more = base, states.backward_need(keep)
        elif threads > 1:
            most = min(tiles, MOST_GROUPS)
            workers = worthwhile(2 * batch * self.work, most, threads)
            if workers > -(-tiles // group):
                group = max(
                    1, -(-tiles // workers)
                )  # of wide circuits, whose sums differ by rounding
        groups = max(1, -(-tiles // group))
        # Groups that have sums of their own at once: all, or as many as memory is little.
        wave = groups
        if states is None:
            wave = min(groups, max(workers, SUMS_BYTES // (self.totals * itemsize)))
        # Behind the sum of the first groups are those of the next ones.
        sums = min(groups, 2) if workers == 1 and states is None else min(groups, wave + 1)
        own = workers * need
        if workers == 1 and states is None:
            held, address = scratch(own + sums * self.totals, itemsize)
            totals_at = address + own * itemsize
        else:  # many sums are not worth being kept between calls
            _kept, address = scratch(own + more, itemsize, workers)
            held, totals_at = aligned(sums * self.totals, itemsize)
        if not tiles:
            held.fill(0)  # the sum of nothing, which no tile clears

        def numbers(
            address: int | Cut, tiles_at: int | Cut, totals_at: int | Cut, start: int | Cut,
            stop: int | Cut, sums: int, meshes: bool,
        ) -> tuple[Any, ...]:  # fmt: skip
            return (
                plan.layout_at, plan.parents_at, children_at, plan.weights_at,
                phases_at, grad_at, *strides, mass_at, grad_mass_at, unitaries_at,
                tiles_at, address, totals_at, *results,
                depth, self.by_cells, batch, start, stop, stride, group, sums, not keep, meshes,
            )  # fmt: skip

        first_at = tiles_at if keep else address + base * itemsize
        meshes = matrices is None
        if states is not None:
            memory = address + self._block * itemsize, totals_at, address + own * itemsize
            states.backward(addresses, strides, batch, keep, group, memory)
            self._layer_backward(*numbers(address, first_at, totals_at, 0, 0, groups, meshes))
        elif workers == 1:
            self._layer_backward(*numbers(address, first_at, totals_at, 0, tiles, 1, meshes))
        else:
            apart, each = need * itemsize, self.totals * itemsize
            for first in range(0, groups, wave):
                count, before = min(wave, groups - first), int(first > 0)
                start = first * group
                cuts = numbers(
                    Cut(address, worker=apart), tiles_at if keep else Cut(first_at, worker=apart),
                    Cut(totals_at + before * each, each), Cut(start, group),
                    Cut(start + group, group, most=tiles), 1, False,
                )  # fmt: skip
                together(self.kernels[1], itemsize, count, workers, cuts)
                last = meshes and first + wave >= groups
                self._layer_backward(
                    *numbers(address, first_at, totals_at, 0, 0, before + count, last)
                )
        if matrices is not None:
            self._read_totals(held, totals_at, matrices)

    def fill(self, matrices: Tensor, unitaries: Tensor) -> None:
        """Put matrices (circuits, depth + 1, modes, modes) where `forward` finds unitaries."""
        modes, inputs = self.plan.modes, self.plan.inputs
        planes = torch.view_as_real(matrices).movedim(-1, -2)
        pitch, first = (-(-size // self.width) * self.width for size in (modes, len(inputs)))
        # Of the first one only the columns of the occupied input modes are followed.
        place = unitaries[:, : modes * 2 * first].view(-1, modes, 2, first)
        place[..., : len(inputs)] = planes[:, 0][..., inputs]
        size = modes * 2 * pitch
        place = unitaries[:, size : (self.depth + 1) * size].view(-1, self.depth, modes, 2, pitch)
        place[..., :modes] = planes[:, 1:]

    def _read_totals(self, held: Any, totals_at: int, matrices: Tensor) -> None:
        """Sum gradients over lanes: of the first unitary (columns, modes), else (modes, modes)."""
        modes, inputs = self.plan.modes, self.plan.inputs
        begin = totals_at - held.ctypes.data
        totals = held[begin : begin + self.totals * self.itemsize].view(f"f{self.itemsize}")
        sums = torch.from_numpy(totals).view(self.depth + 1, modes * modes, 2, self.width).sum(-1)
        matrices[1:] = sums[1:].view(self.depth, modes, modes, 2)
        matrices[0] = 0
        first = sums[0, : len(inputs) * modes].view(len(inputs), modes, 2)
        matrices[0][:, inputs] = first.transpose(0, 1)


def _layer(
    occupied: tuple[int, ...], unbunched: bool, interferometers: Tensor, data_phases: Tensor
) -> Layer:
    depth, modes, batch = data_phases.shape[-3:]
    plan, itemsize = plan_for(modes, occupied, unbunched), data_phases.element_size()
    meshes = not interferometers.is_complex()
    by_cells = goes_by_cells(meshes, plan.columns, modes, batch, itemsize)
    return layer_of(plan, depth, itemsize, by_cells)


def layer_of(plan: Plan, depth: int, itemsize: int, by_cells: bool = False) -> Layer:
    """Return the shared kernels of a plan, a depth and a precision in bytes."""
    layer: Layer | None = plan.layers.get((depth, itemsize, by_cells))
    if layer is None:
        layer = plan.layers[depth, itemsize, by_cells] = Layer(plan, depth, itemsize, by_cells)
    return layer


def probabilities_forward(
    interferometers: Tensor,
    data_phases: Tensor,
    occupied: tuple[int, ...],
    unbunched: bool,
    recompute: bool | None = None,
) -> tuple[Tensor | None, list[Tensor]]:
    """Return probabilities and what the gradient needs.

    Args:
        interferometers: Phases of meshes, shape (..., columns + 1, cells, 2), real; or matrices,
            shape (..., columns + 1, modes, modes), complex.
        data_phases: Shape (..., columns, modes, batch).
        occupied: The input mode of each photon, in the order of computation.
        unbunched: Keep outcomes with at most one photon a mode, renormalised.
        recompute: Keep no intermediate states; None keeps them while that is faster.

    Returns:
        Probabilities (..., batch, D), or None if some phase is not finite or too large; and tensors
        for `probabilities_backward`, the first of which is the kept mass (..., batch), empty unless
        unbunched.
    """
    build = not interferometers.is_complex()
    if interferometers.dtype.to_real() != data_phases.dtype:
        raise TypeError(
            f"interferometers are {interferometers.dtype} and data phases {data_phases.dtype}"
        )
    *stack, depth, modes, batch = data_phases.shape
    circuits = math.prod(stack)
    layer = _layer(occupied, unbunched, interferometers, data_phases)
    interferometers = interferometers.resolve_conj().resolve_neg().contiguous()
    data_phases = data_phases.resolve_neg().contiguous()
    states = layer.plan.states
    result = data_phases.new_empty(*stack, batch, states)
    mass = data_phases.new_empty((*stack, batch) if unbunched else 0)
    unitaries = data_phases.new_empty(circuits, layer.unitary_scalars)
    if not build:
        if not bool(torch.isfinite(torch.view_as_real(interferometers)).all()):
            return None, []
        layer.fill(interferometers.flatten(0, -4) if stack else interferometers[None], unitaries)
    if recompute is None:
        recompute = layer.recomputes(circuits * batch)
    parts = layer.tiles(batch)
    kept = 0 if recompute else parts * layer.tile_scalars
    tiles = data_phases.new_empty(circuits, kept)
    addresses = [
        interferometers.data_ptr(), data_phases.data_ptr(), result.data_ptr(), mass.data_ptr(),
        unitaries.data_ptr(), tiles.data_ptr(),
    ]  # fmt: skip
    numbers = [
        2 * (depth + 1) * layer.cells * build, depth * modes * batch, batch * states,
        batch if unbunched else 0, layer.unitary_scalars, kept,
    ]  # fmt: skip
    for circuit in range(circuits):
        if circuit:
            addresses = addresses_behind(addresses, numbers, layer)
        if not layer.forward(addresses, batch, parts, kept > 0, build):
            return None, []
    return result, [mass, unitaries, tiles]


def probabilities_backward(
    interferometers: Tensor,
    data_phases: Tensor,
    occupied: tuple[int, ...],
    unbunched: bool,
    saved: list[Tensor],
    grad: Tensor,
    grad_mass: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the interferometers and of the data phases.

    Args:
        interferometers: As for `probabilities_forward`.
        data_phases: As for `probabilities_forward`.
        occupied: As for `probabilities_forward`.
        unbunched: As for `probabilities_forward`.
        saved: What the forward call returned.
        grad: Gradient of the probabilities, shape (..., batch, D), any strides.
        grad_mass: Gradient of the kept mass, shape (..., batch), or None.

    Returns:
        The same shapes as theirs.
    """
    *stack, depth, modes, batch = data_phases.shape
    circuits = math.prod(stack)
    layer = _layer(occupied, unbunched, interferometers, data_phases)
    mass, unitaries, tiles = saved
    matrices = interferometers.is_complex()
    grad_meshes = torch.empty_like(interferometers, memory_format=torch.contiguous_format)
    parts = (
        torch.view_as_real(grad_meshes).view(circuits, depth + 1, modes, modes, 2)
        if matrices
        else None
    )
    grad_data = data_phases.new_empty(data_phases.shape)
    data_phases, grad = data_phases.resolve_neg().contiguous(), grad.resolve_neg()
    if len(stack) > 1:
        grad = grad.flatten(0, -3)
    *between, along_batch, along_states = grad.stride()
    if grad_mass is not None:
        grad_mass = grad_mass.resolve_neg().contiguous()
    grad_mass_at = 0 if grad_mass is None else grad_mass.data_ptr()
    kept = tiles.shape[-1]
    addresses = [
        data_phases.data_ptr(), grad.data_ptr(), mass.data_ptr(), grad_mass_at,
        unitaries.data_ptr(), tiles.data_ptr(), grad_meshes.data_ptr(), grad_data.data_ptr(),
    ]  # fmt: skip
    columns = depth * modes * batch
    numbers = [
        columns, between[0] if between else 0, batch if unbunched else 0,
        0 if grad_mass is None else batch, layer.unitary_scalars, kept,
        0 if matrices else 2 * (depth + 1) * layer.cells, columns,
    ]  # fmt: skip
    for circuit in range(circuits):
        if circuit:
            addresses = addresses_behind(addresses, numbers, layer)
        of_circuit = None if parts is None else parts[circuit]
        layer.backward(addresses, (along_batch, along_states), batch, kept > 0, of_circuit)
    return grad_meshes, grad_data


def addresses_behind(addresses: list[int], numbers: list[int], layer: Layer) -> list[int]:
    """Addresses of the next circuit's tensors, so many numbers behind."""
    size = layer.itemsize
    return [at + size * number for at, number in zip(addresses, numbers, strict=True)]
