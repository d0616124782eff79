"""The compiled forward pass of light of imperfect photons over a range of batch tiles.

A table of steps (`layout`) is worked through for one tile after the other. Each value has its
place in the memory of a tile, from where the backward pass takes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from numba import types

from hybridlit.photonics.kernels.compiled.layout import (
    ADD,
    ADDS,
    CHILDREN,
    CHUNK,
    COLUMN,
    HIT,
    LAYER_STATES,
    LINK_BITS,
    LOSE,
    MODES,
    NUMBER,
    PARENTS,
    PHOTON,
    POWER,
    READ,
    SOURCE,
    SQUARE,
    STEP,
    STEP_FIELDS,
    TARGET,
    UNBUNCHED,
    WEIGHT,
    WRITE,
)
from hybridlit.photonics.kernels.compiled.source.arithmetic import cload, fma, splat
from hybridlit.photonics.kernels.compiled.source.blocks import (
    read_block,
    read_columns,
    write_block,
)
from hybridlit.photonics.kernels.compiled.source.forward_kernel import entry
from hybridlit.photonics.kernels.compiled.source.jit import compiled, entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    load,
    pointer,
    shift,
    vload,
    vstore,
)
from hybridlit.photonics.kernels.compiled.source.particles import (
    add_weighted,
    squares,
    sum_children,
    sum_parents,
)
from hybridlit.photonics.kernels.compiled.source.recursion import add_photon

#: plan, links to parents, to children, factorials of states, and where those of a number begin
Tables: TypeAlias = Any
#: steps, how many, and their factors
Steps: TypeAlias = Any
#: columns, their squares with ones behind, values, and a block for transposing
Memory: TypeAlias = Any


@compiled
def tables_at(
    plan_at: int, parents_at: int, children_at: int, factorials_at: int, places_at: int
) -> Tables:
    """Return pointers to the tables of a number of modes."""
    return (
        pointer(plan_at, types.int64(0)), pointer(parents_at, types.int32(0)),
        pointer(children_at, types.int32(0)), pointer(factorials_at, types.float64(0)),
        pointer(places_at, types.int64(0)),
    )  # fmt: skip


@compiled
def memory_in(scratch: Pointer, modes: int, columns: int) -> Memory:
    """Divide the memory of a tile, values last."""
    width = lane_count(scratch)
    own = shift(scratch, width * width)
    hits = shift(own, columns * modes * 2 * width)
    return own, hits, shift(hits, (columns + 1) * modes * width), scratch


@compiled
def read_probabilities(
    source: Pointer, strides: tuple[int, int], column: int, states: int, block: Pointer,
    target: Pointer, adds: bool, sample: int, samples: int,
) -> None:  # fmt: skip
    """Read columns of `source` (batch, ...) into the vectors of `target`, or add them."""
    width = lane_count(block)
    for first in range(0, states, width):
        count = min(width, states - first)
        read_block(block, source, strides, column + first, count, sample, samples)
        for s in range(count):
            place = (first + s) * width
            value = vload(block, s * width)
            if adds:
                value = value + vload(target, place)
            vstore(target, place, value)


@compiled
def write_probabilities(
    rows: Pointer, states: int, block: Pointer, out: Pointer, stride: int, column: int,
    sample: int, samples: int,
) -> None:  # fmt: skip
    """Write vectors to columns of `out` (batch, stride)."""
    width = lane_count(block)
    for first in range(0, states, width):
        for s in range(min(width, states - first)):
            vstore(block, s * width, vload(rows, (first + s) * width))
        write_block(block, out, stride, column + first, states - first, sample, samples)


@compiled
def weight_of(step: Pointer, weights: Pointer) -> Vector:
    """Return the weight of a step in all lanes."""
    index = load(step, WEIGHT)
    return splat(load(weights, index), weights) if index >= 0 else splat(1.0, weights)


@compiled
def begin_tile(plan: Pointer, count: int, memory: Memory) -> None:
    """Fill squares of the columns, ones behind them, and the amplitude of no photons."""
    columns, hits, values, _ = memory
    width = lane_count(values)
    modes = load(plan, MODES)
    for i in range(count * modes):
        re, im = cload(columns, i * 2 * width, width)
        vstore(hits, i * width, fma(re, re, im * im))
    for i in range(count * modes, (count + 1) * modes):
        vstore(hits, i * width, splat(1.0, columns))
    vstore(values, 0, splat(1.0, values))
    vstore(values, width, splat(0.0, values))


@compiled
def work_forward(
    tables: Tables, steps: Steps, weights: Pointer, count: int, memory: Memory, given: Pointer,
    given_strides: tuple[int, int], sample: int, samples: int,
) -> None:  # fmt: skip
    """Compute the value of each step but those that write; `count` are the columns."""
    plan, parents, children, factorials, places = tables
    table, steps_count, factors = steps
    columns, hits, values, block = memory
    width = lane_count(values)
    modes, bits = load(plan, MODES), load(plan, LINK_BITS)
    ones = shift(hits, count * modes * width)
    begin_tile(plan, count, memory)
    for index in range(steps_count):
        step = shift(table, index * STEP_FIELDS)
        kind, photons = load(step, STEP), load(step, NUMBER)
        states = entry(plan, LAYER_STATES, photons)
        own = shift(factorials, load(places, photons))
        factor = load(factors, index)
        adds = load(step, ADDS) != 0
        target = shift(values, load(step, TARGET) * width)
        source = shift(values, load(step, SOURCE) * width)
        column = load(step, COLUMN) * modes * width
        if kind == PHOTON:
            position = entry(plan, PARENTS, photons)
            for first in range(0, states, CHUNK):
                chunk = shift(target, first * 2 * width)
                position = add_photon(
                    parents, bits, position, photons, shift(columns, 2 * column), source, chunk
                )
        elif kind == SQUARE:
            known = 0 if load(plan, UNBUNCHED) != 0 else 1
            squares(states, own, known, factor, source, target)
        elif kind == ADD:
            weight = weight_of(step, weights)
            add_weighted(states, own, load(step, POWER), weight, source, target, adds)
        elif kind == HIT:
            sum_parents(
                parents, bits, entry(plan, PARENTS, photons), photons, states, shift(hits, column),
                source, target, weight_of(step, weights), adds,
            )  # fmt: skip
        elif kind == LOSE:
            sum_children(
                children, bits, entry(plan, CHILDREN, photons), states, modes, ones, source,
                target, splat(factor, values), adds,
            )  # fmt: skip
        elif kind == READ:
            read_probabilities(
                given, given_strides, 0, states, block, target, adds, sample, samples
            )


@entry_point
def light_forward(
    like: float, plan_at: int, parents_at: int, children_at: int, factorials_at: int,
    places_at: int, steps_at: int, steps_count: int, factors_at: int, columns_at: int,
    count: int, given_at: int, batch_stride: int, state_stride: int, weights_at: int, out_at: int,
    out_stride: int, scratch_at: int, batch: int, tile_start: int, tile_stop: int,
) -> None:  # fmt: skip
    """Fill `out` (batch, out_stride) for the tiles in [tile_start, tile_stop).

    `columns` (2, modes, count, batch) are those of the unitaries. Probabilities that are given have
    these strides along batch and states.
    """
    tables = tables_at(plan_at, parents_at, children_at, factorials_at, places_at)
    table = pointer(steps_at, types.int64(0))
    steps = table, steps_count, pointer(factors_at, types.float64(0))
    source, given = pointer(columns_at, like), pointer(given_at, like)
    weights, out = pointer(weights_at, like), pointer(out_at, like)
    plan = tables[0]
    modes = load(plan, MODES)
    memory = memory_in(pointer(scratch_at, like), modes, count)
    columns, _, values, block = memory
    width = lane_count(block)
    for tile in range(tile_start, tile_stop):
        sample = tile * width
        samples = min(width, batch - sample)
        read_columns(source, modes, count, batch, sample, samples, columns)
        work_forward(
            tables, steps, weights, count, memory, given, (batch_stride, state_stride), sample,
            samples,
        )  # fmt: skip
        for index in range(steps_count):
            step = shift(table, index * STEP_FIELDS)
            if load(step, STEP) == WRITE:
                states = entry(plan, LAYER_STATES, load(step, NUMBER))
                rows = shift(values, load(step, SOURCE) * width)
                column = load(step, TARGET)
                write_probabilities(rows, states, block, out, out_stride, column, sample, samples)
