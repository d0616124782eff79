"""Steps of light on one batch tile: probabilities that photons add to and take from.

Probabilities of a tile have one vector for each state, amplitudes a row of two. States and links
are those of `recursion`: every state of k photons has links to the states of k - 1 photons that it
is made of (parents, by chunks), and to those of k + 1 photons (children, as many for each); `bits`
of a link hold the mode.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.layout import CHUNK
from hybridlit.photonics.kernels.compiled.source.arithmetic import cload, cstore, fma, fnma, splat
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    load,
    shift,
    vload,
    vstore,
)


@compiled
def sum_parents(
    links: Pointer, bits: int, position: int, photons: int, states: int, hits: Pointer,
    source: Pointer, target: Pointer, scale: Vector, adds: bool,
) -> None:  # fmt: skip
    """Compute `target[t] = scale sum_j hits[j] source[t - e_j]` for states of `photons` photons.

    `adds` says whether to add to what `target` holds.
    """
    width = lane_count(hits)
    zero, mask = splat(0.0, hits), (1 << bits) - 1
    for first in range(0, states, CHUNK):
        chunk = shift(target, first * width)
        counts = position
        position += photons
        for parents in range(1, photons + 1):
            for _ in range(load(links, counts + parents - 1)):
                total = zero
                for i in range(position + 1, position + 1 + parents):
                    link = load(links, i)
                    hit = vload(hits, (link & mask) * width)
                    total = fma(hit, vload(source, (link >> bits) * width), total)
                place = load(links, position) * width
                before = vload(chunk, place) if adds else zero
                vstore(chunk, place, fma(scale, total, before))
                position += 1 + parents


@compiled
def sum_children(
    links: Pointer, bits: int, position: int, states: int, children: int, hits: Pointer,
    source: Pointer, target: Pointer, scale: Vector, adds: bool,
) -> None:  # fmt: skip
    """Compute `target[t] = scale sum_j hits[j] source[t + e_j]`, or add it."""
    width = lane_count(hits)
    zero, mask = splat(0.0, hits), (1 << bits) - 1
    for t in range(0, states * width, width):
        total = zero
        for i in range(position, position + children):
            link = load(links, i)
            hit = vload(hits, (link & mask) * width)
            total = fma(hit, vload(source, (link >> bits) * width), total)
        position += children
        before = vload(target, t) if adds else zero
        vstore(target, t, fma(scale, total, before))


@compiled
def sum_products(
    links: Pointer, bits: int, position: int, states: int, children: int, source: Pointer,
    grads: Pointer, products: Pointer,
) -> None:  # fmt: skip
    """Add `sum_t source[t] grads[t + e_j]` to `products[j]` of each mode j."""
    width, mask = lane_count(source), (1 << bits) - 1
    for t in range(0, states * width, width):
        value = vload(source, t)
        for i in range(position, position + children):
            link = load(links, i)
            place = (link & mask) * width
            grad = vload(grads, (link >> bits) * width)
            vstore(products, place, fma(value, grad, vload(products, place)))
        position += children


@compiled
def add_weighted(
    states: int, factorials: Pointer, power: int, weight: Vector, source: Pointer, target: Pointer,
    adds: bool,
) -> None:  # fmt: skip
    """Compute `target[t] = weight t!^power source[t]`, or add it; `power` is -1, 0 or 1."""
    width = lane_count(source)
    zero = splat(0.0, source)
    for s in range(states):
        factor = weight
        if power > 0:
            factor = weight * splat(load(factorials, s), source)
        elif power < 0:
            factor = weight * splat(1.0 / load(factorials, s), source)
        before = vload(target, s * width) if adds else zero
        vstore(target, s * width, fma(factor, vload(source, s * width), before))


@compiled
def weight_slope(
    states: int, factorials: Pointer, power: int, source: Pointer, grads: Pointer
) -> Vector:
    """Return the gradient of the weight of `add_weighted`, one for each lane."""
    width = lane_count(source)
    total = splat(0.0, source)
    for s in range(states):
        value = vload(source, s * width)
        if power > 0:
            value = value * splat(load(factorials, s), source)
        elif power < 0:
            value = value * splat(1.0 / load(factorials, s), source)
        total = fma(value, vload(grads, s * width), total)
    return total


@compiled
def squares(
    states: int, factorials: Pointer, step: int, share: float, rows: Pointer, target: Pointer
) -> None:
    """Compute `target[t] = share t! |A[t]|^2` of the amplitudes in `rows`.

    `step` is 0 where all factorials are 1.
    """
    width = lane_count(rows)
    for s in range(states):
        re, im = cload(rows, s * 2 * width, width)
        weight = splat(share * load(factorials, s * step), rows)
        vstore(target, s * width, weight * fma(re, re, im * im))


@compiled
def squares_gradient(
    states: int, factorials: Pointer, step: int, share: float, rows: Pointer, grads: Pointer,
    grad_rows: Pointer, adds: bool,
) -> None:  # fmt: skip
    """Take `grads` of `squares` to the amplitudes; `adds` as for what is computed."""
    width = lane_count(rows)
    zero = splat(0.0, rows)
    for s in range(states):
        place = s * 2 * width
        re, im = cload(rows, place, width)
        slope = splat(2.0 * share * load(factorials, s * step), rows) * vload(grads, s * width)
        before_re, before_im = cload(grad_rows, place, width) if adds else (zero, zero)
        cstore(grad_rows, place, width, fma(slope, re, before_re), fma(slope, im, before_im))


@compiled
def photon_gradient(
    links: Pointer, bits: int, position: int, states: int, children: int, column: Pointer,
    grad_column: Pointer, previous: Pointer, grads: Pointer, grad_previous: Pointer, adds: bool,
) -> None:  # fmt: skip
    """Do what `remove_photon` does for a layer of which several others may have been made.

    `adds` says whether to add to what `grad_previous` holds of the others.
    """
    width = lane_count(column)
    zero, mask = splat(0.0, column), (1 << bits) - 1
    for t in range(0, states * 2 * width, 2 * width):
        ar, ai = cload(previous, t, width)
        rr, ri = cload(grad_previous, t, width) if adds else (zero, zero)
        ii, ir = zero, zero
        for i in range(position, position + children):
            link = load(links, i)
            c, u = (link >> bits) * (2 * width), (link & mask) * (2 * width)
            gr, gi = cload(grads, c, width)
            ur, ui = cload(column, u, width)
            rr, ii = fma(ur, gr, rr), fma(ui, gi, ii)
            ri, ir = fma(ur, gi, ri), fma(ui, gr, ir)
            sr, si = cload(grad_column, u, width)
            cstore(
                grad_column, u, width, fma(ar, gr, fma(ai, gi, sr)), fnma(ai, gr, fma(ar, gi, si))
            )
        position += children
        cstore(grad_previous, t, width, rr + ii, ri - ir)
