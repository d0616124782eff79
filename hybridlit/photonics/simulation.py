r"""Interferometer phases and data phases -> probabilities: the one seam behind which kernels are.

A circuit is :math:`U_L \Phi_L(x) U_{L-1} \dots \Phi_1(x) U_0`. Only the columns of the unitary at
the occupied input modes are propagated, one for each photon and sample, never the whole matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hybridlit.photonics.amplitudes import amplitudes_from_columns
from hybridlit.photonics.fock import ComputationSpace
from hybridlit.photonics.interferometer import unitaries

__all__ = ["circuit_columns", "probabilities"]


def probabilities(
    phases: Tensor, data_phases: Tensor, occupied: Sequence[int], space: ComputationSpace
) -> tuple[Tensor, Tensor]:
    """Return the probabilities of all outcomes and the probability that they have together.

    Args:
        phases: of the interferometers' cells in radians, shape (columns + 1, cells, 2), real.
        data_phases: in radians, shape (columns, modes, batch), real.
        occupied: the input mode of each photon, ascending.
        space: which outcomes; unbunched ones are renormalised to sum to 1.

    Returns:
        Probabilities, shape (batch, D), and their sum before renormalisation, shape (batch,): 1 up
        to rounding in the Fock space, the post-selection's success probability if unbunched.
    """
    columns = circuit_columns(unitaries(phases), data_phases, occupied)
    result = amplitudes_from_columns(columns, occupied, space)
    weights = result.real.square() + result.imag.square()
    kept = weights.sum(0)
    if space is ComputationSpace.UNBUNCHED:
        weights = weights / kept
    return weights.T, kept


def circuit_columns(meshes: Tensor, data_phases: Tensor, inputs: Sequence[int]) -> Tensor:
    """Return chosen columns of a circuit's unitary for each sample.

    Args:
        meshes: the interferometers' unitaries, shape (columns + 1, modes, modes), complex.
        data_phases: in radians, shape (columns, modes, batch), real.
        inputs: the input modes whose columns are wanted.

    Returns:
        Shape (modes, inputs, batch), complex.
    """
    shifts = torch.polar(torch.ones_like(data_phases), data_phases)
    columns = meshes[0][:, list(inputs), None]
    for mesh, shift in zip(meshes[1:], shifts, strict=True):
        shifted = columns * shift[:, None]
        columns = (mesh @ shifted.flatten(1)).view_as(shifted)
    return columns
