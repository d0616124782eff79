"""Compiled products of small matrices: the encoding before a circuit, the readout behind it.

A matrix product of torch costs several times its arithmetic where matrices are as small as these.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.source.arithmetic import fma, lane_sum, splat
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
    vload_head,
    vstore,
    vstore_head,
)


@compiled
def _dot(left: Pointer, right: Pointer, size: int) -> Vector:
    """Return partial sums of left[k] right[k]."""
    width = lane_count(left)
    whole = size // width * width
    found = splat(0.0, left)
    for k in range(0, whole, width):
        found = fma(vload(left, k), vload(right, k), found)
    if whole < size:
        rest = size - whole
        found = fma(vload_head(left, whole, rest), vload_head(right, whole, rest), found)
    return found


@compiled
def _sum(source: Pointer, size: int) -> Vector:
    """Return partial sums of source[k]."""
    width = lane_count(source)
    whole = size // width * width
    found = splat(0.0, source)
    for k in range(0, whole, width):
        found = found + vload(source, k)
    if whole < size:
        found = found + vload_head(source, whole, size - whole)
    return found


@compiled
def _combine(
    weights: Pointer, stride: int, terms: int, vectors: Pointer, size: int, out: Pointer
) -> None:
    """Write the sum of weights[k stride] vectors[k, :size] to `out`, one term after another."""
    width = lane_count(out)
    for c in range(0, size, width):
        found = splat(0.0, out)
        if c + width <= size:
            for k in range(terms):
                found = fma(
                    splat(load(weights, k * stride), out), vload(vectors, k * size + c), found
                )
            vstore(out, c, found)
        else:
            for k in range(terms):
                row = vload_head(vectors, k * size + c, size - c)
                found = fma(splat(load(weights, k * stride), out), row, found)
            vstore_head(out, c, found, size - c)


@compiled
def _scale_and_add(values: Pointer, size: int, factor: int, offset: float) -> None:
    """Make each of the values factor value + offset."""
    width = lane_count(values)
    for c in range(0, size, width):
        found = vload_head(values, c, size - c) * splat(factor, values) + splat(offset, values)
        vstore_head(values, c, found, size - c)


@entry_point
def encode(
    like: float, features_at: int, factors_at: int, scratch_at: int, out_at: int, batch: int,
    features: int, phases: int,
) -> None:  # fmt: skip
    """Compute out[p, b] = sum of factors[p, f] features[b, f], one feature after another.

    All are contiguous; the scratch memory holds as many numbers as there are features.
    """
    given, turned = pointer(features_at, like), pointer(scratch_at, like)
    factors, out = pointer(factors_at, like), pointer(out_at, like)
    for b in range(batch):
        for f in range(features):
            store(turned, f * batch + b, load(given, b * features + f))
    for p in range(phases):
        _combine(shift(factors, p * features), 1, features, turned, batch, shift(out, p * batch))


@entry_point
def read(
    like: float, probs_at: int, weight_at: int, bias_at: int, out_at: int, batch: int,
    states: int, outputs: int,
) -> None:  # fmt: skip
    """Compute out[b, o] = bias[o] + sum of weight[o, s] (states probs[b, s] - 1)."""
    probs, weight = pointer(probs_at, like), pointer(weight_at, like)
    bias, out = pointer(bias_at, like), pointer(out_at, like)
    for o in range(outputs):
        row = shift(weight, o * states)
        offset = load(bias, o) - lane_sum(_sum(row, states))
        for b in range(batch):
            found = states * lane_sum(_dot(shift(probs, b * states), row, states)) + offset
            store(out, b * outputs + o, found)


@entry_point
def combinations(
    like: float, weights_at: int, row_stride: int, term_stride: int, vectors_at: int, out_at: int,
    rows: int, terms: int, columns: int,
) -> None:  # fmt: skip
    """Compute out[i, c] = sum of weights[i, k] vectors[k, c], one term after another.

    The strides are those of the weights; all else is contiguous.
    """
    weights, vectors = pointer(weights_at, like), pointer(vectors_at, like)
    out = pointer(out_at, like)
    for i in range(rows):
        chosen = shift(weights, i * row_stride)
        _combine(chosen, term_stride, terms, vectors, columns, shift(out, i * columns))


@entry_point
def read_backward(
    like: float, grad_at: int, batch_stride: int, output_stride: int, probs_at: int,
    weight_at: int, grad_probs_at: int, grad_weight_at: int, grad_bias_at: int, batch: int,
    states: int, outputs: int,
) -> None:  # fmt: skip
    """Compute the gradients of probabilities, weights and bias of `read`.

    The strides are those of the gradient of its result.
    """
    grad, probs, weight = pointer(grad_at, like), pointer(probs_at, like), pointer(weight_at, like)
    grad_probs, grad_weight = pointer(grad_probs_at, like), pointer(grad_weight_at, like)
    grad_bias = pointer(grad_bias_at, like)
    for b in range(batch):
        row = shift(grad_probs, b * states)
        _combine(shift(grad, b * batch_stride), output_stride, outputs, weight, states, row)
        _scale_and_add(row, states, states, 0.0)
    for o in range(outputs):
        chosen = shift(grad, o * output_stride)
        total = 0.0
        for b in range(batch):
            total += load(chosen, b * batch_stride)
        store(grad_bias, o, total)
        row = shift(grad_weight, o * states)
        _combine(chosen, batch_stride, batch, probs, states, row)
        _scale_and_add(row, states, states, -total)
