"""Compiled construction of the links between neighbouring layers of Fock states.

States of k photons in m modes are in descending lexicographic order.  The rank of a state
s is `sum_j w[j, r_{j+1}]` where r_{j+1} counts the photons in modes > j and the sum runs
over all modes (Fock space, `w[j, r] = C(r - 1 + m - j - 1, m - j - 1)`, 0 for r = 0) or
over the empty ones (unbunched space, `w[j, r] = C(m - j - 1, r - 1)`).  Adding or taking a
photon in mode i changes r_{j+1} for j < i only, so the ranks of all neighbours of a state
follow from a prefix and a suffix sum in O(m).
"""

from __future__ import annotations

from numba import types

from hybridlit.photonics.kernels.compiled.layout import CHUNK
from hybridlit.photonics.kernels.compiled.source.jit import compiled, entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import Pointer, load, pointer, shift, store


@compiled
def _advance(state: Pointer, modes: int, unbunched: bool) -> None:
    """Step `state` (modes,) to the next one in descending lexicographic order."""
    tail = 0
    i = modes - 1
    if unbunched:
        while i >= 0 and load(state, i) == 1:
            tail += 1
            store(state, i, 0)
            i -= 1
    else:
        tail = load(state, i)
        store(state, i, 0)
        i -= 1
    while i >= 0 and load(state, i) == 0:
        i -= 1
    if i < 0:
        return
    store(state, i, load(state, i) - 1)
    if unbunched:
        for j in range(i + 1, i + 2 + tail):
            store(state, j, 1)
    else:
        store(state, i + 1, tail + 1)


@compiled
def _neighbours(
    weights: Pointer, pitch: int, state: Pointer, modes: int, step: int, unbunched: bool,
    bits: int, found: Pointer,
) -> int:  # fmt: skip
    """Write the links of one state to `found` in ascending order of modes; return how many.

    `weights` (modes, pitch) are the terms of the rank sum; `bits` of a link hold the mode.
    """
    # suffix: terms of the modes > i as they are; prefix: those of modes < i after the step.
    suffix, behind = 0, 0
    for j in range(modes - 1, -1, -1):
        if not unbunched or load(state, j) == 0:
            suffix += load(weights, j * pitch + behind)
        behind += load(state, j)
    prefix, count = 0, 0
    for i in range(modes):
        photons = load(state, i)
        behind -= photons
        own = load(weights, i * pitch + behind)
        counted = not unbunched or photons == 0
        if counted:
            suffix -= own
        if (step < 0 and photons > 0) or (step > 0 and counted):
            rank = prefix + suffix + (own if step < 0 or not unbunched else 0)
            store(found, count, rank << bits | i)
            count += 1
        if counted and behind + step > 0:
            prefix += load(weights, i * pitch + behind + step)
    return count


@entry_point
def fill_links(
    weights_at: int, pitch: int, modes: int, photons: int, step: int, unbunched: bool, states: int,
    bits: int, links_at: int, work_at: int,
) -> int:  # fmt: skip
    """Write the links of all `photons`-photon states to the int32 memory at `links_at`.

    `step = -1` lists parents: per chunk of states `photons` counts (states with 1, 2,
    ... parents), then per state, sorted by that number, its index in the chunk and its
    links.  `step = +1` lists children: the same number of links for every state.
    `work_at` is memory for (modes + 1) + CHUNK * (modes + 1) int64 numbers.
    """
    weights = pointer(weights_at, types.int64(0))
    links = pointer(links_at, types.int32(0))
    state = pointer(work_at, types.int64(0))
    found = shift(state, modes + 1)
    degree = shift(found, CHUNK * modes)
    for j in range(modes):
        store(state, j, (1 if j < photons else 0) if unbunched else (photons if j == 0 else 0))
    position = 0
    for first in range(0, states, CHUNK):
        size = min(CHUNK, states - first)
        for s in range(size):
            place = shift(found, s * modes)
            count = _neighbours(weights, pitch, state, modes, step, unbunched, bits, place)
            store(degree, s, count)
            if step > 0:
                for i in range(count):
                    store(links, position + i, load(place, i))
                position += count
            _advance(state, modes, unbunched)
        if step > 0:
            continue
        counts = position
        position += photons
        for parents in range(1, photons + 1):
            begin = position
            for s in range(size):
                if load(degree, s) == parents:
                    store(links, position, s)
                    for i in range(parents):
                        store(links, position + 1 + i, load(found, s * modes + i))
                    position += 1 + parents
            store(links, counts + parents - 1, (position - begin) // (1 + parents))
    return position


@entry_point
def chunk_positions(links_at: int, position: int, photons: int, states: int, out_at: int) -> None:
    """Write where the links to parents of each chunk of `photons`-photon states begin.

    Those of the first one begin at `position`; int64 numbers go to the memory at `out_at`.
    """
    links = pointer(links_at, types.int32(0))
    out = pointer(out_at, types.int64(0))
    for chunk in range((states + CHUNK - 1) // CHUNK):
        store(out, chunk, position)
        size = photons
        for parents in range(1, photons + 1):
            size += load(links, position + parents - 1) * (1 + parents)
        position += size


@entry_point
def factorial_products(
    modes: int, photons: int, states: int, factorials_at: int, out_at: int, work_at: int
) -> None:
    """Write prod_j s_j! of every Fock state to the float64 memory at `out_at` (states,).

    `work_at` is memory for modes + 1 int64 numbers.
    """
    factorials = pointer(factorials_at, types.float64(0))
    out = pointer(out_at, types.float64(0))
    state = pointer(work_at, types.int64(0))
    for j in range(modes):
        store(state, j, photons if j == 0 else 0)
    for s in range(states):
        product = 1.0
        for j in range(modes):
            product *= load(factorials, load(state, j))
        store(out, s, product)
        _advance(state, modes, False)
