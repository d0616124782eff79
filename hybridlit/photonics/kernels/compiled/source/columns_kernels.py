"""Compiled columns of the unitaries of whole circuits, without photons, and their gradient.

The parameters are those of the kernels of whole layers, in whose place these are called: of a plan
without states, with columns for probabilities.
"""

from __future__ import annotations

from numba import types

from hybridlit.photonics.kernels.compiled.layout import COLUMNS, MODES
from hybridlit.photonics.kernels.compiled.source.arithmetic import clear
from hybridlit.photonics.kernels.compiled.source.blocks import read_columns, write_columns
from hybridlit.photonics.kernels.compiled.source.circuit_backward import (
    add_sums,
    columns_backward,
    meshes_backward,
    totals_size,
)
from hybridlit.photonics.kernels.compiled.source.forward_kernel import (
    build_meshes,
    columns_forward,
    tile_sizes,
)
from hybridlit.photonics.kernels.compiled.source.jit import entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    lane_count,
    load,
    pointer,
    shift,
)


@entry_point
def layer_forward(
    like: float, plan_at: int, links_at: int, weights_at: int, angles_at: int, phases_at: int,
    columns_at: int, mass_at: int, unitaries_at: int, tiles_at: int, scratch_at: int, depth: int,
    by_cells: bool, batch: int, tile_start: int, tile_stop: int, tile_stride: int, keep: bool,
    meshes: bool,
) -> bool:  # fmt: skip
    """Fill columns (2, modes, columns, batch) for the tiles in [tile_start, tile_stop).

    `meshes` says whether to build the unitaries first, `by_cells` whether but one of them. Returns
    whether an angle or phase is NaN, infinite or beyond its bound.
    """
    plan = pointer(plan_at, types.int64(0))
    phases, out = pointer(phases_at, like), pointer(columns_at, like)
    unitaries, tile = pointer(unitaries_at, like), pointer(tiles_at, like)
    width = lane_count(tile)
    modes, count = load(plan, MODES), load(plan, COLUMNS)
    unusable = False
    if meshes:
        unusable = build_meshes(plan, unitaries, pointer(angles_at, like), depth, by_cells)
    factors_size, inputs_size, _ = tile_sizes(plan, depth, width)
    columns = shift(tile, factors_size + inputs_size)
    for index in range(tile_start, tile_stop):
        sample = index * width
        samples = min(width, batch - sample)
        unusable |= columns_forward(
            plan, unitaries, phases, depth, by_cells, batch, sample, samples, tile
        )
        write_columns(columns, modes, count, out, batch, sample, samples)
    return unusable


@entry_point
def layer_backward(
    like: float, plan_at: int, links_at: int, child_links_at: int, weights_at: int, phases_at: int,
    grad_columns_at: int, batch_stride: int, state_stride: int, mass_at: int, grad_mass_at: int,
    unitaries_at: int, tiles_at: int, scratch_at: int, totals_at: int, grad_angles_at: int,
    grad_phases_at: int, depth: int, by_cells: bool, batch: int, tile_start: int, tile_stop: int,
    tile_stride: int, group: int, sums: int, recompute: bool, meshes: bool,
) -> None:  # fmt: skip
    """Compute gradients for the tiles in [tile_start, tile_stop), each computed again first.

    `by_cells`, `group`, `sums` and `meshes` say what they do for whole layers.
    """
    plan = pointer(plan_at, types.int64(0))
    phases, source = pointer(phases_at, like), pointer(grad_columns_at, like)
    unitaries, totals = pointer(unitaries_at, like), pointer(totals_at, like)
    grad_phases, tile = pointer(grad_phases_at, like), pointer(tiles_at, like)
    block = pointer(scratch_at, like)
    width = lane_count(block)
    modes, count = load(plan, MODES), load(plan, COLUMNS)
    _, _, columns_size = tile_sizes(plan, depth, width)
    grads = shift(block, width * width)
    spare = shift(grads, columns_size)
    mesh_scratch = shift(spare, columns_size)
    size = totals_size(plan, depth, width, by_cells)
    for first in range(tile_start, tile_stop, group):
        total = clear(shift(totals, size if first > tile_start else 0), size)
        for index in range(first, min(first + group, tile_stop)):
            sample = index * width
            samples = min(width, batch - sample)
            columns_forward(
                plan, unitaries, phases, depth, by_cells, batch, sample, samples, tile
            )  # fmt: skip
            read_columns(source, modes, count, batch, sample, samples, grads)
            columns_backward(
                plan, unitaries, depth, by_cells, batch, sample, samples, tile, grads, spare,
                total, grad_phases,
            )  # fmt: skip
        if first > tile_start:
            add_sums(totals, size, 2)
    add_sums(totals, size, sums)
    if meshes:
        grad_angles = pointer(grad_angles_at, like)
        meshes_backward(plan, unitaries, depth, by_cells, totals, mesh_scratch, grad_angles)
