"""Compiled amplitudes of the photon recursion alone, from given columns, and gradients."""

from __future__ import annotations

from math import sqrt

from numba import types

from hybridlit.photonics.kernels.compiled.layout import (
    CHUNK,
    LAYER_START,
    MODES,
    PARENTS,
    PHOTONS,
    STATES,
)
from hybridlit.photonics.kernels.compiled.source.arithmetic import clear, splat
from hybridlit.photonics.kernels.compiled.source.backward_kernel import photons_backward
from hybridlit.photonics.kernels.compiled.source.blocks import (
    read_block,
    read_columns,
    write_block,
    write_columns,
)
from hybridlit.photonics.kernels.compiled.source.forward_kernel import (
    entry,
    inner_layers,
    last_chunk,
)
from hybridlit.photonics.kernels.compiled.source.jit import entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    lane_count,
    load,
    pointer,
    shift,
    vload,
    vstore,
)


@entry_point
def amplitudes_forward(
    like: float, plan_at: int, links_at: int, weights_at: int, columns_at: int, out_at: int,
    scratch_at: int, batch: int, weight_step: int, tile_start: int, tile_stop: int,
) -> None:  # fmt: skip
    """Fill `out` (2, batch, states) for the tiles in [tile_start, tile_stop)."""
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    weights = pointer(weights_at, types.float64(0))
    source, out = pointer(columns_at, like), pointer(out_at, like)
    block = pointer(scratch_at, like)
    width = lane_count(block)
    modes, photons, states = load(plan, MODES), load(plan, PHOTONS), load(plan, STATES)
    chunk = shift(block, width * width)
    columns = shift(chunk, CHUNK * 2 * width)
    rows = shift(columns, photons * modes * 2 * width)
    for index in range(tile_start, tile_stop):
        sample = index * width
        samples = min(width, batch - sample)
        read_columns(source, modes, photons, batch, sample, samples, columns)
        inner_layers(plan, links, columns, rows)
        position = entry(plan, PARENTS, photons)
        for first in range(0, states, CHUNK):
            position = last_chunk(plan, links, position, columns, rows, chunk)
            for begin in range(0, min(CHUNK, states - first), width):
                state = first + begin
                for part in range(2):
                    for s in range(width):
                        value = vload(chunk, (begin + s) * 2 * width + part * width)
                        # Rows behind the last state are stale and never written out.
                        weight = load(weights, min(state + s, states - 1) * weight_step)
                        vstore(block, s * width, splat(sqrt(weight), block) * value)
                    target = shift(out, part * batch * states)
                    write_block(block, target, states, state, states - state, sample, samples)


@entry_point
def amplitudes_backward(
    like: float, plan_at: int, links_at: int, child_links_at: int, weights_at: int,
    columns_at: int, grad_at: int, out_at: int, scratch_at: int, batch: int, weight_step: int,
    tile_start: int, tile_stop: int,
) -> None:  # fmt: skip
    """Fill `out`, the gradient of the columns, for the tiles in [tile_start, tile_stop)."""
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    child_links = pointer(child_links_at, types.int32(0))
    weights = pointer(weights_at, types.float64(0))
    source, grad, out = pointer(columns_at, like), pointer(grad_at, like), pointer(out_at, like)
    block = pointer(scratch_at, like)
    width = lane_count(block)
    modes, photons, states = load(plan, MODES), load(plan, PHOTONS), load(plan, STATES)
    columns = shift(block, width * width)
    grad_columns = shift(columns, photons * modes * 2 * width)
    spare = shift(grad_columns, photons * modes * 2 * width)
    rows = shift(spare, modes * 2 * width)
    last = shift(rows, entry(plan, LAYER_START, photons) * 2 * width)
    for index in range(tile_start, tile_stop):
        sample = index * width
        samples = min(width, batch - sample)
        read_columns(source, modes, photons, batch, sample, samples, columns)
        inner_layers(plan, links, columns, rows)
        for first in range(0, states, width):
            count = min(width, states - first)
            for part in range(2):
                part_grad = shift(grad, part * batch * states)
                read_block(block, part_grad, (states, 1), first, count, sample, samples)
                for s in range(count):
                    weight = load(weights, (first + s) * weight_step)
                    value = splat(sqrt(weight), block) * vload(block, s * width)
                    vstore(last, (first + s) * 2 * width + part * width, value)
        clear(grad_columns, photons * modes * 2 * width)
        photons_backward(
            plan, child_links, columns, rows, rows, grad_columns, spare, photons
        )  # fmt: skip
        write_columns(grad_columns, modes, photons, out, batch, sample, samples)
