"""The compiled entry points for interferometers alone: unitaries and the gradient of their phases.

Complex matrices come and go as torch holds them, real and imaginary parts interleaved; inside, rows
are split into planes as :mod:`mesh` wants them.
"""

from __future__ import annotations

from numba import njit

from hybridlit.photonics.kernels.compiled.lanes import (
    lane_count,
    load,
    pointer,
    shift,
    splat,
    store,
    vstore,
)
from hybridlit.photonics.kernels.compiled.mesh import (
    ANGLE_BOUND,
    angle_factors,
    angle_gradients,
    build_unitary,
    padded,
)

__all__ = ["build_unitaries", "mesh_scratch", "unitaries_gradient"]

_WIDEST = 16  # lanes of a vector in float32, which pads rows most


def mesh_scratch(angles: int, modes: int) -> int:
    """Return how many numbers the kernels below need as scratch memory."""
    pitch = -(-modes // _WIDEST) * _WIDEST
    return 2 * (angles + _WIDEST) + 2 * modes * 2 * pitch + 2 * _WIDEST


@njit(nogil=True)
def _factors(angles, count, work):
    """Fill cosines and sines of all angles; return pointers to them and to the free memory."""
    room = padded(count, lane_count(angles))
    sines = shift(work, room)
    angle_factors(angles, count, ANGLE_BOUND, work, sines)
    return work, sines, shift(sines, room)


@njit(nogil=True)
def _split(source, modes, planes):
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


@njit(cache=True, nogil=True)
def build_unitaries(like, angles_at, total, meshes, modes, out_at, work_at):
    """Write ``total`` unitaries (modes, modes, 2); every ``meshes``-th one is a circuit's last."""
    angles, out = pointer(angles_at, like), pointer(out_at, like)
    cells = modes * (modes - 1) // 2
    cosines, sines, unitary = _factors(angles, 2 * total * cells, pointer(work_at, like))
    pitch = padded(modes, lane_count(unitary))
    for mesh in range(total):
        last = mesh % meshes == meshes - 1
        build_unitary(unitary, cosines, sines, modes, mesh * cells, last)
        target = shift(out, mesh * modes * modes * 2)
        for row in range(modes):
            for part in range(2):
                for column in range(modes):
                    value = load(unitary, (row * 2 + part) * pitch + column)
                    store(target, (row * modes + column) * 2 + part, value)


@njit(cache=True, nogil=True)
def unitaries_gradient(
    like, angles_at, unitaries_at, grad_at, total, meshes, modes, out_at, work_at
):
    """Write the gradient of all angles (total, cells, 2) from that of the unitaries."""
    angles, out = pointer(angles_at, like), pointer(out_at, like)
    unitaries, grad = pointer(unitaries_at, like), pointer(grad_at, like)
    cells = modes * (modes - 1) // 2
    cosines, sines, unitary = _factors(angles, 2 * total * cells, pointer(work_at, like))
    gradient = shift(unitary, modes * 2 * padded(modes, lane_count(unitary)))
    for mesh in range(total):
        last = mesh % meshes == meshes - 1
        _split(shift(unitaries, mesh * modes * modes * 2), modes, unitary)
        _split(shift(grad, mesh * modes * modes * 2), modes, gradient)
        angle_gradients(unitary, gradient, cosines, sines, modes, mesh * cells, last, out)
