"""Moving the last layer of a batch tile out to the caller, and its gradient in.

Inside a tile the batch runs along the vector; outside, results are (batch, states) with
the states contiguous.  Both directions go through a square (lanes, lanes) block in the
first-level cache that is transposed in registers.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.source.arithmetic import (
    cload,
    cstore,
    fma,
    splat,
    transpose_square,
)
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    load,
    shift,
    vload,
    vload_head,
    vstore,
    vstore_head,
)


@compiled
def write_block(
    block: Pointer, out: Pointer, stride: int, state: int, states: int, sample: int, samples: int
) -> None:
    """Write `block` (lanes states, lanes samples) to `out` (batch, stride); destroys it.

    `states` and `samples` say how many of the block's states and lanes exist.
    """
    width = lane_count(block)
    transpose_square(block)
    for b in range(samples):
        place = (sample + b) * stride + state
        if states >= width:
            vstore(out, place, vload(block, b * width))
        else:
            vstore_head(out, place, vload(block, b * width), states)


@compiled
def read_block(
    block: Pointer, source: Pointer, strides: tuple[int, int], state: int, states: int,
    sample: int, samples: int,
) -> None:  # fmt: skip
    """Read a (lanes states, lanes samples) block; absent states and samples become 0.

    `strides` are those of `source` along batch and states.
    """
    batch_stride, state_stride = strides
    width = lane_count(block)
    zero = splat(0.0, block)
    if state_stride == 1:
        for b in range(width):
            row = zero
            if b < samples:
                row = vload_head(source, (sample + b) * batch_stride + state, states)
            vstore(block, b * width, row)
        transpose_square(block)
        return
    for s in range(width):
        row = zero
        if s < states:
            place = (state + s) * state_stride + sample * batch_stride
            if batch_stride == 1:
                row = vload_head(source, place, samples)
            else:
                vstore(block, s * width, zero)
                for b in range(samples):
                    vstore_head(
                        block,
                        s * width + b,
                        splat(load(source, place + b * batch_stride), block),
                        1,
                    )
                row = vload(block, s * width)
        vstore(block, s * width, row)


@compiled
def write_probabilities(
    rows: Pointer, states: int, weights: Pointer, weight_step: int, block: Pointer, out: Pointer,
    stride: int, state: int, sample: int, samples: int,
) -> Vector:  # fmt: skip
    """Write `weights[state * weight_step] |amplitude|^2` of `rows` (states, row).

    The rows are the states from `state` on; returns their sum, one per lane.
    """
    width = lane_count(block)
    total = splat(0.0, block)
    for first in range(0, states, width):
        for s in range(width):
            value = splat(0.0, block)
            if first + s < states:
                place = (first + s) * 2 * width
                re, im = cload(rows, place, width)
                weight = load(weights, (state + first + s) * weight_step)
                value = splat(weight, block) * fma(re, re, im * im)
                total = total + value
            vstore(block, s * width, value)
        write_block(block, out, stride, state + first, states - first, sample, samples)
    return total


@compiled
def scale_rows(
    out: Pointer, stride: int, states: int, sample: int, samples: int, scale: Pointer
) -> None:
    """Multiply row sample + b of `out` (batch, stride) by `scale[b]`."""
    width = lane_count(out)
    for b in range(samples):
        factor = splat(load(scale, b), out)
        row = shift(out, (sample + b) * stride)
        for s in range(0, states, width):
            vstore_head(row, s, factor * vload_head(row, s, states - s), states - s)


@compiled
def kept_slope(
    rows: Pointer, states: int, block: Pointer, source: Pointer, strides: tuple[int, int],
    sample: int, samples: int,
) -> Vector:  # fmt: skip
    """Return sum over states of gradient times |amplitude|^2, one per lane."""
    width = lane_count(block)
    total = splat(0.0, block)
    for first in range(0, states, width):
        count = min(width, states - first)
        read_block(block, source, strides, first, count, sample, samples)
        for s in range(count):
            place = (first + s) * 2 * width
            re, im = cload(rows, place, width)
            total = fma(vload(block, s * width), fma(re, re, im * im), total)
    return total


@compiled
def seed_gradient(
    rows: Pointer, states: int, weights: Pointer, weight_step: int, scale: Vector, offset: Vector,
    block: Pointer, source: Pointer, strides: tuple[int, int], state: int, sample: int,
    samples: int, target: Pointer,
) -> None:  # fmt: skip
    """Write dL/dA = 2 weight (scale gradient + offset) A of `states` rows to `target`.

    `rows`, `weights` and `target` begin with `state`, `source` with state 0.
    """
    width = lane_count(block)
    for first in range(0, states, width):
        count = min(width, states - first)
        read_block(block, source, strides, state + first, count, sample, samples)
        for s in range(count):
            place = (first + s) * 2 * width
            weight = load(weights, (first + s) * weight_step)
            slope = splat(2.0 * weight, block) * fma(scale, vload(block, s * width), offset)
            re, im = cload(rows, place, width)
            cstore(target, place, width, slope * re, slope * im)


@compiled
def read_columns(
    source: Pointer, modes: int, count: int, batch: int, sample: int, samples: int,
    columns: Pointer,
) -> None:  # fmt: skip
    """Copy one tile of `source` (2, modes, count, batch) to columns (count, modes, row)."""
    width = lane_count(columns)
    imaginary = modes * count * batch
    for j in range(modes):
        for k in range(count):
            place = (j * count + k) * batch + sample
            row = (k * modes + j) * 2 * width
            vstore(columns, row, vload_head(source, place, samples))
            vstore(columns, row + width, vload_head(source, imaginary + place, samples))


@compiled
def write_columns(
    columns: Pointer, modes: int, count: int, target: Pointer, batch: int, sample: int, samples: int
) -> None:
    """Copy one tile of columns (count, modes, row) to `target` (2, modes, count, batch)."""
    width = lane_count(columns)
    imaginary = modes * count * batch
    for j in range(modes):
        for k in range(count):
            place = (j * count + k) * batch + sample
            row = (k * modes + j) * 2 * width
            vstore_head(target, place, vload(columns, row), samples)
            vstore_head(target, imaginary + place, vload(columns, row + width), samples)
