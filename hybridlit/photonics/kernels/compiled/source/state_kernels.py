"""The kernels of whole layers, cut along the states of one tile: steps that threads share.

What a step reads, the steps before it have written. In each, chunks or blocks of states are
independent; what they add up goes to memory of their own and is added up in their order, as the
kernels that do a whole tile do.
"""

from __future__ import annotations

from numba import types

from hybridlit.photonics.kernels.compiled.layout import (
    CHUNK,
    COLUMN_OF,
    COLUMNS,
    LAYER_START,
    MODES,
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
from hybridlit.photonics.kernels.compiled.source.backward_kernel import (
    chunk_slope,
    mass_slopes,
    photons_backward,
    remove_block,
    seed_chunk,
)
from hybridlit.photonics.kernels.compiled.source.blocks import scale_rows, write_probabilities
from hybridlit.photonics.kernels.compiled.source.circuit_backward import (
    columns_backward,
    totals_size,
)
from hybridlit.photonics.kernels.compiled.source.forward_kernel import (
    columns_forward,
    entry,
    fill_chunks,
    first_layers,
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
    vload,
    vload_head,
    vstore,
    vstore_head,
)


@compiled
def _parts(plan: Pointer, tile: Pointer, depth: int) -> tuple[Pointer, Pointer]:
    """Return the final columns and the rows of a tile."""
    factors_size, inputs_size, columns_size = tile_sizes(plan, depth, lane_count(tile))
    columns = shift(tile, factors_size + inputs_size)
    return columns, shift(columns, columns_size)


@compiled
def _total(sums: Pointer, plan: Pointer) -> Vector:
    """Return the sum of those of all chunks of the last layer."""
    width = lane_count(sums)
    total = splat(0.0, sums)
    for chunk in range((load(plan, STATES) + CHUNK - 1) // CHUNK):
        total = total + vload(sums, chunk * width)
    return total


@entry_point
def begin(
    like: float, plan_at: int, links_at: int, unitaries_at: int, phases_at: int, tile_at: int,
    depth: int, by_cells: bool, batch: int, index: int, stop: int,
) -> bool:  # fmt: skip
    """Fill a tile up to the photon layers below `stop`; return whether a phase is unusable."""
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    unitaries, phases = pointer(unitaries_at, like), pointer(phases_at, like)
    tile = pointer(tile_at, like)
    sample = index * lane_count(tile)
    samples = min(lane_count(tile), batch - sample)
    unusable: bool = columns_forward(
        plan, unitaries, phases, depth, by_cells, batch, sample, samples, tile
    )  # fmt: skip
    columns, rows = _parts(plan, tile, depth)
    first_layers(plan, links, columns, rows, stop)
    return unusable


@entry_point
def fill(
    like: float, plan_at: int, links_at: int, chunks_at: int, tile_at: int, depth: int, layer: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Fill chunks [start, stop) of a photon layer, whose links begin where `chunks_at` has it."""
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    columns, rows = _parts(plan, pointer(tile_at, like), depth)
    position = load(pointer(chunks_at, types.int64(0)), start)
    fill_chunks(plan, links, layer, position, start, stop, columns, rows)


@entry_point
def write(
    like: float, plan_at: int, links_at: int, chunks_at: int, weights_at: int, probs_at: int,
    tile_at: int, sums_at: int, scratch_at: int, depth: int, batch: int, index: int, keep: bool,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Write probabilities of chunks [start, stop) of the last layer, and their sum over each."""
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    weights, probs = pointer(weights_at, types.float64(0)), pointer(probs_at, like)
    sums, block = pointer(sums_at, like), pointer(scratch_at, like)
    columns, rows = _parts(plan, pointer(tile_at, like), depth)
    width = lane_count(block)
    spare = shift(block, width * width)
    last = shift(rows, entry(plan, LAYER_START, load(plan, PHOTONS)) * 2 * width)
    states = load(plan, STATES)
    weight_step = 0 if load(plan, UNBUNCHED) != 0 else 1
    position = load(pointer(chunks_at, types.int64(0)), start)
    sample = index * width
    samples = min(width, batch - sample)
    for place in range(start, stop):
        first = place * CHUNK
        chunk = shift(last, first * 2 * width) if keep else spare
        position = last_chunk(plan, links, position, columns, rows, chunk)
        count = min(CHUNK, states - first)
        total = write_probabilities(
            chunk, count, weights, weight_step, block, probs, states, first, sample, samples
        )
        vstore(sums, place * width, total)


@entry_point
def weigh(like: float, plan_at: int, mass_at: int, sums_at: int, batch: int, index: int) -> None:
    """Write the kept mass."""
    plan = pointer(plan_at, types.int64(0))
    mass, sums = pointer(mass_at, like), pointer(sums_at, like)
    sample = index * lane_count(sums)
    vstore_head(mass, sample, _total(sums, plan), min(lane_count(sums), batch - sample))


@entry_point
def scale(
    like: float, plan_at: int, probs_at: int, mass_at: int, scratch_at: int, batch: int,
    index: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Divide probabilities of chunks [start, stop) by the kept mass."""
    plan, block = pointer(plan_at, types.int64(0)), pointer(scratch_at, like)
    width, states = lane_count(block), load(plan, STATES)
    sample = index * width
    samples = min(width, batch - sample)
    kept = vload_head(pointer(mass_at, like), sample, samples)
    vstore(block, 0, reciprocal_above(kept, like))
    first = start * CHUNK
    count = min(stop * CHUNK, states) - first
    scale_rows(shift(pointer(probs_at, like), first), states, count, sample, samples, block)


@entry_point
def slopes(
    like: float, plan_at: int, links_at: int, chunks_at: int, grad_probs_at: int,
    batch_stride: int, state_stride: int, tile_at: int, sums_at: int, scratch_at: int, depth: int,
    batch: int, index: int, recompute: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write the `chunk_slope` of chunks [start, stop), which are filled first with `recompute`."""
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    grad_probs, sums = pointer(grad_probs_at, like), pointer(sums_at, like)
    block = pointer(scratch_at, like)
    columns, rows = _parts(plan, pointer(tile_at, like), depth)
    width = lane_count(block)
    position = load(pointer(chunks_at, types.int64(0)), start)
    last = shift(rows, entry(plan, LAYER_START, load(plan, PHOTONS)) * 2 * width)
    strides = batch_stride, state_stride
    sample = index * width
    samples = min(width, batch - sample)
    for place in range(start, stop):
        first = place * CHUNK
        if recompute:
            chunk = shift(last, first * 2 * width)
            position = last_chunk(plan, links, position, columns, rows, chunk)
        slope = chunk_slope(plan, rows, first, block, grad_probs, strides, sample, samples)
        vstore(sums, place * width, slope)


@entry_point
def seed(
    like: float, plan_at: int, links_at: int, chunks_at: int, weights_at: int, grad_probs_at: int,
    batch_stride: int, state_stride: int, mass_at: int, grad_mass_at: int, tile_at: int,
    grads_at: int, sums_at: int, scratch_at: int, depth: int, batch: int, index: int,
    recompute: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Fill `grads` of chunks [start, stop) of the last layer; `sums` are those of `slopes`.

    In Fock space the chunks are filled first with `recompute`.
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    weights, grad_probs = pointer(weights_at, types.float64(0)), pointer(grad_probs_at, like)
    grads, sums = pointer(grads_at, like), pointer(sums_at, like)
    block = pointer(scratch_at, like)
    masses = pointer(mass_at, like), pointer(grad_mass_at, like), grad_mass_at != 0, like
    columns, rows = _parts(plan, pointer(tile_at, like), depth)
    width = lane_count(block)
    last = shift(rows, entry(plan, LAYER_START, load(plan, PHOTONS)) * 2 * width)
    strides = batch_stride, state_stride
    sample = index * width
    samples = min(width, batch - sample)
    unbunched = load(plan, UNBUNCHED) != 0
    factor, offset = splat(1.0, block), splat(0.0, block)
    if unbunched:
        factor, offset = mass_slopes(weights, _total(sums, plan), masses, sample, samples)
    position = load(pointer(chunks_at, types.int64(0)), start)
    for place in range(start, stop):
        first = place * CHUNK
        if recompute and not unbunched:
            chunk = shift(last, first * 2 * width)
            position = last_chunk(plan, links, position, columns, rows, chunk)
        seed_chunk(
            plan, weights, rows, grads, first, factor, offset, block, grad_probs, strides,
            sample, samples,
        )  # fmt: skip


@entry_point
def remove(
    like: float, plan_at: int, child_links_at: int, tile_at: int, grads_at: int, sums_at: int,
    depth: int, layer: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Take `grads` of a photon layer to blocks [start, stop) of the states of the one below.

    What each block adds to the gradient of the photon's column goes to `sums` (blocks, modes, row).
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(child_links_at, types.int32(0))
    grads, sums = pointer(grads_at, like), pointer(sums_at, like)
    columns, rows = _parts(plan, pointer(tile_at, like), depth)
    size = load(plan, MODES) * 2 * lane_count(rows)
    for block in range(start, stop):
        total = clear(shift(sums, block * size), size)
        remove_block(plan, links, layer, block, columns, rows, grads, total)


@entry_point
def collect(
    like: float, plan_at: int, grad_columns_at: int, sums_at: int, layer: int, blocks: int
) -> None:  # fmt: skip
    """Add the sums of `remove` to the gradients of columns, zero before those of the last layer."""
    plan, sums = pointer(plan_at, types.int64(0)), pointer(sums_at, like)
    grad_columns = pointer(grad_columns_at, like)
    size = load(plan, MODES) * 2 * lane_count(sums)
    if layer == load(plan, PHOTONS):
        clear(grad_columns, load(plan, COLUMNS) * size)
    column = shift(grad_columns, entry(plan, COLUMN_OF, layer - 1) * size)
    for block in range(blocks):
        add_rows(column, shift(sums, block * size), size)


@entry_point
def end(
    like: float, plan_at: int, child_links_at: int, unitaries_at: int, tile_at: int, grads_at: int,
    grad_columns_at: int, totals_at: int, grad_phases_at: int, depth: int, by_cells: bool,
    batch: int, index: int, layer: int, first: bool,
) -> None:  # fmt: skip
    """Take `grads` of a photon layer down to phases and, in `totals`, to interferometers.

    Behind the gradients of columns there is as much memory again. `first` says whether to make the
    totals zero before.
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(child_links_at, types.int32(0))
    unitaries, tile = pointer(unitaries_at, like), pointer(tile_at, like)
    grads, grad_columns = pointer(grads_at, like), pointer(grad_columns_at, like)
    totals, grad_phases = pointer(totals_at, like), pointer(grad_phases_at, like)
    columns, rows = _parts(plan, tile, depth)
    width, modes = lane_count(tile), load(plan, MODES)
    size = load(plan, COLUMNS) * modes * 2 * width
    spare = shift(grad_columns, size)
    photons_backward(plan, links, columns, rows, grads, grad_columns, spare, layer)
    if first:
        clear(totals, totals_size(plan, depth, width, by_cells))
    sample = index * width
    columns_backward(
        plan, unitaries, depth, by_cells, batch, sample, min(width, batch - sample), tile,
        grad_columns, spare, totals, grad_phases,
    )  # fmt: skip
