"""The compiled way back from gradients of a tile's columns to those of phases and interferometers.

What tiles find of interferometers is summed over them: of the first one the gradients of its
columns, of the others those of entries, or of angles where meshes are applied to columns cell by
cell. At the end the sums go through the meshes.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.layout import COLUMNS, MODES
from hybridlit.photonics.kernels.compiled.source.arithmetic import add_rows, clear, lane_sum, splat
from hybridlit.photonics.kernels.compiled.source.forward_kernel import (
    built,
    mesh_factors,
    tile_sizes,
)
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    lane_count,
    load,
    shift,
    store,
    vload,
    vstore,
)
from hybridlit.photonics.kernels.compiled.source.mesh import angle_gradients, padded
from hybridlit.photonics.kernels.compiled.source.propagation import (
    factor_gradient,
    mesh_gradient,
    phase_gradient,
    undo_factors,
    unitary_gradient,
)


@compiled
def totals_size(plan: Pointer, depth: int, width: int, by_cells: bool) -> int:
    """Return the scalars of a sum of gradients of interferometers.

    They are of the columns of the first one, and of entries or, with `by_cells`, angles of others.
    """
    modes: int = load(plan, MODES)
    if by_cells:
        columns: int = load(plan, COLUMNS)
        return columns * modes * 2 * width + padded(depth * modes * (modes - 1), width)
    return (depth + 1) * modes * modes * 2 * width


@compiled
def columns_backward(
    plan: Pointer, unitaries: Pointer, depth: int, by_cells: bool, batch: int, sample: int,
    samples: int, tile: Pointer, grads: Pointer, spare: Pointer, totals: Pointer,
    grad_phases: Pointer,
) -> None:  # fmt: skip
    """Take `grads` of the final columns through all layers; `spare` is as large."""
    width = lane_count(tile)
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    factors_size, inputs_size, columns_size = tile_sizes(plan, depth, width)
    inputs = shift(tile, factors_size)
    _, mesh_size = built(plan, depth, width, by_cells)
    angles = mesh_factors(plan, unitaries, depth, by_cells)
    # Angles of the first mesh are none of those summed here.
    grad_angles = shift(totals, columns_size - modes * (modes - 1))
    if by_cells:
        add_rows(clear(spare, columns_size), shift(inputs, inputs_size), columns_size)
    for layer in range(depth, 0, -1):
        source = shift(inputs, (layer - 1) * columns_size)
        factors = shift(tile, (layer - 1) * modes * 2 * width)
        slopes = shift(grad_phases, (layer - 1) * modes * batch)
        if by_cells:
            if layer < depth:
                above = shift(factors, modes * 2 * width), shift(source, columns_size)
                undo_factors(above[0], columns, modes, above[1], spare)
            mesh_gradient(
                angles, layer, layer == depth, columns, modes, spare, grads, grad_angles
            )  # fmt: skip
            factor_gradient(
                columns, modes, source, factors, grads, slopes, batch, sample, samples
            )  # fmt: skip
        else:
            total = shift(totals, layer * modes * modes * 2 * width)
            unitary_gradient(columns, modes, source, grads, total)
            phase_gradient(
                shift(unitaries, layer * mesh_size), columns, modes, source, factors, grads, spare,
                slopes, batch, sample, samples,
            )  # fmt: skip
            grads, spare = spare, grads
    for i in range(0, columns_size, width):
        vstore(totals, i, vload(totals, i) + vload(grads, i))


@compiled
def meshes_backward(
    plan: Pointer, unitaries: Pointer, depth: int, by_cells: bool, totals: Pointer,
    scratch: Pointer, grad_angles: Pointer,
) -> None:  # fmt: skip
    """Turn sums of gradients of interferometers into gradients of all angles."""
    width = lane_count(unitaries)
    modes = load(plan, MODES)
    cells = modes * (modes - 1) // 2
    meshes, stride = built(plan, depth, width, by_cells)
    cosines, sines = mesh_factors(plan, unitaries, depth, by_cells)
    gradient = shift(scratch, stride)
    zero = splat(0.0, scratch)
    for mesh in range(meshes):
        count = load(plan, COLUMNS) if mesh == 0 else modes
        pitch = padded(count, width)
        for i in range(0, modes * 2 * pitch, width):
            vstore(scratch, i, vload(unitaries, mesh * stride + i))
            vstore(gradient, i, zero)
        for i in range(modes):
            for c in range(count):
                # Mesh 0 is summed as (columns, modes), the others as (modes, modes).
                place = c * modes + i if mesh == 0 else (mesh * modes + i) * modes + c
                place *= 2 * width
                entry_at = i * 2 * pitch + c
                store(gradient, entry_at, lane_sum(vload(totals, place)))
                store(gradient, entry_at + pitch, lane_sum(vload(totals, place + width)))
        angle_gradients(
            scratch, gradient, (2 * pitch, pitch, pitch, width), mesh > 0, cosines, sines, modes,
            mesh * cells, mesh == depth, grad_angles, False,
        )  # fmt: skip
    if by_cells:
        summed = shift(totals, load(plan, COLUMNS) * modes * 2 * width - 2 * cells)
        for i in range(2 * cells, (depth + 1) * 2 * cells):
            store(grad_angles, i, load(summed, i))


@compiled
def add_sums(totals: Pointer, size: int, sums: int) -> None:
    """Add up `sums` arrays of so many numbers that lie behind one another, in this order."""
    width = lane_count(totals)
    if sums > 1:
        for i in range(0, size, width):
            total = vload(totals, i)
            for place in range(size + i, sums * size, size):
                total = total + vload(totals, place)
            vstore(totals, i, total)
