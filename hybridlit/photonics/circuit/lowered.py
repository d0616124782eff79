"""The one form in which a circuit reaches the kernels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Lowered"]


class Lowered(NamedTuple):
    r"""The circuit :math:`U_L \Phi_L(x) U_{L-1} \dots \Phi_1(x) U_0` of each sample x of a batch.

    The interferometers :math:`U_l` are the same for all samples; :math:`\Phi_l` are columns of
    phases. Several circuits of one shape are one, in leading dimensions of both tensors.

    Attributes:
        interferometers: The :math:`U_l`: either the phases of the cells of whole meshes in radians,
            shape (..., columns + 1, cells, 2), real; or matrices `[out, in]`, shape
            (..., columns + 1, modes, modes), complex.
        data_phases: Of the :math:`\Phi_l` in radians, shape (..., columns, modes, batch), real, of
            the same leading dimensions.
        inputs: The input modes that light enters: one for each photon, in the order of computation,
            or those whose columns of the unitary are wanted.
    """

    interferometers: Tensor
    data_phases: Tensor
    inputs: tuple[int, ...]
