"""What measured light is expected to be spread like around a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["LIKELIHOODS", "Likelihood", "LikelihoodName"]


@dataclass(frozen=True)
class Likelihood:
    """A likelihood by name.

    Attributes:
        words: What it is for.
        losses: Loss of each output from (outputs, measured): twice the negative log-likelihood, up
            to what the model does not change, times the variance where that is one number.
        spread: Standard deviation of what is measured from (outputs, noise), of the shape of the
            outputs; of counts, that of 1 where less is expected, lest dark outputs decide.
        counts: Whether it is of counts, which are integers.
    """

    words: str
    losses: Callable[[Tensor, Tensor], Tensor]
    spread: Callable[[Tensor, float], Tensor]
    counts: bool = False

    def check(self, measured: Tensor) -> None:
        """Refuse what cannot have been measured; powers taken for counts would fit whatever."""
        there = measured[~torch.isnan(measured)]
        wrong = int(((there < 0) | (there != there.round())).sum()) if self.counts else 0
        if wrong:
            raise ValueError(
                f"what is measured must be {self.words}, integers of at least 0, got others in "
                f"{wrong:,} of {len(there):,} numbers: give another likelihood, such as 'gaussian'"
            )

    def loss(self, outputs: Tensor, measured: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss over what was measured, that is, is not NaN.

        Args:
            outputs: Light of a model, (batch, outputs).
            measured: The same measured, NaN where a detector is missing.
            weights: Weights of the rows, (batch,), or None.
        """
        there = ~torch.isnan(measured)
        found = self.losses(outputs, torch.where(there, measured, outputs.detach()))
        share = there.to(found.dtype)
        if weights is not None:
            share = share * weights.to(found.dtype)[:, None]
        return (found * share).sum() / share.sum().clamp_min(torch.finfo(found.dtype).tiny)


def _square(outputs: Tensor, measured: Tensor) -> Tensor:
    return (outputs - measured).square()


def _deviance(outputs: Tensor, measured: Tensor) -> Tensor:
    dark = torch.finfo(outputs.dtype).tiny
    expected = outputs.clamp_min(dark)
    return 2 * (expected - measured + torch.xlogy(measured, measured.clamp_min(dark) / expected))


LIKELIHOODS: dict[str, Likelihood] = {
    "gaussian": Likelihood(
        "powers, with the same noise at each detector",
        _square,
        lambda outputs, noise: torch.full_like(outputs, noise),
    ),
    "poisson": Likelihood(
        "counts of photons, which spread by the root of what is expected",
        _deviance,
        lambda outputs, noise: outputs.clamp_min(1.0).sqrt(),
        counts=True,
    ),
}
"""Likelihoods by name."""

if TYPE_CHECKING:
    LikelihoodName: TypeAlias = str
else:
    LikelihoodName = Literal[tuple(LIKELIHOODS)]
