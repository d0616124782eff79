"""Jets, numbers of the form a + b e1 + c e2 + d e1 e2, through whole circuits.

With data phases p + e1 v + e2 w and e1^2 = e2^2 = 0 the arithmetic of a circuit gives, in front of
e1 e2, derivatives along v and w exactly. A jet of order 0, 1 or 2 is 1, 2 or 4 complex numbers: its
components, named by the bits of what stands behind them, from 0 to `top`. They lie `stride` scalars
apart. Products of jets are those of components without a common bit, so that what `propagation` and
`recursion` do to numbers, each linear in two things at most, is done to every such pair.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.layout import (
    CHUNK,
    COLUMN_OF,
    COLUMNS,
    LAYER_START,
    LAYER_STATES,
    LINK_BITS,
    MODES,
    PARENTS,
    PHASE_BOUND,
    PHOTONS,
    STATES,
)
from hybridlit.photonics.kernels.compiled.source.arithmetic import (
    add_rows,
    cload,
    cstore,
    fma,
    splat,
)
from hybridlit.photonics.kernels.compiled.source.blocks import write_block
from hybridlit.photonics.kernels.compiled.source.forward_kernel import entry, tile_sizes
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    lane_count,
    load,
    shift,
    vload_head,
    vstore,
)
from hybridlit.photonics.kernels.compiled.source.mesh import padded
from hybridlit.photonics.kernels.compiled.source.propagation import (
    apply_factors,
    apply_unitary,
    first_columns,
    phase_factors,
)
from hybridlit.photonics.kernels.compiled.source.recursion import add_photon


@compiled
def jet_factors(
    phases: Pointer, directions: Pointer, order: int, count: int, batch: int, sample: int,
    samples: int, tile: Pointer, stride: int,
) -> bool:  # fmt: skip
    """Fill the factors (count, row) e^{i phase} of a tile; return whether an angle is unusable.

    `directions` (order, count, batch) are what e1 and e2 stand before in the phases.
    """
    width = lane_count(tile)
    unusable = phase_factors(phases, count, batch, sample, samples, PHASE_BOUND, tile)
    for direction in range(order):
        along = shift(directions, direction * count * batch)
        bit = 1 << direction
        for component in range(bit):
            source, target = (
                shift(tile, component * stride),
                shift(tile, (component | bit) * stride),
            )
            for i in range(count):
                slope = vload_head(along, i * batch + sample, samples)
                fr, fi = cload(source, i * 2 * width, width)
                cstore(target, i * 2 * width, width, splat(0.0, tile) - slope * fi, slope * fr)
    return unusable


@compiled
def jet_columns(
    plan: Pointer, unitaries: Pointer, depth: int, top: int, tile: Pointer, stride: int,
    spare: Pointer,
) -> None:  # fmt: skip
    """Fill a tile's layer inputs and final columns from its factors."""
    width = lane_count(tile)
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    factors_size, inputs_size, size = tile_sizes(plan, depth, width)
    mesh_size = modes * 2 * padded(modes, width)
    inputs = shift(tile, factors_size)
    final = shift(inputs, inputs_size)
    for part in range(top + 1):
        at = part * stride
        first_columns(unitaries, columns, modes, shift(tile, at), shift(inputs, at))
    for layer in range(1, depth + 1):
        unitary = shift(unitaries, layer * mesh_size)
        for part in range(top + 1):
            source = shift(inputs, part * stride + (layer - 1) * size)
            apply_unitary(unitary, columns, modes, source, shift(final, part * stride))
        if layer == depth:
            return
        factors = shift(tile, layer * modes * 2 * width)
        for whole in range(top + 1):
            target = shift(inputs, whole * stride + layer * size)
            for part in range(whole + 1):
                if part | whole == whole:
                    other, source = (whole ^ part) * stride, part * stride
                    found = target if part == 0 else spare
                    apply_factors(
                        shift(factors, other), columns, modes, shift(final, source), found
                    )
                    if part != 0:
                        add_rows(target, spare, size)


@compiled
def jet_photons(
    plan: Pointer, links: Pointer, top: int, columns: Pointer, rows: Pointer, stride: int,
    spare: Pointer,
) -> None:  # fmt: skip
    """Fill all photon layers of a tile into `rows`."""
    width, bits = lane_count(rows), load(plan, LINK_BITS)
    modes, photons = load(plan, MODES), load(plan, PHOTONS)
    for part in range(top + 1):
        one = splat(1.0 if part == 0 else 0.0, rows)
        cstore(rows, part * stride, width, one, splat(0.0, rows))
    for k in range(1, photons + 1):
        column = shift(columns, entry(plan, COLUMN_OF, k - 1) * modes * 2 * width)
        previous = shift(rows, entry(plan, LAYER_START, k - 1) * 2 * width)
        layer = shift(rows, entry(plan, LAYER_START, k) * 2 * width)
        position, behind = entry(plan, PARENTS, k), 0
        states = entry(plan, LAYER_STATES, k)
        for first in range(0, states, CHUNK):
            size = min(CHUNK, states - first) * 2 * width
            for whole in range(top + 1):
                target = shift(layer, whole * stride + first * 2 * width)
                # The row of no photon is the number 1, which has no other components.
                for part in range(whole + 1 if k > 1 else 1):
                    if part | whole == whole:
                        other = shift(column, (whole ^ part) * stride)
                        source = shift(previous, part * stride)
                        found = target if part == 0 else spare
                        behind = add_photon(links, bits, position, k, other, source, found)
                        if part != 0:
                            add_rows(target, spare, size)
            position = behind


@compiled
def write_jet_values(
    plan: Pointer, weights: Pointer, weight_step: int, top: int, last: Pointer, stride: int,
    block: Pointer, out: Pointer, sample: int, samples: int,
) -> None:  # fmt: skip
    """Write component `top` of the weights |amplitude|^2 of one tile to `out` (batch, states)."""
    width = lane_count(block)
    states = load(plan, STATES)
    for first in range(0, states, width):
        for s in range(width):
            value = splat(0.0, block)
            if first + s < states:
                place = (first + s) * 2 * width
                for part in range(top + 1):
                    ar, ai = cload(last, part * stride + place, width)
                    br, bi = cload(last, (top ^ part) * stride + place, width)
                    value = fma(ar, br, fma(ai, bi, value))
                value = splat(load(weights, (first + s) * weight_step), block) * value
            vstore(block, s * width, value)
        write_block(block, out, states, first, states - first, sample, samples)
