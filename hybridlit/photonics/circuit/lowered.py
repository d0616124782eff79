"""The one form in which a circuit reaches the kernels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from typing_extensions import Self

__all__ = ["Lowered"]


class Lowered(NamedTuple):
    r"""The circuit :math:`U_L \Phi_L(x) U_{L-1} \dots \Phi_1(x) U_0` of each sample x of a batch.

    The interferometers :math:`U_l` are the same for all samples; :math:`\Phi_l` are columns of
    phases. Several circuits of one shape are one, in leading dimensions of both tensors.

    Attributes:
        phases: Of the cells of the meshes that the :math:`U_l` are, in radians, shape
            (..., columns + 1, cells, 2), real. This is where an interferometer that is no mesh
            would stand, as a matrix.
        data_phases: Of the :math:`\Phi_l` in radians, shape (..., columns, modes, batch), real, of
            the same leading dimensions.
        inputs: The input modes that light enters: one for each photon, in the order of computation,
            or those whose columns of the unitary are wanted.
    """

    phases: Tensor
    data_phases: Tensor
    inputs: tuple[int, ...]

    def double(self) -> Self:
        """Return the same circuit in float64."""
        return self._replace(phases=self.phases.double(), data_phases=self.data_phases.double())
