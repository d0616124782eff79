"""The compiled entry points: whole layers, forward and backward, over a range of tiles.

A kernel gets addresses and sizes as integers and one float ``like`` that fixes the
precision.  ``plan`` is the int64 description made by ``plans.Plan``; the tile memory holds
phase factors, layer inputs, final columns and photon layers in this order (see
``tile_scalars``).  With a tile stride of 0 all tiles share one memory and the backward
pass computes each tile again, while its layers are still in cache.
"""

from __future__ import annotations

from numba import njit, types

from hybridlit.photonics.kernels.compiled.blocks import (
    kept_slope,
    scale_rows,
    seed_gradient,
    write_probabilities,
)
from hybridlit.photonics.kernels.compiled.lanes import (
    lane_count,
    lane_sum,
    load,
    pointer,
    reciprocal_above,
    shift,
    splat,
    store,
    vload,
    vload_head,
    vstore,
    vstore_head,
)
from hybridlit.photonics.kernels.compiled.mesh import (
    ANGLE_BOUND,
    angle_factors,
    angle_gradients,
    build_unitary,
    factor_planes,
    padded,
)
from hybridlit.photonics.kernels.compiled.propagation import (
    apply_factors,
    apply_unitary,
    first_columns,
    phase_factors,
    phase_gradient,
    unitary_gradient,
)
from hybridlit.photonics.kernels.compiled.recursion import (
    add_photon,
    remove_photon,
    remove_photon_fock,
)
from hybridlit.photonics.kernels.compiled.tables import CHUNK

# Fields of a plan: these scalars, then arrays of length photons + 1.
MODES, PHOTONS, COLUMNS, UNBUNCHED, STATES, ARRAYS = range(6)
OCCUPIED, COLUMN_OF, LAYER_STATES, LAYER_START, PARENTS, CHILDREN, CHILD_COUNT = range(7)
PLAN_ARRAYS = 7


@njit(nogil=True)
def entry(plan, array, index):
    """Return one element of one of the plan's arrays."""
    return load(plan, ARRAYS + array * (load(plan, PHOTONS) + 1) + index)


@njit(nogil=True)
def _tile_sizes(plan, depth, width):
    """Return the scalars of one tile's phase factors, layer inputs and final columns."""
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    columns_size = columns * modes * 2 * width
    return depth * modes * 2 * width, depth * columns_size, columns_size


@njit(nogil=True)
def _columns_forward(plan, unitaries, phases, depth, batch, sample, samples, tile):
    """Fill a tile's phase factors, layer inputs and final columns; return bad angles."""
    width = lane_count(tile)
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    factors_size, inputs_size, columns_size = _tile_sizes(plan, depth, width)
    inputs = shift(tile, factors_size)
    final = shift(inputs, inputs_size)
    mesh_size = modes * 2 * padded(modes, width)
    unusable = phase_factors(phases, depth * modes, batch, sample, samples, ANGLE_BOUND, tile)
    occupied = shift(plan, ARRAYS + OCCUPIED * (load(plan, PHOTONS) + 1))
    first_columns(unitaries, occupied, columns, modes, tile, inputs)
    for layer in range(1, depth + 1):
        source = shift(inputs, (layer - 1) * columns_size)
        apply_unitary(shift(unitaries, layer * mesh_size), columns, modes, source, final)
        if layer < depth:
            factors = shift(tile, layer * modes * 2 * width)
            apply_factors(factors, columns, modes, final, shift(source, columns_size))
    return unusable


@njit(nogil=True)
def inner_layers(plan, links, columns, rows):
    """Fill all photon layers but the last of a tile into ``rows``."""
    width = lane_count(rows)
    modes, photons = load(plan, MODES), load(plan, PHOTONS)
    vstore(rows, 0, splat(1.0, rows))
    vstore(rows, width, splat(0.0, rows))
    for k in range(1, photons):
        column = shift(columns, entry(plan, COLUMN_OF, k - 1) * modes * 2 * width)
        previous = shift(rows, entry(plan, LAYER_START, k - 1) * 2 * width)
        target = shift(rows, entry(plan, LAYER_START, k) * 2 * width)
        position = entry(plan, PARENTS, k)
        states = entry(plan, LAYER_STATES, k)
        for first in range(0, states, CHUNK):
            chunk = shift(target, first * 2 * width)
            position = add_photon(links, position, k, column, previous, chunk)


@njit(nogil=True)
def last_chunk(plan, links, position, columns, rows, chunk):
    """Compute the next chunk of the last layer into ``chunk``; return the new position."""
    width = lane_count(rows)
    photons = load(plan, PHOTONS)
    column = entry(plan, COLUMN_OF, photons - 1) * load(plan, MODES) * 2 * width
    previous = shift(rows, entry(plan, LAYER_START, photons - 1) * 2 * width)
    return add_photon(links, position, photons, shift(columns, column), previous, chunk)


@njit(cache=True, nogil=True)
def layer_forward(
    like,
    plan_at,
    links_at,
    weights_at,
    angles_at,
    phases_at,
    probs_at,
    mass_at,
    unitaries_at,
    tiles_at,
    scratch_at,
    depth,
    batch,
    tile_start,
    tile_stop,
    tile_stride,
    keep,
    meshes,
):
    """Compute output probabilities of the tiles in [tile_start, tile_stop).

    ``meshes`` says whether to build the unitaries first, ``keep`` whether to leave the
    last layer in the tile memory.  ``like`` is also the least kept mass that is divided
    by.  Returns whether an angle or phase is NaN, infinite or absurdly large.
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    weights = pointer(weights_at, types.float64(0))
    phases, probs, mass = pointer(phases_at, like), pointer(probs_at, like), pointer(mass_at, like)
    unitaries = pointer(unitaries_at, like)
    block = pointer(scratch_at, like)
    width = lane_count(block)
    spare = shift(block, width * width)
    modes, photons = load(plan, MODES), load(plan, PHOTONS)
    states = load(plan, STATES)
    unbunched = load(plan, UNBUNCHED) != 0
    # The unbunched space has one weight for all states, 1 / s! of the input state s.
    weight_step = 0 if unbunched else 1
    unusable = False
    if meshes:
        angles = pointer(angles_at, like)
        cells = modes * (modes - 1) // 2
        cosines, sines = factor_planes(unitaries, modes, depth + 1)
        unusable = angle_factors(angles, (depth + 1) * cells * 2, ANGLE_BOUND, cosines, sines)
        size = modes * 2 * padded(modes, width)
        for mesh in range(depth + 1):
            place = shift(unitaries, mesh * size)
            build_unitary(place, cosines, sines, modes, mesh * cells, mesh == depth)
    factors_size, inputs_size, columns_size = _tile_sizes(plan, depth, width)
    for index in range(tile_start, tile_stop):
        tile = shift(pointer(tiles_at, like), index * tile_stride)
        columns = shift(tile, factors_size + inputs_size)
        rows = shift(columns, columns_size)
        sample = index * width
        samples = min(width, batch - sample)
        unusable |= _columns_forward(plan, unitaries, phases, depth, batch, sample, samples, tile)
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


@njit(nogil=True)
def photons_backward(plan, links, columns, rows, grads, grad_columns):
    """Take ``grads`` of the last photon layer down to ``grad_columns`` (columns, modes, row)."""
    width = lane_count(rows)
    modes, photons = load(plan, MODES), load(plan, PHOTONS)
    zero = splat(0.0, rows)
    for i in range(0, load(plan, COLUMNS) * modes * 2 * width, width):
        vstore(grad_columns, i, zero)
    for k in range(photons, 0, -1):
        column = entry(plan, COLUMN_OF, k - 1) * modes * 2 * width
        below = entry(plan, LAYER_START, k - 1) * 2 * width
        grad_column = shift(grad_columns, column)
        previous, grad_previous = shift(rows, below), shift(grads, below)
        layer = shift(grads, entry(plan, LAYER_START, k) * 2 * width)
        position = entry(plan, CHILDREN, k - 1)
        states = entry(plan, LAYER_STATES, k - 1)
        if load(plan, UNBUNCHED) != 0:
            remove_photon(
                links, position, states, modes - k + 1, shift(columns, column), grad_column,
                previous, layer, grad_previous,
            )  # fmt: skip
        else:
            remove_photon_fock(
                links, position, states, modes, shift(columns, column), grad_column,
                previous, layer, grad_previous,
            )  # fmt: skip


@njit(nogil=True)
def _columns_backward(
    plan, unitaries, depth, batch, sample, samples, tile, grads, spare, totals, grad_phases
):
    """Take ``grads`` of the final columns through all layers; ``spare`` is as large."""
    width = lane_count(tile)
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    factors_size, _, columns_size = _tile_sizes(plan, depth, width)
    inputs = shift(tile, factors_size)
    mesh_size = modes * 2 * padded(modes, width)
    for layer in range(depth, 0, -1):
        source = shift(inputs, (layer - 1) * columns_size)
        total = shift(totals, layer * modes * modes * 2 * width)
        unitary_gradient(columns, modes, source, grads, total)
        phase_gradient(
            shift(unitaries, layer * mesh_size),
            columns,
            modes,
            source,
            shift(tile, (layer - 1) * modes * 2 * width),
            grads,
            spare,
            shift(grad_phases, (layer - 1) * modes * batch),
            batch,
            sample,
            samples,
        )
        grads, spare = spare, grads
    for i in range(0, columns_size, width):
        vstore(totals, i, vload(totals, i) + vload(grads, i))


@njit(nogil=True)
def _meshes_backward(plan, unitaries, depth, totals, scratch, grad_angles):
    """Turn per-lane gradients of the unitaries into gradients of all angles."""
    width = lane_count(unitaries)
    modes = load(plan, MODES)
    cells = modes * (modes - 1) // 2
    pitch = padded(modes, width)
    size = modes * 2 * pitch
    cosines, sines = factor_planes(unitaries, modes, depth + 1)
    gradient = shift(scratch, size)
    zero = splat(0.0, scratch)
    for mesh in range(depth + 1):
        for i in range(0, size, width):
            vstore(scratch, i, vload(unitaries, mesh * size + i))
            vstore(gradient, i, zero)
        for r in range(load(plan, COLUMNS) if mesh == 0 else modes):
            for s in range(modes):
                # Mesh 0 is summed as (columns, modes), the others as (rows, columns).
                i, j = (s, entry(plan, OCCUPIED, r)) if mesh == 0 else (r, s)
                place = ((mesh * modes + r) * modes + s) * 2 * width
                store(gradient, i * 2 * pitch + j, lane_sum(vload(totals, place)))
                store(gradient, i * 2 * pitch + pitch + j, lane_sum(vload(totals, place + width)))
        angle_gradients(
            scratch, gradient, cosines, sines, modes, mesh * cells, mesh == depth, grad_angles
        )


@njit(cache=True, nogil=True)
def layer_backward(
    like,
    plan_at,
    links_at,
    child_links_at,
    weights_at,
    phases_at,
    grad_probs_at,
    batch_stride,
    state_stride,
    mass_at,
    grad_mass_at,
    unitaries_at,
    tiles_at,
    scratch_at,
    totals_at,
    grad_angles_at,
    grad_phases_at,
    depth,
    batch,
    tile_start,
    tile_stop,
    tile_stride,
    recompute,
    clear,
    meshes,
):
    """Compute gradients for the tiles in [tile_start, tile_stop).

    The unitaries' gradients are added to ``totals`` (meshes, modes, modes, row); ``clear``
    says whether to zero it first, ``meshes`` whether to turn it into angle gradients at
    the end.  ``grad_mass_at`` may be 0.
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    child_links = pointer(child_links_at, types.int32(0))
    weights = pointer(weights_at, types.float64(0))
    phases, grad_probs = pointer(phases_at, like), pointer(grad_probs_at, like)
    unitaries, totals = pointer(unitaries_at, like), pointer(totals_at, like)
    grad_phases = pointer(grad_phases_at, like)
    block = pointer(scratch_at, like)
    width = lane_count(block)
    modes, photons = load(plan, MODES), load(plan, PHOTONS)
    states = load(plan, STATES)
    unbunched = load(plan, UNBUNCHED) != 0
    # The unbunched space has one weight for all states, 1 / s! of the input state s.
    weight_step = 0 if unbunched else 1
    factors_size, inputs_size, columns_size = _tile_sizes(plan, depth, width)
    grad_columns = shift(block, width * width)
    spare_columns = shift(grad_columns, columns_size)
    mesh_scratch = shift(spare_columns, columns_size)
    spare_rows = shift(mesh_scratch, modes * 4 * padded(modes, width))
    zero = splat(0.0, block)
    if clear:
        for i in range(0, (depth + 1) * modes * modes * 2 * width, width):
            vstore(totals, i, zero)
    for index in range(tile_start, tile_stop):
        tile = shift(pointer(tiles_at, like), index * tile_stride)
        columns = shift(tile, factors_size + inputs_size)
        rows = shift(columns, columns_size)
        grads = rows if recompute else spare_rows
        sample = index * width
        samples = min(width, batch - sample)
        if recompute:
            _columns_forward(plan, unitaries, phases, depth, batch, sample, samples, tile)
            inner_layers(plan, links, columns, rows)
        last = entry(plan, LAYER_START, photons) * 2 * width
        position = entry(plan, PARENTS, photons)
        scale, offset = splat(1.0, block), zero
        if unbunched:
            if recompute:
                for first in range(0, states, CHUNK):
                    chunk = shift(rows, last + first * 2 * width)
                    position = last_chunk(plan, links, position, columns, rows, chunk)
            kept = vload_head(pointer(mass_at, like), sample, samples)
            scale = reciprocal_above(kept, like)
            slope = kept_slope(
                shift(rows, last), states, block, grad_probs, batch_stride, state_stride,
                sample, samples,
            )  # fmt: skip
            offset = zero - scale * scale * slope * splat(load(weights, 0), block)
            if grad_mass_at != 0:
                offset = offset + vload_head(pointer(grad_mass_at, like), sample, samples)
        for first in range(0, states, CHUNK):
            chunk = shift(rows, last + first * 2 * width)
            if recompute and not unbunched:
                position = last_chunk(plan, links, position, columns, rows, chunk)
            seed_gradient(
                chunk,
                min(CHUNK, states - first),
                weights,
                weight_step,
                scale,
                offset,
                block,
                grad_probs,
                batch_stride,
                state_stride,
                first,
                sample,
                samples,
                shift(grads, last + first * 2 * width),
            )
        photons_backward(plan, child_links, columns, rows, grads, grad_columns)
        _columns_backward(
            plan,
            unitaries,
            depth,
            batch,
            sample,
            samples,
            tile,
            grad_columns,
            spare_columns,
            totals,
            grad_phases,
        )
    if meshes:
        grad_angles = pointer(grad_angles_at, like)
        _meshes_backward(plan, unitaries, depth, totals, mesh_scratch, grad_angles)
