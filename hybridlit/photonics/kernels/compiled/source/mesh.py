"""Rectangular interferometer meshes: unitaries from angles, and angle gradients.

A mesh on m modes is m columns of cells, `cells = m (m - 1) / 2` in all.  The cell on
modes (j, j + 1) is `M(a) = BS diag(e^{ia}, 1) BS` with one more phase `e^{ib}` on mode
j, after M in every mesh but the last of a circuit, before M in the last one.

One unitary is stored as m rows of a real and an imaginary plane, each `pitch` scalars
long (m rounded up to whole vectors), so a cell updates two rows with vectors that run
along the input modes.  The backward pass undoes the cells from the last to the first on
the unitary and on its gradient together; nothing is stored and every angle costs O(m).
Gradients of complex numbers are dL/dRe + i dL/dIm, as in torch.

Cells act alike on the columns of a batch tile, whose vectors run along samples.  `Places` say where
vectors are, in scalars: how far those of a mode lie behind those of the one before, and imaginary
parts behind real ones, where those of a mode end, and how far they lie apart.  A whole unitary is
`spread` from the identity: a cell behind c columns of cells has light of input modes up to c beside
it only, and vectors of others are 0 and left alone.
"""

from __future__ import annotations

from typing import TypeAlias

from hybridlit.photonics.kernels.compiled.source.arithmetic import (
    any_unusable,
    cis,
    cload,
    cstore,
    fma,
    fnma,
    lane_sum,
    splat,
)
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    load,
    shift,
    store,
    vload_head,
    vstore,
)

#: Beyond this size an angle is closer to its float64 neighbours than cos can resolve.
ANGLE_BOUND = 2.0**50

Places: TypeAlias = tuple[int, int, int, int]


@compiled
def padded(length: int, width: int) -> int:
    """Return `length` rounded up to a multiple of `width`."""
    return (length + width - 1) // width * width


@compiled
def angle_factors(
    angles: Pointer, count: int, bound: float, cosines: Pointer, sines: Pointer
) -> bool:
    """Fill cosines and sines (padded count,) of all angles; return whether one is unusable."""
    width = lane_count(angles)
    unusable = False
    for i in range(0, count, width):
        angle = vload_head(angles, i, count - i)
        unusable |= any_unusable(angle, bound)
        c, s = cis(angle)
        vstore(cosines, i, c)
        vstore(sines, i, s)
    return unusable


@compiled
def _cell_matrix(cosines: Pointer, sines: Pointer, cell: int, last: bool) -> tuple[Vector, ...]:
    """Return the four complex entries of one cell (00, 01, 10, 11) as eight vectors."""
    fr = splat(load(cosines, 2 * cell + 1), cosines)
    fi = splat(load(sines, 2 * cell + 1), cosines)
    half = splat(0.5, cosines)
    zero = splat(0.0, cosines)
    # M00 = (e - 1) / 2 = p, M01 = M10 = i (e + 1) / 2 = -Im p + i (1 + Re p), M11 = -p.
    pr = fma(half, splat(load(cosines, 2 * cell), cosines), zero - half)
    pi = half * splat(load(sines, 2 * cell), cosines)
    qr, qi = zero - pi, pr + splat(1.0, cosines)
    xr, xi = fnma(fi, pi, fr * pr), fma(fi, pr, fr * pi)
    yr, yi = fnma(fi, qi, fr * qr), fma(fi, qr, fr * qi)
    if last:
        return xr, xi, qr, qi, yr, yi, zero - pr, zero - pi
    return xr, xi, yr, yi, qr, qi, zero - pr, zero - pi


@compiled
def _combine(
    ar: Vector, ai: Vector, br: Vector, bi: Vector, xr: Vector, xi: Vector, yr: Vector, yi: Vector
) -> tuple[Vector, Vector]:
    """Return the complex vector `a x + b y` as its two planes."""
    real = fnma(ai, xi, ar * xr)
    imag = fma(ai, xr, ar * xi)
    return fnma(bi, yi, fma(br, yr, real)), fma(bi, yr, fma(br, yi, imag))


@compiled
def build_unitary(
    unitary: Pointer, pitch: int, inputs: Pointer, count: int, cosines: Pointer, sines: Pointer,
    modes: int, first_cell: int, last: bool,
) -> None:  # fmt: skip
    """Multiply all cells of one mesh into `unitary` (modes, 2, pitch).

    Only the columns of the `count` modes in `inputs` are built; count = 0 means all.
    """
    width = lane_count(unitary)
    zero = splat(0.0, unitary)
    for i in range(0, modes * 2 * pitch, width):
        vstore(unitary, i, zero)
    for c in range(count if count else modes):
        store(unitary, (load(inputs, c) if count else c) * 2 * pitch + c, 1.0)
    places = 2 * pitch, pitch, pitch, width
    apply_cells(unitary, places, count == 0, cosines, sines, modes, first_cell, last)


@compiled
def _reached(places: Places, spread: bool, column: int, j: int) -> tuple[int, int]:
    """Return where the vectors begin and end that a cell on modes (j, j + 1) changes."""
    _, _, end, step = places
    if spread:
        return max(0, j - column) // step * step, min(end, j + column + 2)
    return 0, end


@compiled
def apply_cells(
    target: Pointer, places: Places, spread: bool, cosines: Pointer, sines: Pointer, modes: int,
    first_cell: int, last: bool,
) -> None:  # fmt: skip
    """Multiply all cells of one mesh into the vectors of `target`."""
    row, imaginary, _, step = places
    cell = first_cell
    for column in range(modes):
        for j in range(column % 2, modes - 1, 2):
            t = _cell_matrix(cosines, sines, cell, last)
            cell += 1
            t00r, t00i, t01r, t01i, t10r, t10i, t11r, t11i = t
            upper, lower = j * row, (j + 1) * row
            begin, end = _reached(places, spread, column, j)
            for v in range(begin, end, step):
                xr, xi = cload(target, upper + v, imaginary)
                yr, yi = cload(target, lower + v, imaginary)
                nr, ni = _combine(t00r, t00i, t01r, t01i, xr, xi, yr, yi)
                cstore(target, upper + v, imaginary, nr, ni)
                nr, ni = _combine(t10r, t10i, t11r, t11i, xr, xi, yr, yi)
                cstore(target, lower + v, imaginary, nr, ni)


@compiled
def _half_internal(
    fr: Vector, fi: Vector, u0r: Vector, u0i: Vector, u1r: Vector, u1i: Vector, g0r: Vector,
    g0i: Vector, g1r: Vector, g1i: Vector,
) -> Vector:  # fmt: skip
    """Return the vector whose lane sum is 2 dL/da, from both rows after the cell."""
    hr, hi = fma(fr, u0r, fi * u0i), fnma(fi, u0r, fr * u0i)
    kr, ki = fma(fr, g0r, fi * g0i), fnma(fi, g0r, fr * g0i)
    # One beam splitter further back, on mode j: the phase a acts there.
    hr, hi = hr + u1i, hi - u1r
    kr, ki = kr + g1i, ki - g1r
    return fnma(kr, hi, ki * hr)


@compiled
def angle_gradients(
    unitary: Pointer, gradient: Pointer, places: Places, spread: bool, cosines: Pointer,
    sines: Pointer, modes: int, first_cell: int, last: bool, grad_angles: Pointer, adds: bool,
) -> None:  # fmt: skip
    """Undo one mesh on the vectors of `unitary` and `gradient`, both overwritten.

    Writes dL/da, dL/db of its cells to `grad_angles` (all cells of the circuit, 2), or adds them.
    """
    row, imaginary, _, step = places
    zero = splat(0.0, unitary)
    cell = first_cell + modes * (modes - 1) // 2
    for column in range(modes - 1, -1, -1):
        start = column % 2
        for j in range(start + 2 * ((modes - start) // 2 - 1), -1, -2):
            cell -= 1
            t = _cell_matrix(cosines, sines, cell, last)
            # The inverse is the conjugate transpose.
            t00r, t00i, t10r, t10i = t[0], zero - t[1], t[2], zero - t[3]
            t01r, t01i, t11r, t11i = t[4], zero - t[5], t[6], zero - t[7]
            fr, fi = splat(1.0, unitary), zero
            if not last:
                fr = splat(load(cosines, 2 * cell + 1), unitary)
                fi = splat(load(sines, 2 * cell + 1), unitary)
            internal, external = zero, zero
            upper, lower = j * row, (j + 1) * row
            begin, end = _reached(places, spread, column, j)
            for v in range(begin, end, step):
                u0r, u0i = cload(unitary, upper + v, imaginary)
                u1r, u1i = cload(unitary, lower + v, imaginary)
                g0r, g0i = cload(gradient, upper + v, imaginary)
                g1r, g1i = cload(gradient, lower + v, imaginary)
                internal = internal + _half_internal(fr, fi, u0r, u0i, u1r, u1i, g0r, g0i, g1r, g1i)
                if not last:
                    external = fnma(g0r, u0i, fma(g0i, u0r, external))
                ur, ui = _combine(t00r, t00i, t01r, t01i, u0r, u0i, u1r, u1i)
                gr, gi = _combine(t00r, t00i, t01r, t01i, g0r, g0i, g1r, g1i)
                if last:
                    external = fnma(gr, ui, fma(gi, ur, external))
                cstore(unitary, upper + v, imaginary, ur, ui)
                cstore(gradient, upper + v, imaginary, gr, gi)
                ur, ui = _combine(t10r, t10i, t11r, t11i, u0r, u0i, u1r, u1i)
                gr, gi = _combine(t10r, t10i, t11r, t11i, g0r, g0i, g1r, g1i)
                cstore(unitary, lower + v, imaginary, ur, ui)
                cstore(gradient, lower + v, imaginary, gr, gi)
            inside, outside = 0.5 * lane_sum(internal), lane_sum(external)
            if adds:
                inside += load(grad_angles, 2 * cell)
                outside += load(grad_angles, 2 * cell + 1)
            store(grad_angles, 2 * cell, inside)
            store(grad_angles, 2 * cell + 1, outside)


@compiled
def factor_planes(
    buffer: Pointer, modes: int, meshes: int, unitaries: int
) -> tuple[Pointer, Pointer]:
    """Return pointers to cosines and sines of meshes behind so many numbers of `buffer`."""
    cosines = shift(buffer, unitaries)
    count = padded(meshes * modes * (modes - 1), lane_count(buffer))
    return cosines, shift(cosines, count)
