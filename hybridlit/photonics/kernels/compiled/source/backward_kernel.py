"""The compiled backward pass of whole layers over a range of batch tiles.

A tile's gradient is taken from the output down through the photon layers to the occupied
columns, then through the layers of phases and unitaries; at the end the unitaries'
gradients, summed over all tiles, go through the meshes.  With a tile stride of 0 the pass
computes each tile again first, while its layers are still in cache.
"""

from __future__ import annotations

from numba import types

from hybridlit.photonics.kernels.compiled.layout import (
    BLOCK,
    CHILDREN,
    CHUNK,
    COLUMN_OF,
    LAYER_START,
    LAYER_STATES,
    LINK_BITS,
    MODES,
    PARENTS,
    PHOTONS,
    STATES,
    UNBUNCHED,
)
from hybridlit.photonics.kernels.compiled.source.arithmetic import (
    add_rows,
    clear,
    reciprocal_above,
    splat,
)
from hybridlit.photonics.kernels.compiled.source.blocks import kept_slope, seed_gradient
from hybridlit.photonics.kernels.compiled.source.circuit_backward import (
    add_sums,
    columns_backward,
    meshes_backward,
    totals_size,
)
from hybridlit.photonics.kernels.compiled.source.forward_kernel import (
    built,
    columns_forward,
    entry,
    inner_layers,
    last_chunk,
    tile_sizes,
)
from hybridlit.photonics.kernels.compiled.source.jit import compiled, entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    load,
    pointer,
    shift,
    vload_head,
)
from hybridlit.photonics.kernels.compiled.source.recursion import remove_photon, remove_photon_fock


@compiled
def remove_block(
    plan: Pointer, links: Pointer, layer: int, block: int, columns: Pointer, rows: Pointer,
    grads: Pointer, grad_column: Pointer,
) -> None:  # fmt: skip
    """Take `grads` of a photon layer to a block of the states of the one below.

    Adds to `grad_column` (modes, row), the gradient of the photon's column.
    """
    width, bits = lane_count(rows), load(plan, LINK_BITS)
    modes = load(plan, MODES)
    column = shift(columns, entry(plan, COLUMN_OF, layer - 1) * modes * 2 * width)
    first = block * BLOCK
    states = min(BLOCK, entry(plan, LAYER_STATES, layer - 1) - first)
    below = (entry(plan, LAYER_START, layer - 1) + first) * 2 * width
    previous, grad_previous = shift(rows, below), shift(grads, below)
    above = shift(grads, entry(plan, LAYER_START, layer) * 2 * width)
    position = entry(plan, CHILDREN, layer - 1)
    if load(plan, UNBUNCHED) != 0:
        children = modes - layer + 1
        remove_photon(
            links, bits, position + first * children, states, children, column, grad_column,
            previous, above, grad_previous,
        )  # fmt: skip
    else:
        remove_photon_fock(
            links, bits, position + first * modes, states, modes, column, grad_column,
            previous, above, grad_previous,
        )  # fmt: skip


@compiled
def photons_backward(
    plan: Pointer, links: Pointer, columns: Pointer, rows: Pointer, grads: Pointer,
    grad_columns: Pointer, spare: Pointer, first: int,
) -> None:  # fmt: skip
    """Take `grads` of photon layer `first` down to `grad_columns` (columns, modes, row).

    Gradients of columns are added to what is there, block by block of states. `spare` is memory for
    one column.
    """
    size = load(plan, MODES) * 2 * lane_count(rows)
    for k in range(first, 0, -1):
        grad_column = shift(grad_columns, entry(plan, COLUMN_OF, k - 1) * size)
        blocks = (entry(plan, LAYER_STATES, k - 1) + BLOCK - 1) // BLOCK
        if blocks == 1:
            remove_block(plan, links, k, 0, columns, rows, grads, grad_column)
        else:
            for block in range(blocks):
                clear(spare, size)
                remove_block(plan, links, k, block, columns, rows, grads, spare)
                add_rows(grad_column, spare, size)


@compiled
def chunk_slope(
    plan: Pointer, rows: Pointer, first: int, block: Pointer, grad_probs: Pointer,
    strides: tuple[int, int], sample: int, samples: int,
) -> Vector:  # fmt: skip
    """Return the sum of gradient times |amplitude|^2 over the chunk of states from `first` on."""
    width, photons = lane_count(block), load(plan, PHOTONS)
    chunk = shift(rows, (entry(plan, LAYER_START, photons) + first) * 2 * width)
    count = min(CHUNK, load(plan, STATES) - first)
    source = shift(grad_probs, first * strides[1])
    return kept_slope(chunk, count, block, source, strides, sample, samples)


@compiled
def mass_slopes(
    weights: Pointer, slope: Vector, masses: tuple[Pointer, Pointer, bool, float], sample: int,
    samples: int,
) -> tuple[Vector, Vector]:  # fmt: skip
    """Return factor and offset of the gradients of unbunched probabilities.

    `slope` is the sum of `chunk_slope`. `masses` are the kept mass, its gradient, whether there is
    one, and the least mass divided by.
    """
    mass, grad_mass, has_grad, least = masses
    scale = reciprocal_above(vload_head(mass, sample, samples), least)
    # In this order a small kept mass does not overflow.
    offset = splat(0.0, mass) - scale * (scale * slope * splat(load(weights, 0), mass))
    if has_grad:
        offset = offset + vload_head(grad_mass, sample, samples)
    return scale, offset


@compiled
def seed_chunk(
    plan: Pointer, weights: Pointer, rows: Pointer, grads: Pointer, first: int, scale: Vector,
    offset: Vector, block: Pointer, grad_probs: Pointer, strides: tuple[int, int], sample: int,
    samples: int,
) -> None:  # fmt: skip
    """Fill `grads` of the chunk of last states from `first` on."""
    width, photons = lane_count(block), load(plan, PHOTONS)
    # The unbunched space has one weight for all states, 1 / s! of the input state s.
    weight_step = 0 if load(plan, UNBUNCHED) != 0 else 1
    place = (entry(plan, LAYER_START, photons) + first) * 2 * width
    seed_gradient(
        shift(rows, place), min(CHUNK, load(plan, STATES) - first),
        shift(weights, first * weight_step), weight_step, scale, offset, block, grad_probs,
        strides, first, sample, samples, shift(grads, place),
    )  # fmt: skip


@compiled
def _seed_rows(
    plan: Pointer, links: Pointer, weights: Pointer, columns: Pointer, rows: Pointer,
    grads: Pointer, block: Pointer, grad_probs: Pointer, strides: tuple[int, int],
    masses: tuple[Pointer, Pointer, bool, float], sample: int, samples: int, recompute: bool,
) -> None:  # fmt: skip
    """Fill the last photon layer of `grads` from the gradients of probabilities and kept mass.

    `masses` are those of `mass_slopes`. The rows of the last layer are computed first with
    `recompute`.
    """
    width = lane_count(block)
    photons, states = load(plan, PHOTONS), load(plan, STATES)
    unbunched = load(plan, UNBUNCHED) != 0
    last = entry(plan, LAYER_START, photons) * 2 * width
    position = entry(plan, PARENTS, photons)
    scale, offset = splat(1.0, block), splat(0.0, block)
    if unbunched:
        slope = splat(0.0, block)
        for first in range(0, states, CHUNK):
            if recompute:
                chunk = shift(rows, last + first * 2 * width)
                position = last_chunk(plan, links, position, columns, rows, chunk)
            slope = slope + chunk_slope(
                plan, rows, first, block, grad_probs, strides, sample, samples
            )  # fmt: skip
        scale, offset = mass_slopes(weights, slope, masses, sample, samples)
    for first in range(0, states, CHUNK):
        if recompute and not unbunched:
            chunk = shift(rows, last + first * 2 * width)
            position = last_chunk(plan, links, position, columns, rows, chunk)
        seed_chunk(
            plan, weights, rows, grads, first, scale, offset, block, grad_probs, strides, sample,
            samples,
        )  # fmt: skip


@entry_point
def layer_backward(
    like: float, plan_at: int, links_at: int, child_links_at: int, weights_at: int, phases_at: int,
    grad_probs_at: int, batch_stride: int, state_stride: int, mass_at: int, grad_mass_at: int,
    unitaries_at: int, tiles_at: int, scratch_at: int, totals_at: int, grad_angles_at: int,
    grad_phases_at: int, depth: int, by_cells: bool, batch: int, tile_start: int, tile_stop: int,
    tile_stride: int, group: int, sums: int, recompute: bool, meshes: bool,
) -> None:  # fmt: skip
    """Compute gradients for the tiles in [tile_start, tile_stop).

    The interferometers' gradients go to `totals`, summed over each `group` of tiles first, of which
    another one has its memory behind; without tiles it holds `sums` of such groups, which are
    added. `meshes` says whether to turn the sum into angle gradients at the end, `by_cells` what it
    is of. `grad_mass_at` may be 0.
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    child_links = pointer(child_links_at, types.int32(0))
    weights = pointer(weights_at, types.float64(0))
    phases, grad_probs = pointer(phases_at, like), pointer(grad_probs_at, like)
    unitaries, totals = pointer(unitaries_at, like), pointer(totals_at, like)
    grad_phases = pointer(grad_phases_at, like)
    masses = pointer(mass_at, like), pointer(grad_mass_at, like), grad_mass_at != 0, like
    block = pointer(scratch_at, like)
    width = lane_count(block)
    factors_size, inputs_size, columns_size = tile_sizes(plan, depth, width)
    grad_columns = shift(block, width * width)
    spare_columns = shift(grad_columns, columns_size)
    mesh_scratch = shift(spare_columns, columns_size)
    _, mesh_size = built(plan, depth, width, by_cells)
    spare_rows = shift(mesh_scratch, 2 * mesh_size)
    size = totals_size(plan, depth, width, by_cells)
    for first in range(tile_start, tile_stop, group):
        total = clear(shift(totals, size if first > tile_start else 0), size)
        for index in range(first, min(first + group, tile_stop)):
            tile = shift(pointer(tiles_at, like), index * tile_stride)
            columns = shift(tile, factors_size + inputs_size)
            rows = shift(columns, columns_size)
            grads = rows if recompute else spare_rows
            sample = index * width
            samples = min(width, batch - sample)
            if recompute:
                columns_forward(
                    plan, unitaries, phases, depth, by_cells, batch, sample, samples, tile
                )  # fmt: skip
                inner_layers(plan, links, columns, rows)
            _seed_rows(
                plan, links, weights, columns, rows, grads, block, grad_probs,
                (batch_stride, state_stride), masses, sample, samples, recompute,
            )  # fmt: skip
            clear(grad_columns, columns_size)
            photons_backward(
                plan, child_links, columns, rows, grads, grad_columns, spare_columns,
                load(plan, PHOTONS),
            )  # fmt: skip
            columns_backward(
                plan, unitaries, depth, by_cells, batch, sample, samples, tile, grad_columns,
                spare_columns, total, grad_phases,
            )  # fmt: skip
        if first > tile_start:
            add_sums(totals, size, 2)
    add_sums(totals, size, sums)
    if meshes:
        grad_angles = pointer(grad_angles_at, like)
        meshes_backward(plan, unitaries, depth, by_cells, totals, mesh_scratch, grad_angles)
