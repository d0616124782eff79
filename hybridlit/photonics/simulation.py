r"""Interferometer phases and data phases -> probabilities: the one seam behind which kernels are.

A circuit is :math:`U_L \Phi_L(x) U_{L-1} \dots \Phi_1(x) U_0`. Only the columns of the unitary at
the occupied input modes are propagated, one for each photon and sample, never the whole matrix.
Several circuits of one shape are one simulation: every tensor has a leading ``circuits`` dimension.
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
        phases: of the interferometers' cells in radians, shape (circuits, columns + 1, cells, 2),
            real.
        data_phases: in radians, shape (circuits, columns, modes, batch), real.
        occupied: the input mode of each photon, ascending.
        space: which outcomes; unbunched ones are renormalised to sum to 1.

    Returns:
        Probabilities, shape (circuits, batch, D), and their sum before renormalisation, shape
        (circuits, batch): 1 up to rounding in the Fock space, the post-selection's success
        probability if unbunched.
    """
    columns = circuit_columns(phases, data_phases, occupied)
    circuits, modes, photons, batch = columns.shape
    together = columns.permute(1, 2, 0, 3).reshape(modes, photons, circuits * batch)
    result = amplitudes_from_columns(together, occupied, space)
    weights = (result.real.square() + result.imag.square()).T.reshape(circuits, batch, len(result))
    kept = weights.sum(-1)
    if space is ComputationSpace.UNBUNCHED:
        weights = weights / kept[..., None]
    return weights, kept


def circuit_columns(phases: Tensor, data_phases: Tensor, inputs: Sequence[int]) -> Tensor:
    """Return chosen columns of each circuit's unitary for each sample.

    Args:
        phases: as for :func:`probabilities`.
        data_phases: as for :func:`probabilities`.
        inputs: the input modes whose columns are wanted.

    Returns:
        Shape (circuits, modes, inputs, batch), complex.
    """
    meshes = unitaries(phases)
    shifts = torch.polar(torch.ones_like(data_phases), data_phases)
    columns = meshes[:, 0][..., list(inputs), None]
    for layer in range(shifts.shape[1]):
        shifted = columns * shifts[:, layer, :, None]
        columns = (meshes[:, layer + 1] @ shifted.flatten(2)).view_as(shifted)
    return columns
