"""What a measurement of some modes leaves."""

# Without postponed annotations, which pdoc cannot read in a named tuple.
from typing import NamedTuple

from torch import Tensor

from hybridlit.photonics.fock import FockSpace

__all__ = ["Branches"]


class Branches(NamedTuple):
    """What a partial measurement can find, and what it leaves.

    Attributes:
        outcomes: Photons in each measured mode, one tuple a branch: first those of no photon, then
            of one, and so on, each in descending lexicographic order.
        probabilities: Of each outcome, shape (..., branches); each row sums to 1, or to the squared
            norm of the `state` that entered.
        states: The state of the other modes in each branch: amplitudes of norm 1 in the order of
            the branch's space, shape (..., D), complex; 0 where the outcome is impossible.
        spaces: The states of the other modes in each branch.

    Example:
        >>> import torch
        >>> from hybridlit.photonics import PartialMeasurement, QuantumLayer
        >>> layer = QuantumLayer(2, 1, n_modes=3, n_photons=2)
        >>> branches = PartialMeasurement(layer, [0])(torch.rand(5, 2))
        >>> branches.outcomes[1], list(branches.spaces[1])
        ((1,), [(1, 0), (0, 1)])
    """

    outcomes: tuple[tuple[int, ...], ...]
    probabilities: Tensor
    states: tuple[Tensor, ...]
    spaces: tuple[FockSpace, ...]
