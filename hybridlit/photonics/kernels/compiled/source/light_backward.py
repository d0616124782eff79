"""The compiled backward pass of light of imperfect photons over a range of batch tiles.

Each tile is computed again first, while its values are still in cache. The gradient of each value
lies where the value does, in a memory of its own.
"""

from __future__ import annotations

from numba import types

from hybridlit.photonics.kernels.compiled.layout import (
    ADD,
    CHILDREN,
    COLUMN,
    GRADIENT_ADDS,
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
from hybridlit.photonics.kernels.compiled.source.arithmetic import (
    clear,
    cload,
    cstore,
    fma,
    lane_sum,
    splat,
)
from hybridlit.photonics.kernels.compiled.source.blocks import read_columns, write_columns
from hybridlit.photonics.kernels.compiled.source.forward_kernel import entry
from hybridlit.photonics.kernels.compiled.source.jit import compiled, entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    load,
    pointer,
    shift,
    store,
    vload,
    vstore,
)
from hybridlit.photonics.kernels.compiled.source.light_forward import (
    Memory,
    Steps,
    Tables,
    memory_in,
    read_probabilities,
    tables_at,
    weight_of,
    work_forward,
    write_probabilities,
)
from hybridlit.photonics.kernels.compiled.source.particles import (
    add_weighted,
    photon_gradient,
    squares_gradient,
    sum_children,
    sum_parents,
    sum_products,
    weight_slope,
)


@compiled
def _children_of(plan: Pointer, photons: int) -> int:
    """Return how many links each state of `photons` photons has to those of one more."""
    modes: int = load(plan, MODES)
    return modes - photons if load(plan, UNBUNCHED) != 0 else modes


@compiled
def _add_slope(step: Pointer, slopes: Pointer, slope: Vector) -> None:
    """Add to the gradient of the weight of a step, one for each lane."""
    index = load(step, WEIGHT)
    if index >= 0:
        place = index * lane_count(slopes)
        vstore(slopes, place, slope + vload(slopes, place))


@compiled
def _hit_gradients(
    tables: Tables, step: Pointer, weights: Pointer, hits: Pointer, grad_hits: Pointer,
    source: Pointer, grads: Pointer, products: Pointer, slopes: Pointer,
) -> None:  # fmt: skip
    """Take `grads` of a photon unlike the others to the squares it was made with, and its weight.

    `hits` and `grad_hits` are those of its column; `products` is memory for a vector a mode.
    """
    plan, _, children, _, _ = tables
    width = lane_count(hits)
    modes, below = load(plan, MODES), load(step, NUMBER) - 1
    weight, slope = weight_of(step, weights), splat(0.0, hits)
    clear(products, modes * width)
    sum_products(
        children, load(plan, LINK_BITS), entry(plan, CHILDREN, below),
        entry(plan, LAYER_STATES, below), _children_of(plan, below), source, grads, products,
    )  # fmt: skip
    for j in range(0, modes * width, width):
        product = vload(products, j)
        vstore(grad_hits, j, fma(weight, product, vload(grad_hits, j)))
        slope = fma(vload(hits, j), product, slope)
    _add_slope(step, slopes, slope)


@compiled
def _work_backward(
    tables: Tables, steps: Steps, weights: Pointer, count: int, memory: Memory, grads: Memory,
    slopes: Pointer, products: Pointer, given: tuple[Pointer, Pointer], strides: tuple[int, int],
    grad_given_stride: int, sample: int, samples: int,
) -> None:  # fmt: skip
    """Take the gradient of what is written through all steps, the last one first.

    `given` are the gradient of what is written, which has these strides, and that of what is read.
    """
    plan, parents, children, factorials, places = tables
    table, steps_count, factors = steps
    columns, hits, values, block = memory
    grad_columns, grad_hits, grad_values, _ = grads
    width = lane_count(values)
    modes, bits = load(plan, MODES), load(plan, LINK_BITS)
    ones = shift(hits, count * modes * width)
    for back in range(steps_count):
        index = steps_count - 1 - back
        step = shift(table, index * STEP_FIELDS)
        kind, photons = load(step, STEP), load(step, NUMBER)
        states = entry(plan, LAYER_STATES, photons)
        own = shift(factorials, load(places, photons))
        factor = load(factors, index)
        adds = load(step, GRADIENT_ADDS) != 0
        source = shift(values, load(step, SOURCE) * width)
        grad = shift(grad_values, load(step, TARGET) * width)
        grad_source = shift(grad_values, load(step, SOURCE) * width)
        column = load(step, COLUMN) * modes * width
        if kind == PHOTON:
            photon_gradient(
                children, bits, entry(plan, CHILDREN, photons - 1),
                entry(plan, LAYER_STATES, photons - 1), _children_of(plan, photons - 1),
                shift(columns, 2 * column), shift(grad_columns, 2 * column), source, grad,
                grad_source, adds,
            )  # fmt: skip
        elif kind == SQUARE:
            known = 0 if load(plan, UNBUNCHED) != 0 else 1
            squares_gradient(states, own, known, factor, source, grad, grad_source, adds)
        elif kind == ADD:
            power = load(step, POWER)
            add_weighted(states, own, power, weight_of(step, weights), grad, grad_source, adds)
            if load(step, WEIGHT) >= 0:
                _add_slope(step, slopes, weight_slope(states, own, power, source, grad))
        elif kind == HIT:
            _hit_gradients(
                tables, step, weights, shift(hits, column), shift(grad_hits, column), source, grad,
                products, slopes,
            )  # fmt: skip
            sum_children(
                children, bits, entry(plan, CHILDREN, photons - 1),
                entry(plan, LAYER_STATES, photons - 1), _children_of(plan, photons - 1),
                shift(hits, column), grad, grad_source, weight_of(step, weights), adds,
            )  # fmt: skip
        elif kind == LOSE:
            sum_parents(
                parents, bits, entry(plan, PARENTS, photons + 1), photons + 1,
                entry(plan, LAYER_STATES, photons + 1), ones, grad, grad_source,
                splat(factor, values), adds,
            )  # fmt: skip
        elif kind == READ:
            write_probabilities(
                grad, states, block, given[1], grad_given_stride, 0, sample, samples
            )
        elif kind == WRITE:
            written_at = load(step, TARGET)
            read_probabilities(
                given[0], strides, written_at, states, block, grad_source, adds, sample, samples
            )


@entry_point
def light_backward(
    like: float, plan_at: int, parents_at: int, children_at: int, factorials_at: int,
    places_at: int, steps_at: int, steps_count: int, factors_at: int, columns_at: int,
    count: int, given_at: int, given_batch_stride: int, given_state_stride: int, weights_at: int,
    weights_count: int, grad_at: int, batch_stride: int, state_stride: int, grad_columns_at: int,
    grad_given_at: int, grad_given_stride: int, grad_weights_at: int, scratch_at: int,
    values_count: int, batch: int, tile_start: int, tile_stop: int,
) -> None:  # fmt: skip
    """Compute gradients for the tiles in [tile_start, tile_stop), given that of the light.

    Of the columns and of what is given in the shapes of `light_forward`, the latter with a stride
    along the batch, and of the weights for each tile, (tiles, weights_count).
    """
    tables = tables_at(plan_at, parents_at, children_at, factorials_at, places_at)
    steps = pointer(steps_at, types.int64(0)), steps_count, pointer(factors_at, types.float64(0))
    source, given = pointer(columns_at, like), pointer(given_at, like)
    weights, grad = pointer(weights_at, like), pointer(grad_at, like)
    target, grad_given = pointer(grad_columns_at, like), pointer(grad_given_at, like)
    grad_weights = pointer(grad_weights_at, like)
    modes = load(tables[0], MODES)
    memory = memory_in(pointer(scratch_at, like), modes, count)
    columns, _, values, block = memory
    width = lane_count(block)
    grads = memory_in(shift(values, values_count * width), modes, count)
    grad_columns, grad_hits, grad_values, _ = grads
    slopes = shift(grad_values, values_count * width)
    products = shift(slopes, weights_count * width)
    for tile in range(tile_start, tile_stop):
        sample = tile * width
        samples = min(width, batch - sample)
        read_columns(source, modes, count, batch, sample, samples, columns)
        work_forward(
            tables, steps, weights, count, memory, given,
            (given_batch_stride, given_state_stride), sample, samples,
        )  # fmt: skip
        clear(grad_columns, count * modes * 2 * width)
        clear(grad_hits, count * modes * width)
        clear(slopes, weights_count * width)
        _work_backward(
            tables, steps, weights, count, memory, grads, slopes, products, (grad, grad_given),
            (batch_stride, state_stride), grad_given_stride, sample, samples,
        )  # fmt: skip
        for i in range(count * modes):
            re, im = cload(columns, i * 2 * width, width)
            before_re, before_im = cload(grad_columns, i * 2 * width, width)
            slope = vload(grad_hits, i * width)
            slope = slope + slope
            cstore(
                grad_columns, i * 2 * width, width, fma(slope, re, before_re),
                fma(slope, im, before_im),
            )  # fmt: skip
        write_columns(grad_columns, modes, count, target, batch, sample, samples)
        for i in range(weights_count):
            store(grad_weights, tile * weights_count + i, lane_sum(vload(slopes, i * width)))
