"""The compiled gradient of whole circuits in the jets of `jets_forward`.

Gradients are jets as well. If the gradient of component s of an output is component `top ^ s` of
the seed, then component `top` of seed times output is what is differentiated, and the gradient of
component s of an input is component `top ^ s` of the gradient found.
"""

from __future__ import annotations

from numba import types

from hybridlit.photonics.kernels.compiled.layout import (
    CHILDREN,
    CHUNK,
    COLUMN_OF,
    COLUMNS,
    LAYER_START,
    LAYER_STATES,
    LINK_BITS,
    MODES,
    PHOTONS,
    STATES,
    UNBUNCHED,
)
from hybridlit.photonics.kernels.compiled.source.arithmetic import (
    add_rows,
    clear,
    cload,
    csplat,
    cstore,
    fma,
    fnma,
    splat,
)
from hybridlit.photonics.kernels.compiled.source.blocks import seed_gradient
from hybridlit.photonics.kernels.compiled.source.circuit_backward import meshes_backward
from hybridlit.photonics.kernels.compiled.source.forward_kernel import (
    build_meshes,
    entry,
    tile_sizes,
)
from hybridlit.photonics.kernels.compiled.source.jets_forward import (
    jet_columns,
    jet_factors,
    jet_photons,
    write_jet_values,
)
from hybridlit.photonics.kernels.compiled.source.jit import compiled, entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    lane_count,
    load,
    pointer,
    shift,
    vstore_head,
)
from hybridlit.photonics.kernels.compiled.source.mesh import padded
from hybridlit.photonics.kernels.compiled.source.propagation import unitary_gradient
from hybridlit.photonics.kernels.compiled.source.recursion import remove_photon, remove_photon_fock


@compiled
def _photons_backward(
    plan: Pointer, links: Pointer, top: int, columns: Pointer, rows: Pointer, stride: int,
    grads: Pointer, grads_stride: int, grad_columns: Pointer, columns_size: int, spare: Pointer,
) -> None:  # fmt: skip
    """Take `grads` of the last photon layer down to `grad_columns` (components, columns, ...)."""
    width, bits = lane_count(rows), load(plan, LINK_BITS)
    modes, photons = load(plan, MODES), load(plan, PHOTONS)
    unbunched = load(plan, UNBUNCHED) != 0
    clear(grad_columns, (top + 1) * columns_size)
    for k in range(photons, 0, -1):
        at = entry(plan, COLUMN_OF, k - 1) * modes * 2 * width
        below = entry(plan, LAYER_START, k - 1) * 2 * width
        above = entry(plan, LAYER_START, k) * 2 * width
        position = entry(plan, CHILDREN, k - 1)
        states = entry(plan, LAYER_STATES, k - 1)
        for whole in range(top + 1):
            grad_column = shift(grad_columns, whole * columns_size + at)
            target = shift(grads, whole * grads_stride + below)
            for part in range(whole + 1):
                if part | whole == whole:
                    column = shift(columns, (whole ^ part) * stride + at)
                    previous = shift(rows, (whole ^ part) * stride + below)
                    layer = shift(grads, part * grads_stride + above)
                    found = target if part == 0 else spare
                    if unbunched:
                        remove_photon(
                            links, bits, position, states, modes - k + 1, column, grad_column,
                            previous, layer, found,
                        )  # fmt: skip
                    else:
                        remove_photon_fock(
                            links, bits, position, states, modes, column, grad_column, previous,
                            layer, found,
                        )  # fmt: skip
                    if part != 0:
                        add_rows(target, spare, states * 2 * width)


@compiled
def _apply_adjoint(
    unitary: Pointer, columns: int, modes: int, source: Pointer, target: Pointer
) -> None:
    """Compute `target = U^+ source`, both (columns, modes, row)."""
    width = lane_count(unitary)
    pitch = padded(modes, width)
    for c in range(columns):
        base = c * modes * 2 * width
        for j in range(modes):
            ar, ai = splat(0.0, unitary), splat(0.0, unitary)
            for i in range(modes):
                gr, gi = cload(source, base + i * 2 * width, width)
                ur, ui = csplat(unitary, i * 2 * pitch + j, pitch)
                ar, ai = fma(ui, gi, fma(ur, gr, ar)), fnma(ui, gr, fma(ur, gi, ai))
            cstore(target, base + j * 2 * width, width, ar, ai)


@compiled
def _phase_slopes(
    columns: int, modes: int, whole: int, inputs: Pointer, stride: int, grads: Pointer,
    columns_size: int, batch: int, sample: int, samples: int, out: Pointer,
) -> None:  # fmt: skip
    """Write component `whole` of the gradient of one column of phases to `out` (modes, batch)."""
    width = lane_count(inputs)
    for j in range(modes):
        slope = splat(0.0, inputs)
        for part in range(whole + 1):
            if part | whole == whole:
                source = shift(grads, part * columns_size)
                layer = shift(inputs, (whole ^ part) * stride)
                for c in range(columns):
                    place = (c * modes + j) * 2 * width
                    gr, gi = cload(source, place, width)
                    yr, yi = cload(layer, place, width)
                    slope = fnma(gr, yi, fma(gi, yr, slope))
        vstore_head(out, j * batch + sample, slope, samples)


@compiled
def _undo_factors(
    columns: int, modes: int, whole: int, factors: Pointer, stride: int, source: Pointer,
    columns_size: int, target: Pointer,
) -> None:  # fmt: skip
    """Compute component `whole` of `target = e^{-i phase} source`."""
    width = lane_count(factors)
    clear(target, columns_size)
    for part in range(whole + 1):
        if part | whole == whole:
            other = shift(factors, (whole ^ part) * stride)
            for c in range(columns):
                for j in range(modes):
                    fr, fi = cload(other, j * 2 * width, width)
                    place = (c * modes + j) * 2 * width
                    gr, gi = cload(source, part * columns_size + place, width)
                    tr, ti = cload(target, place, width)
                    tr, ti = fma(fi, gi, fma(fr, gr, tr)), fnma(fi, gr, fma(fr, gi, ti))
                    cstore(target, place, width, tr, ti)


@compiled
def _columns_backward(
    plan: Pointer, unitaries: Pointer, depth: int, top: int, batch: int, sample: int,
    samples: int, tile: Pointer, stride: int, grads: Pointer, spare: Pointer, totals: Pointer,
    grad_phases: Pointer,
) -> None:  # fmt: skip
    """Take `grads` (components, columns, modes, row) of the final columns through all layers."""
    width = lane_count(tile)
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    factors_size, _, size = tile_sizes(plan, depth, width)
    mesh_size = modes * 2 * padded(modes, width)
    for layer in range(depth, 0, -1):
        inputs = shift(tile, factors_size + (layer - 1) * size)
        factors = shift(tile, (layer - 1) * modes * 2 * width)
        total = shift(totals, layer * modes * modes * 2 * width)
        for part in range(top + 1):
            gradient = shift(grads, part * size)
            other = shift(inputs, (top ^ part) * stride)
            unitary_gradient(columns, modes, other, gradient, total)
            unitary = shift(unitaries, layer * mesh_size)
            _apply_adjoint(unitary, columns, modes, gradient, shift(spare, part * size))
        for found in range(2 if top else 1):
            out = shift(grad_phases, (found * depth + layer - 1) * modes * batch)
            _phase_slopes(
                columns, modes, top ^ found, inputs, stride, spare, size, batch, sample, samples,
                out,
            )  # fmt: skip
        for whole in range(top + 1):
            target = shift(grads, whole * size)
            _undo_factors(columns, modes, whole, factors, stride, spare, size, target)
    add_rows(totals, shift(grads, top * size), size)


@entry_point
def layer_jets(
    like: float, plan_at: int, links_at: int, child_links_at: int, weights_at: int, angles_at: int,
    phases_at: int, directions_at: int, grad_at: int, batch_stride: int, state_stride: int,
    second_at: int, unitaries_at: int, scratch_at: int, totals_at: int, values_at: int,
    grad_angles_at: int, grad_phases_at: int, order: int, depth: int, batch: int, meshes: bool,
) -> bool:  # fmt: skip
    """Compute gradients along `directions` (order, depth, modes, batch) for all samples.

    What is differentiated are weights, |amplitude|^2 of all outcomes that are not renormalised:
    `grad` times their component `top`, plus `second` (batch, states) times their component 1, if
    its address is not 0, in jets of order 2. Component `top` goes to `values`. Gradients of
    unitaries go to `totals`, a sum for each lane; those of phases, `grad_phases` (2, depth, modes,
    batch), are of the phases and of the first direction.

    `meshes` says whether to build unitaries first, and to turn their gradients into those of angles
    at the end. Returns whether an angle is unusable.
    """
    plan, links = pointer(plan_at, types.int64(0)), pointer(links_at, types.int32(0))
    child_links = pointer(child_links_at, types.int32(0))
    weights = pointer(weights_at, types.float64(0))
    phases, directions = pointer(phases_at, like), pointer(directions_at, like)
    grad, second = pointer(grad_at, like), pointer(second_at, like)
    unitaries, totals = pointer(unitaries_at, like), pointer(totals_at, like)
    values, grad_phases = pointer(values_at, like), pointer(grad_phases_at, like)
    block = pointer(scratch_at, like)
    width = lane_count(block)
    modes, photons, states = load(plan, MODES), load(plan, PHOTONS), load(plan, STATES)
    weight_step = 0 if load(plan, UNBUNCHED) != 0 else 1
    factors_size, inputs_size, columns_size = tile_sizes(plan, depth, width)
    last_at = entry(plan, LAYER_START, photons) * 2 * width
    rows_size = last_at + states * 2 * width
    stride = factors_size + inputs_size + columns_size + rows_size
    top = (1 << order) - 1
    mesh_scratch = shift(block, width * width)
    grad_columns = shift(mesh_scratch, modes * 4 * padded(modes, width))
    spare_columns = shift(grad_columns, (top + 1) * columns_size)
    spare = shift(spare_columns, (top + 1) * columns_size)
    # A layer of fewer photons may have more states than the last one.
    grads = shift(spare, max(rows_size, CHUNK * 2 * width))
    tile = shift(grads, (top + 1) * rows_size)
    columns = shift(tile, factors_size + inputs_size)
    rows = shift(columns, columns_size)
    last, grads_last = shift(rows, last_at), shift(grads, last_at)
    one, zero = splat(1.0, block), splat(0.0, block)
    unusable = False
    if meshes:
        unusable = build_meshes(plan, unitaries, pointer(angles_at, like), depth, False)
    clear(totals, (depth + 1) * modes * modes * 2 * width)
    for sample in range(0, batch, width):
        samples = min(width, batch - sample)
        unusable |= jet_factors(
            phases, directions, order, depth * modes, batch, sample, samples, tile, stride
        )
        jet_columns(plan, unitaries, depth, top, tile, stride, spare_columns)
        jet_photons(plan, links, top, columns, rows, stride, spare)
        if values_at != 0:
            write_jet_values(
                plan, weights, weight_step, top, last, stride, block, values, sample, samples
            )
        for seed in range(top + 1 if second_at == 0 else top + 3):
            # The first gradient with every component, then the second one with 0 and 1.
            part = seed if seed <= top else seed - top - 1
            source, strides = grad, (batch_stride, state_stride)
            target = shift(grads_last, part * rows_size)
            if seed > top:
                source, strides, target = second, (states, 1), spare
            seed_gradient(
                shift(last, part * stride), states, weights, weight_step, one, zero, block, source,
                strides, 0, sample, samples, target,
            )  # fmt: skip
            if seed > top:
                add_rows(shift(grads_last, (2 | part) * rows_size), spare, states * 2 * width)
        _photons_backward(
            plan, child_links, top, columns, rows, stride, grads, rows_size, grad_columns,
            columns_size, spare,
        )  # fmt: skip
        _columns_backward(
            plan, unitaries, depth, top, batch, sample, samples, tile, stride, grad_columns,
            spare_columns, totals, grad_phases,
        )  # fmt: skip
    if meshes:
        grad_angles = pointer(grad_angles_at, like)
        meshes_backward(plan, unitaries, depth, False, totals, mesh_scratch, grad_angles)
    return unusable
