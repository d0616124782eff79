"""The compiled forward pass of whole layers over a range of batch tiles.

A kernel gets addresses and sizes as integers and one float `like` that fixes the
precision.  With a tile stride of 0 all tiles share one memory, of which nothing is kept.
"""

from __future__ import annotations

from numba import types

from hybridlit.photonics.kernels.compiled.layout import (
    ARRAYS,
    CHUNK,
    COLUMN_OF,
    COLUMNS,
    LAYER_START,
    LAYER_STATES,
    LINK_BITS,
    MODES,
    OCCUPIED,
    PARENTS,
    PHASE_BOUND,
    PHOTONS,
    STATES,
    UNBUNCHED,
)
from hybridlit.photonics.kernels.compiled.source.arithmetic import cstore, reciprocal_above, splat
from hybridlit.photonics.kernels.compiled.source.blocks import scale_rows, write_probabilities
from hybridlit.photonics.kernels.compiled.source.jit import compiled, entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    lane_count,
    load,
    pointer,
    shift,
    vstore,
    vstore_head,
)
from hybridlit.photonics.kernels.compiled.source.mesh import (
    ANGLE_BOUND,
    angle_factors,
    build_unitary,
    factor_planes,
    padded,
)
from hybridlit.photonics.kernels.compiled.source.propagation import (
    apply_factors,
    apply_mesh,
    apply_unitary,
    first_columns,
    phase_factors,
)
from hybridlit.photonics.kernels.compiled.source.recursion import add_photon


@compiled
def entry(plan: Pointer, array: int, index: int) -> int:
    """Return one element of one of the plan's arrays."""
    value: int = load(plan, ARRAYS + array * (load(plan, PHOTONS) + 1) + index)
    return value


@compiled
def tile_sizes(plan: Pointer, depth: int, width: int) -> tuple[int, int, int]:
    """Return the scalars of one tile's phase factors, layer inputs and final columns."""
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    columns_size = columns * modes * 2 * width
    return depth * modes * 2 * width, depth * columns_size, columns_size


@compiled
def built(plan: Pointer, depth: int, width: int, by_cells: bool) -> tuple[int, int]:
    """Return how many unitaries are made, and the scalars of each.

    With `by_cells` only the first one is, of which nothing but columns is wanted.
    """
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    if by_cells:
        return 1, modes * 2 * padded(columns, width)
    return depth + 1, modes * 2 * padded(modes, width)


@compiled
def mesh_factors(
    plan: Pointer, unitaries: Pointer, depth: int, by_cells: bool
) -> tuple[Pointer, Pointer]:
    """Return where the cosines and sines of all angles are, behind the unitaries."""
    count, size = built(plan, depth, lane_count(unitaries), by_cells)
    return factor_planes(unitaries, load(plan, MODES), depth + 1, count * size)


@compiled
def build_meshes(
    plan: Pointer, unitaries: Pointer, angles: Pointer, depth: int, by_cells: bool
) -> bool:
    """Fill `unitaries` and the factors behind them; return whether an angle is unusable."""
    width = lane_count(unitaries)
    modes, photons = load(plan, MODES), load(plan, PHOTONS)
    cells = modes * (modes - 1) // 2
    cosines, sines = mesh_factors(plan, unitaries, depth, by_cells)
    unusable = angle_factors(angles, (depth + 1) * cells * 2, ANGLE_BOUND, cosines, sines)
    meshes, size = built(plan, depth, width, by_cells)
    occupied = shift(plan, ARRAYS + OCCUPIED * (photons + 1))
    for mesh in range(meshes):
        # Mesh 0 is followed in the columns of the occupied input modes only.
        count = load(plan, COLUMNS) if mesh == 0 else 0
        pitch = padded(count if mesh == 0 else modes, width)
        build_unitary(
            shift(unitaries, mesh * size), pitch, occupied, count, cosines, sines, modes,
            mesh * cells, mesh == depth,
        )  # fmt: skip
    return unusable


@compiled
def columns_forward(
    plan: Pointer, unitaries: Pointer, phases: Pointer, depth: int, by_cells: bool, batch: int,
    sample: int, samples: int, tile: Pointer,
) -> bool:  # fmt: skip
    """Fill a tile's phase factors, layer inputs and final columns; return bad angles."""
    width = lane_count(tile)
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    factors_size, inputs_size, columns_size = tile_sizes(plan, depth, width)
    inputs = shift(tile, factors_size)
    final = shift(inputs, inputs_size)
    _, mesh_size = built(plan, depth, width, by_cells)
    angles = mesh_factors(plan, unitaries, depth, by_cells)
    unusable = phase_factors(phases, depth * modes, batch, sample, samples, PHASE_BOUND, tile)
    first_columns(unitaries, columns, modes, tile, inputs)
    for layer in range(1, depth + 1):
        source = shift(inputs, (layer - 1) * columns_size)
        if by_cells:
            apply_mesh(angles, layer, layer == depth, columns, modes, source, final)
        else:
            apply_unitary(shift(unitaries, layer * mesh_size), columns, modes, source, final)
        if layer < depth:
            factors = shift(tile, layer * modes * 2 * width)
            apply_factors(factors, columns, modes, final, shift(source, columns_size))
    return unusable


@compiled
def fill_chunks(
    plan: Pointer, links: Pointer, layer: int, position: int, start: int, stop: int,
    columns: Pointer, rows: Pointer,
) -> None:  # fmt: skip
    """Fill chunks [start, stop) of a photon layer, the links of which begin at a position."""
    width, bits = lane_count(rows), load(plan, LINK_BITS)
    column = shift(columns, entry(plan, COLUMN_OF, layer - 1) * load(plan, MODES) * 2 * width)
    previous = shift(rows, entry(plan, LAYER_START, layer - 1) * 2 * width)
    target = shift(rows, entry(plan, LAYER_START, layer) * 2 * width)
    for chunk in range(start, stop):
        place = shift(target, chunk * CHUNK * 2 * width)
        position = add_photon(links, bits, position, layer, column, previous, place)


@compiled
def first_layers(plan: Pointer, links: Pointer, columns: Pointer, rows: Pointer, stop: int) -> None:
    """Fill the photon layers below `stop` of a tile into `rows`."""
    width = lane_count(rows)
    cstore(rows, 0, width, splat(1.0, rows), splat(0.0, rows))
    for k in range(1, stop):
        chunks = (entry(plan, LAYER_STATES, k) + CHUNK - 1) // CHUNK
        fill_chunks(plan, links, k, entry(plan, PARENTS, k), 0, chunks, columns, rows)


@compiled
def inner_layers(plan: Pointer, links: Pointer, columns: Pointer, rows: Pointer) -> None:
    """Fill all photon layers but the last of a tile into `rows`."""
    first_layers(plan, links, columns, rows, load(plan, PHOTONS))


@compiled
def last_chunk(
    plan: Pointer, links: Pointer, position: int, columns: Pointer, rows: Pointer, chunk: Pointer
) -> int:
    """Compute the next chunk of the last layer into `chunk`; return the new position."""
    width, bits = lane_count(rows), load(plan, LINK_BITS)
    photons = load(plan, PHOTONS)
    column = entry(plan, COLUMN_OF, photons - 1) * load(plan, MODES) * 2 * width
    previous = shift(rows, entry(plan, LAYER_START, photons - 1) * 2 * width)
    return add_photon(links, bits, position, photons, shift(columns, column), previous, chunk)


@entry_point
def layer_forward(
    like: float, plan_at: int, links_at: int, weights_at: int, angles_at: int, phases_at: int,
    probs_at: int, mass_at: int, unitaries_at: int, tiles_at: int, scratch_at: int, depth: int,
    by_cells: bool, batch: int, tile_start: int, tile_stop: int, tile_stride: int, keep: bool,
    meshes: bool,
) -> bool:  # fmt: skip
    """Compute output probabilities of the tiles in [tile_start, tile_stop).

    `meshes` says whether to build the unitaries first, `by_cells` whether all but the first one
    are meshes applied to columns instead, `keep` whether to leave the last layer in the tile
    memory.  `like` is also the least kept mass that is divided by.  Returns whether an angle or
    phase is NaN, infinite or beyond its bound.
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    weights = pointer(weights_at, types.float64(0))
    phases, probs, mass = pointer(phases_at, like), pointer(probs_at, like), pointer(mass_at, like)
    unitaries = pointer(unitaries_at, like)
    block = pointer(scratch_at, like)
    width = lane_count(block)
    spare = shift(block, width * width)
    photons, states = load(plan, PHOTONS), load(plan, STATES)
    unbunched = load(plan, UNBUNCHED) != 0
    # The unbunched space has one weight for all states, 1 / s! of the input state s.
    weight_step = 0 if unbunched else 1
    unusable = False
    if meshes:
        unusable = build_meshes(plan, unitaries, pointer(angles_at, like), depth, by_cells)
    factors_size, inputs_size, columns_size = tile_sizes(plan, depth, width)
    for index in range(tile_start, tile_stop):
        tile = shift(pointer(tiles_at, like), index * tile_stride)
        columns = shift(tile, factors_size + inputs_size)
        rows = shift(columns, columns_size)
        sample = index * width
        samples = min(width, batch - sample)
        unusable |= columns_forward(
            plan, unitaries, phases, depth, by_cells, batch, sample, samples, tile
        )
        inner_layers(plan, links, columns, rows)
        last = shift(rows, entry(plan, LAYER_START, photons) * 2 * width)
        position = entry(plan, PARENTS, photons)
        total = splat(0.0, block)
        for first in range(0, states, CHUNK):
            chunk = shift(last, first * 2 * width) if keep else spare
            position = last_chunk(plan, links, position, columns, rows, chunk)
            count = min(CHUNK, states - first)
            total = total + write_probabilities(
                chunk, count, weights, weight_step, block, probs, states, first, sample, samples
            )
        if unbunched:
            vstore_head(mass, sample, total, samples)
            vstore(block, 0, reciprocal_above(total, like))
            scale_rows(probs, states, states, sample, samples, block)
    return unusable
