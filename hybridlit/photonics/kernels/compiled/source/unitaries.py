"""Interferometers alone: unitaries from angles, and gradients of angles from those of unitaries.

Complex matrices come and go as torch holds them, real and imaginary parts interleaved.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.source.arithmetic import splat
from hybridlit.photonics.kernels.compiled.source.jit import compiled, entry_point
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Pointer,
    lane_count,
    load,
    pointer,
    shift,
    store,
    vstore,
)
from hybridlit.photonics.kernels.compiled.source.mesh import (
    ANGLE_BOUND,
    angle_factors,
    angle_gradients,
    build_unitary,
    padded,
)


@compiled
def _factors(angles: Pointer, count: int, work: Pointer) -> tuple[Pointer, Pointer]:
    """Fill cosines, at `work`, and sines of all angles; return the sines and free memory."""
    room = padded(count, lane_count(angles))
    sines = shift(work, room)
    angle_factors(angles, count, ANGLE_BOUND, work, sines)
    return sines, shift(sines, room)


@compiled
def _split(source: Pointer, modes: int, planes: Pointer) -> None:
    """Copy an interleaved matrix (modes, modes, 2) to planes (modes, 2, pitch), padded with 0."""
    width = lane_count(planes)
    pitch = padded(modes, width)
    zero = splat(0.0, planes)
    for i in range(0, modes * 2 * pitch, width):
        vstore(planes, i, zero)
    for row in range(modes):
        for part in range(2):
            for column in range(modes):
                value = load(source, (row * modes + column) * 2 + part)
                store(planes, (row * 2 + part) * pitch + column, value)


@entry_point
def build_unitaries(
    like: float, angles_at: int, total: int, meshes: int, modes: int, out_at: int, work_at: int
) -> None:
    """Write `total` unitaries (modes, modes, 2); every `meshes`-th one is a circuit's last.

    `work_at` is memory for `mesh_scratch` numbers.
    """
    angles, out = pointer(angles_at, like), pointer(out_at, like)
    cells = modes * (modes - 1) // 2
    cosines = pointer(work_at, like)
    sines, unitary = _factors(angles, 2 * total * cells, cosines)
    pitch = padded(modes, lane_count(unitary))
    for mesh in range(total):
        last = mesh % meshes == meshes - 1
        first = mesh * cells
        build_unitary(unitary, pitch, unitary, 0, cosines, sines, modes, first, last)
        target = shift(out, mesh * modes * modes * 2)
        for row in range(modes):
            for part in range(2):
                for column in range(modes):
                    value = load(unitary, (row * 2 + part) * pitch + column)
                    store(target, (row * modes + column) * 2 + part, value)


@entry_point
def unitaries_gradient(
    like: float, angles_at: int, unitaries_at: int, grad_at: int, total: int, meshes: int,
    modes: int, out_at: int, work_at: int,
) -> None:  # fmt: skip
    """Write the gradient of all angles (total, cells, 2) from that of the unitaries.

    `work_at` is memory for `mesh_scratch` numbers.
    """
    angles, out = pointer(angles_at, like), pointer(out_at, like)
    unitaries, grad = pointer(unitaries_at, like), pointer(grad_at, like)
    cells = modes * (modes - 1) // 2
    cosines = pointer(work_at, like)
    sines, unitary = _factors(angles, 2 * total * cells, cosines)
    width = lane_count(unitary)
    pitch = padded(modes, width)
    gradient = shift(unitary, modes * 2 * pitch)
    for mesh in range(total):
        last = mesh % meshes == meshes - 1
        _split(shift(unitaries, mesh * modes * modes * 2), modes, unitary)
        _split(shift(grad, mesh * modes * modes * 2), modes, gradient)
        angle_gradients(
            unitary, gradient, (2 * pitch, pitch, pitch, width), True, cosines, sines, modes,
            mesh * cells, last, out, False,
        )  # fmt: skip
