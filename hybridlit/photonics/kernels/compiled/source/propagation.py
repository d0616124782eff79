"""The occupied columns of U(x) on one batch tile, layer by layer, and their gradients.

Only the columns of the occupied input modes are followed: `X_0 = U_0[:, occupied]` is
the same for every sample, then `Y_l = e^{i phase_l} X_{l-1}` and `X_l = U_l Y_l`.
Columns are stored as (columns, modes, row) with the rows of `recursion`.  The tile
keeps every Y_l and every phase factor for the backward pass.  Where columns of all samples
are fewer than those of U_l, its mesh is applied to them cell by cell, and U_l is never made.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.source.arithmetic import (
    any_unusable,
    cis,
    cload,
    csplat,
    cstore,
    fma,
    fnma,
    splat,
)
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    Vector,
    lane_count,
    vload,
    vload_head,
    vstore,
    vstore_head,
)
from hybridlit.photonics.kernels.compiled.source.mesh import (
    Places,
    angle_gradients,
    apply_cells,
    padded,
)


@compiled
def phase_factors(
    phases: Pointer, count: int, batch: int, sample: int, samples: int, bound: float,
    factors: Pointer,
) -> bool:  # fmt: skip
    """Fill `factors` (count, row) with e^{i phase} of one tile of phases (count, batch).

    Returns whether one of the angles is unusable.
    """
    width = lane_count(phases)
    unusable = False
    for i in range(count):
        angle = vload_head(phases, i * batch + sample, samples)
        unusable |= any_unusable(angle, bound)
        c, s = cis(angle)
        cstore(factors, i * 2 * width, width, c, s)
    return unusable


@compiled
def first_columns(
    unitary: Pointer, columns: int, modes: int, factors: Pointer, target: Pointer
) -> None:
    """Fill `target` (columns, modes, row) with the occupied columns of e^{i phase_1} U_0."""
    width = lane_count(unitary)
    pitch = padded(columns, width)
    for c in range(columns):
        for j in range(modes):
            entry = j * 2 * pitch + c
            ur, ui = csplat(unitary, entry, pitch)
            fr, fi = cload(factors, j * 2 * width, width)
            place = (c * modes + j) * 2 * width
            cstore(target, place, width, fnma(ui, fi, ur * fr), fma(ui, fr, ur * fi))


@compiled
def apply_unitary(
    unitary: Pointer, columns: int, modes: int, source: Pointer, target: Pointer
) -> None:
    """Compute `target = U source`, both (columns, modes, row)."""
    width = lane_count(unitary)
    pitch = padded(modes, width)
    for c in range(columns):
        base = c * modes * 2 * width
        for i in range(0, modes, 2):
            # Two rows at a time; an odd last row is computed twice.
            upper = i * 2 * pitch
            lower = min(i + 1, modes - 1) * 2 * pitch
            ar, ai = splat(0.0, unitary), splat(0.0, unitary)
            br, bi = splat(0.0, unitary), splat(0.0, unitary)
            for j in range(modes):
                yr, yi = cload(source, base + j * 2 * width, width)
                ur, ui = csplat(unitary, upper + j, pitch)
                ar, ai = fnma(ui, yi, fma(ur, yr, ar)), fma(ui, yr, fma(ur, yi, ai))
                ur, ui = csplat(unitary, lower + j, pitch)
                br, bi = fnma(ui, yi, fma(ur, yr, br)), fma(ui, yr, fma(ur, yi, bi))
            place = base + i * 2 * width
            cstore(target, place, width, ar, ai)
            place = base + min(i + 1, modes - 1) * 2 * width
            cstore(target, place, width, br, bi)


@compiled
def apply_factors(
    factors: Pointer, columns: int, modes: int, source: Pointer, target: Pointer
) -> None:
    """Compute `target = e^{i phase} source`, both (columns, modes, row)."""
    width = lane_count(factors)
    for c in range(columns):
        for j in range(modes):
            fr, fi = cload(factors, j * 2 * width, width)
            place = (c * modes + j) * 2 * width
            xr, xi = cload(source, place, width)
            cstore(target, place, width, fnma(fi, xi, fr * xr), fma(fi, xr, fr * xi))


@compiled
def unitary_gradient(
    columns: int, modes: int, inputs: Pointer, grads: Pointer, total: Pointer
) -> None:
    """Add this tile's gradient of U to `total` (modes, modes, row), one sum per lane.

    Entries go by blocks of 2 x 2 that share loads; an odd last row or column is done twice
    in one block, from the same old values, so it is still counted once.
    """
    width = lane_count(inputs)
    step = modes * 2 * width
    for i in range(0, modes, 2):
        g0, g1 = i * 2 * width, min(i + 1, modes - 1) * 2 * width
        for j in range(0, modes, 2):
            y0, y1 = j * 2 * width, min(j + 1, modes - 1) * 2 * width
            t00, t01, t10, t11 = g0 * modes + y0, g0 * modes + y1, g1 * modes + y0, g1 * modes + y1
            r00, i00 = cload(total, t00, width)
            r01, i01 = cload(total, t01, width)
            r10, i10 = cload(total, t10, width)
            r11, i11 = cload(total, t11, width)
            for c in range(0, columns * step, step):
                gr, gi = cload(grads, c + g0, width)
                hr, hi = cload(grads, c + g1, width)
                yr, yi = cload(inputs, c + y0, width)
                r00, i00 = fma(gi, yi, fma(gr, yr, r00)), fnma(gr, yi, fma(gi, yr, i00))
                r10, i10 = fma(hi, yi, fma(hr, yr, r10)), fnma(hr, yi, fma(hi, yr, i10))
                yr, yi = cload(inputs, c + y1, width)
                r01, i01 = fma(gi, yi, fma(gr, yr, r01)), fnma(gr, yi, fma(gi, yr, i01))
                r11, i11 = fma(hi, yi, fma(hr, yr, r11)), fnma(hr, yi, fma(hi, yr, i11))
            cstore(total, t00, width, r00, i00)
            cstore(total, t01, width, r01, i01)
            cstore(total, t10, width, r10, i10)
            cstore(total, t11, width, r11, i11)


@compiled
def _phase_step(
    factors: Pointer, inputs: Pointer, re: Vector, im: Vector, place: int, j: int, slope: Vector,
    target: Pointer,
) -> Vector:  # fmt: skip
    """Write e^{-i phase} (re + i im) to `target`; return `slope` plus dL/dphase."""
    width = lane_count(factors)
    fr, fi = cload(factors, j * 2 * width, width)
    yr, yi = cload(inputs, place, width)
    cstore(target, place, width, fma(fi, im, fr * re), fnma(fi, re, fr * im))
    return fnma(re, yi, fma(im, yr, slope))


@compiled
def phase_gradient(
    unitary: Pointer, columns: int, modes: int, inputs: Pointer, factors: Pointer, grads: Pointer,
    target: Pointer, grad_phases: Pointer, batch: int, sample: int, samples: int,
) -> None:  # fmt: skip
    """Take `grads` of X_l to `target`, the gradient of X_{l-1} (columns, modes, row).

    `inputs` is Y_l; writes this tile of `grad_phases` (modes, batch).
    """
    width = lane_count(unitary)
    pitch = padded(modes, width)
    zero = splat(0.0, unitary)
    for j in range(0, modes, 2):
        # Two modes share the loads of the gradient; an odd last mode is done twice.
        k = min(j + 1, modes - 1)
        slope, other_slope = zero, zero
        for c in range(columns):
            base = c * modes * 2 * width
            arr, aii, ari, air = zero, zero, zero, zero
            brr, bii, bri, bir = zero, zero, zero, zero
            for i in range(modes):
                gr, gi = cload(grads, base + i * 2 * width, width)
                ur, ui = csplat(unitary, i * 2 * pitch + j, pitch)
                arr, aii = fma(ur, gr, arr), fma(ui, gi, aii)
                ari, air = fma(ur, gi, ari), fma(ui, gr, air)
                ur, ui = csplat(unitary, i * 2 * pitch + k, pitch)
                brr, bii = fma(ur, gr, brr), fma(ui, gi, bii)
                bri, bir = fma(ur, gi, bri), fma(ui, gr, bir)
            place = base + j * 2 * width
            slope = _phase_step(factors, inputs, arr + aii, ari - air, place, j, slope, target)
            place = base + k * 2 * width
            other_slope = _phase_step(
                factors, inputs, brr + bii, bri - bir, place, k, other_slope, target
            )
        vstore_head(grad_phases, j * batch + sample, slope, samples)
        vstore_head(grad_phases, k * batch + sample, other_slope, samples)


# --- meshes applied to columns, cell by cell ------------------------------------------------------


@compiled
def _places(columns: int, modes: int, width: int) -> Places:
    """Where the vectors of columns (columns, modes, row) are."""
    size = modes * 2 * width
    return 2 * width, width, columns * size, size


@compiled
def apply_mesh(
    factors: tuple[Pointer, Pointer], mesh: int, last: bool, columns: int, modes: int,
    source: Pointer, target: Pointer,
) -> None:  # fmt: skip
    """Do what `apply_unitary` does, with the cosines and sines of all meshes instead of `U`."""
    width = lane_count(source)
    for i in range(0, columns * modes * 2 * width, width):
        vstore(target, i, vload(source, i))
    cells = modes * (modes - 1) // 2
    places = _places(columns, modes, width)
    apply_cells(target, places, False, factors[0], factors[1], modes, mesh * cells, last)


@compiled
def undo_factors(
    factors: Pointer, columns: int, modes: int, source: Pointer, target: Pointer
) -> None:
    """Compute `target = e^{-i phase} source`, both (columns, modes, row)."""
    width = lane_count(factors)
    for c in range(columns):
        for j in range(modes):
            fr, fi = cload(factors, j * 2 * width, width)
            place = (c * modes + j) * 2 * width
            yr, yi = cload(source, place, width)
            cstore(target, place, width, fma(fi, yi, fr * yr), fnma(fi, yr, fr * yi))


@compiled
def mesh_gradient(
    factors: tuple[Pointer, Pointer], mesh: int, last: bool, columns: int, modes: int,
    light: Pointer, grads: Pointer, grad_angles: Pointer,
) -> None:  # fmt: skip
    """Take `grads` of X_l to those of Y_l, in place, and add to those of all angles of the circuit.

    `light` is X_l, which is overwritten.
    """
    cells = modes * (modes - 1) // 2
    places = _places(columns, modes, lane_count(light))
    angle_gradients(
        light, grads, places, False, factors[0], factors[1], modes, mesh * cells, last, grad_angles,
        True,
    )  # fmt: skip


@compiled
def factor_gradient(
    columns: int, modes: int, inputs: Pointer, factors: Pointer, grads: Pointer,
    grad_phases: Pointer, batch: int, sample: int, samples: int,
) -> None:  # fmt: skip
    """Take `grads` of Y_l to those of X_{l-1}, in place.

    `inputs` is Y_l; writes this tile of `grad_phases` (modes, batch).
    """
    width = lane_count(grads)
    for j in range(modes):
        slope = splat(0.0, grads)
        for c in range(columns):
            place = (c * modes + j) * 2 * width
            gr, gi = cload(grads, place, width)
            slope = _phase_step(factors, inputs, gr, gi, place, j, slope, grads)
        vstore_head(grad_phases, j * batch + sample, slope, samples)
