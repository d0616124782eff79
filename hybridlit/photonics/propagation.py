r"""Interferometer phases and data phases -> columns of the circuit's unitary, in torch operations.

A circuit is :math:`U_L \Phi_L(x) U_{L-1} \dots \Phi_1(x) U_0`. Only the columns at the occupied
input modes are propagated, one for each photon and sample, never the whole matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hybridlit.photonics.interferometer import unitaries

__all__ = ["circuit_columns"]


def circuit_columns(phases: Tensor, data_phases: Tensor, inputs: Sequence[int]) -> Tensor:
    """Return chosen columns of each circuit's unitary for each sample.

    Args:
        phases: of the interferometers' cells in radians, shape (..., columns + 1, cells, 2), real;
            leading dimensions are circuits of one shape.
        data_phases: in radians, shape (..., columns, modes, batch), real.
        inputs: the input modes whose columns are wanted.

    Returns:
        Shape (modes, inputs, ..., batch), complex.
    """
    meshes = unitaries(phases)
    shifts = torch.polar(torch.ones_like(data_phases), data_phases)
    columns = meshes[..., 0, :, :][..., list(inputs), None]
    for layer in range(shifts.shape[-3]):
        shifted = columns * shifts[..., layer, :, None, :]
        columns = (meshes[..., layer + 1, :, :] @ shifted.flatten(-2)).view_as(shifted)
    return columns.movedim((-3, -2), (0, 1))
