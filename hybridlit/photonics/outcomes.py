"""What detectors can show, and how much of the light they keep.

All outcomes of the Fock space have probability 1 together. Of the unbunched ones post-selection
keeps a share, the success probability of a sample; their probabilities are conditional on it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.finite import can_look_at, rows_in_words
from hybridlit.photonics.fock import FockSpace

__all__ = ["Outcomes", "RareOutcomesError"]


class RareOutcomesError(ValueError):
    """Post-selection keeps too little to be told from rounding errors."""


class Outcomes:
    """The outcomes that have a probability, in the order of a space.

    Args:
        space: Their basis.

    Attributes:
        space: Their basis, a sequence of occupation tuples.
        size: Their number D.
        selected: Whether they are post-selected: others can happen, and are dropped.
    """

    def __init__(self, space: FockSpace) -> None:
        self.space, self.size, self.selected = space, space.size, space.unbunched
        modes, photons = space.modes, space.photons
        self._mean_kept = 1.0
        if self.selected:
            self._mean_kept = math.comb(modes, photons) / math.comb(modes + photons - 1, photons)

    def least_kept(self, dtype: torch.dtype) -> float:
        """Return the success probability down to which outcomes keep three digits.

        Amplitudes err by a few eps of what they are for typical interferometers, whose mean success
        probability is that of Haar-random ones; a million times eps squared below it, errors reach
        some thousandths.

        Args:
            dtype: Real dtype of the computation.

        Returns:
            A probability.
        """
        return self._mean_kept * (1000 * torch.finfo(dtype).eps) ** 2

    def conditional(
        self, weights: Tensor, least: float | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what is left of probabilities given that an outcome is kept, and the chance of it.

        Args:
            weights: Probabilities of the outcomes among all there are, shape (..., batch, D).
            least: The success probability that is needed; `least_kept` by default.

        Returns:
            Shape (..., batch, D), each row of sum 1, and success probabilities, shape (..., batch);
            the weights themselves and None where nothing is dropped.

        Raises:
            RareOutcomesError: As `checked`.
        """
        if not self.selected:
            return weights, None
        kept = weights.sum(-1)
        return weights / self.checked(kept, least)[..., None], kept

    def checked(self, kept: Tensor, least: float | None = None) -> Tensor:
        """Raise where post-selection leaves too little to know, if looking is free.

        Args:
            kept: Success probability of each sample, shape (..., batch).
            least: What is needed; `least_kept` by default.

        Returns:
            The same; where nothing could be looked at, with NaN for what is too little.

        Raises:
            RareOutcomesError: If a sample has no more than `least`.
        """
        if least is None:
            least = self.least_kept(kept.dtype)
        if not can_look_at(kept):
            return kept.masked_fill(kept <= least, math.nan)
        if not kept.numel() or float(kept.detach().amin()) > least:
            return kept
        rare = kept.detach() <= least
        if not bool(rare.any()):  # NaN is not rare
            return kept
        rows = rows_in_words(rare.reshape(-1, rare.shape[-1]).any(0))
        double = "" if kept.dtype == torch.float64 else "compute in float64 with .double(), "
        raise RareOutcomesError(
            f"the unbunched outcomes of {rows} of x (counted through its leading "
            f"dimensions) have a probability of at most {float(kept.detach()[rare].max()):.2g} "
            f"together, and {str(kept.dtype).removeprefix('torch.')} tells them from rounding "
            f"errors above {least:.2g} only: {double}leave these rows out, change their features "
            "or input_state, or use computation_space='fock'"
        )
