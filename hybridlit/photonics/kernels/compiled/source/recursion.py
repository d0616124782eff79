"""The photon recursion on one batch tile, and its gradient.

`A_k[s] = sum over modes j with s_j > 0 of u_k[j] A_{k-1}[s - e_j]` adds photon k to every
(k - 1)-photon state.  A tile holds one vector of samples, so a complex number of a tile is
two neighbouring vectors, real and imaginary: a *row* of `2 * lanes` scalars.  Layer k is
one row per k-photon state, layer 0 the single row 1.  Links come from `tables`: a link
packs a state's rank and a mode into `rank << bits | mode`, with as many bits as modes take.

The backward pass reads the same recursion downwards, state by state of layer k - 1:
`g_{k-1}[t] = sum_j conj(u_k[j]) g_k[t + e_j]` and
`gu_k[j] += conj(A_{k-1}[t]) g_k[t + e_j]`; a row of layer k - 1 is read before its
gradient is written, so both may share one memory.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.source.arithmetic import cload, cstore, fma, fnma, splat
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    load,
    vload,
    vstore,
)


@compiled
def _parent(
    links: Pointer, position: int, bits: int, previous: Pointer, column: Pointer
) -> tuple[Vector, Vector, Vector, Vector]:
    """Return the amplitude and the entry of u that one link points to, as four vectors."""
    width = lane_count(column)
    link = load(links, position)
    p, u = (link >> bits) * (2 * width), (link & ((1 << bits) - 1)) * (2 * width)
    return cload(previous, p, width) + cload(column, u, width)


@compiled
def add_photon(
    links: Pointer, bits: int, position: int, photons: int, column: Pointer, previous: Pointer,
    target: Pointer,
) -> int:  # fmt: skip
    """Compute one chunk of layer `photons` into `target` (chunk states, row).

    `column` is u (modes, row), `previous` layer `photons - 1`; returns the position
    behind the chunk's links.  States come grouped by their number of parents, so that the
    inner trip count is predictable.
    """
    width = lane_count(column)
    counts = position
    position += photons
    for parents in range(1, photons + 1):
        size = parents + 1
        for left in range(load(links, counts + parents - 1), 0, -2):
            # Two states at a time; an odd last one is computed twice.
            other = position + (size if left > 1 else 0)
            pr, pi, ur, ui = _parent(links, position + 1, bits, previous, column)
            arr, aii, ari, air = ur * pr, ui * pi, ur * pi, ui * pr
            pr, pi, ur, ui = _parent(links, other + 1, bits, previous, column)
            brr, bii, bri, bir = ur * pr, ui * pi, ur * pi, ui * pr
            for i in range(2, size):
                pr, pi, ur, ui = _parent(links, position + i, bits, previous, column)
                arr, aii = fma(ur, pr, arr), fma(ui, pi, aii)
                ari, air = fma(ur, pi, ari), fma(ui, pr, air)
                pr, pi, ur, ui = _parent(links, other + i, bits, previous, column)
                brr, bii = fma(ur, pr, brr), fma(ui, pi, bii)
                bri, bir = fma(ur, pi, bri), fma(ui, pr, bir)
            state = load(links, position) * (2 * width)
            cstore(target, state, width, arr - aii, ari + air)
            state = load(links, other) * (2 * width)
            cstore(target, state, width, brr - bii, bri + bir)
            position = other + size
    return position


@compiled
def remove_photon(
    links: Pointer, bits: int, position: int, states: int, children: int, column: Pointer,
    grad_column: Pointer, previous: Pointer, grads: Pointer, grad_previous: Pointer,
) -> None:  # fmt: skip
    """Take the gradient `grads` of layer k to layer k - 1, which has `states` states.

    Every state has `children` links.  Writes `grad_previous` (states, row; it may be
    `previous` itself) and adds to `grad_column` (modes, row).
    """
    width = lane_count(column)
    zero, mask = splat(0.0, column), (1 << bits) - 1
    for t in range(0, states * 2 * width, 2 * width):
        ar, ai = cload(previous, t, width)
        rr, ii, ri, ir = zero, zero, zero, zero
        for i in range(position, position + children):
            link = load(links, i)
            c, u = (link >> bits) * (2 * width), (link & mask) * (2 * width)
            gr, gi = cload(grads, c, width)
            ur, ui = cload(column, u, width)
            rr, ii = fma(ur, gr, rr), fma(ui, gi, ii)
            ri, ir = fma(ur, gi, ri), fma(ui, gr, ir)
            vstore(grad_column, u, fma(ar, gr, fma(ai, gi, vload(grad_column, u))))
            total = fnma(ai, gr, fma(ar, gi, vload(grad_column, u + width)))
            vstore(grad_column, u + width, total)
        position += children
        cstore(grad_previous, t, width, rr + ii, ri - ir)


@compiled
def remove_photon_fock(
    links: Pointer, bits: int, position: int, states: int, modes: int, column: Pointer,
    grad_column: Pointer, previous: Pointer, grads: Pointer, grad_previous: Pointer,
) -> None:  # fmt: skip
    """Do what `remove_photon` does in Fock space, where a state has a child per mode.

    Two states at a time share the loads of u and the update of its gradient; an odd last
    state is paired with a row of zeros whose result is overwritten.
    """
    width = lane_count(column)
    zero = splat(0.0, column)
    for t in range(0, states, 2):
        a, b = t * 2 * width, min(t + 1, states - 1) * 2 * width
        paired = t + 1 < states
        ar, ai = cload(previous, a, width)
        br, bi = (cload(previous, b, width)) if paired else (zero, zero)
        arr, aii, ari, air = zero, zero, zero, zero
        brr, bii, bri, bir = zero, zero, zero, zero
        first, second = position + t * modes, position + min(t + 1, states - 1) * modes
        for j in range(modes):
            u = j * 2 * width
            ur, ui = cload(column, u, width)
            sr, si = cload(grad_column, u, width)
            c = (load(links, first + j) >> bits) * (2 * width)
            gr, gi = cload(grads, c, width)
            arr, aii = fma(ur, gr, arr), fma(ui, gi, aii)
            ari, air = fma(ur, gi, ari), fma(ui, gr, air)
            sr, si = fma(ai, gi, fma(ar, gr, sr)), fnma(ai, gr, fma(ar, gi, si))
            c = (load(links, second + j) >> bits) * (2 * width)
            gr, gi = cload(grads, c, width)
            brr, bii = fma(ur, gr, brr), fma(ui, gi, bii)
            bri, bir = fma(ur, gi, bri), fma(ui, gr, bir)
            sr, si = fma(bi, gi, fma(br, gr, sr)), fnma(bi, gr, fma(br, gi, si))
            cstore(grad_column, u, width, sr, si)
        cstore(grad_previous, b, width, brr + bii, bri - bir)
        cstore(grad_previous, a, width, arr + aii, ari - air)
