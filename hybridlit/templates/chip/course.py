"""How far the fit of a twin has come, and what an epoch is for; checkpoints hold it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import Self

__all__ = ["Course", "rate_at"]

_NEAR = 3
"""Steps with crosstalk by distance, before each heater has its own; then it is decided whether the
search has been in vain."""

_FOUND = 0.12
"""Largest part of the measured light, as roots of mean squares, that is unexplained on the way."""

_SETTLED = 0.99
"""A step that leaves more than this of the misfit is one of the last."""

_FITS = 2.0
"""Largest misfit, in standard deviations of the noise, of a fit that has converged."""


class Course(nn.Module):
    """The way of a fit: a search from random offsets, steps of Gauss and Newton, another start.

    Args:
        find_epochs: Epochs of a search, at least 1.
        starts: How many searches there may be, at least 1.
        near_first: Whether the first steps are with crosstalk by distance.

    Attributes:
        start: Number of the search, from 0.
        began: Epoch in which it began.
        steps: Steps of Gauss and Newton since.
        damping: What the last of them leaves for the next.
        misfit: Root mean square of the residuals in standard deviations of the noise.
        unexplained: Root mean square of the residuals by that of the measured light.
        settled: Whether the last step changed next to nothing.
        before: Parameters that the fit has begun with and stays near, by name, of a chip that was
            fitted on another day; None of one that is searched for.
    """

    start: Tensor
    began: Tensor
    steps: Tensor
    damping: Tensor
    misfit: Tensor
    unexplained: Tensor
    settled: Tensor
    before: dict[str, Tensor] | None = None

    def __init__(self, find_epochs: int, starts: int, near_first: bool) -> None:
        super().__init__()
        self.find_epochs, self.starts, self.near = find_epochs, starts, _NEAR * near_first
        for name in ("start", "began", "steps"):
            self.register_buffer(name, torch.tensor(0))
        for name in ("damping", "misfit", "unexplained"):
            self.register_buffer(name, torch.tensor(math.inf, dtype=torch.float64))
        self.register_buffer("settled", torch.tensor(False))

    def finding(self, epoch: int) -> bool:
        """Say whether an epoch is one of a search."""
        return epoch < int(self.began) + self.find_epochs

    @property
    def by_distance(self) -> bool:
        """Whether crosstalk is by distance in the next step."""
        return int(self.steps) < self.near

    def begin(self, epoch: int, start: int | None = None) -> None:
        """Begin another search, or that of a number, with an epoch."""
        self.start.fill_(int(self.start) + 1 if start is None else start)
        self.began.fill_(epoch)
        self.steps.fill_(0)
        self.before = None
        self.settled.fill_(False)
        for each in (self.damping, self.misfit, self.unexplained):
            each.fill_(math.inf)

    def follow(self, before: dict[str, Tensor]) -> None:
        """Begin with steps at once, from parameters that were found before."""
        self.begin(-self.find_epochs, 0)
        self.steps.fill_(self.near)
        self.before = before

    def stepped(self, misfit: float, unexplained: float, damping: float) -> None:
        """Note what a step has left."""
        own = not self.by_distance
        self.settled.fill_(own and misfit > _SETTLED * float(self.misfit))
        self.steps += 1
        self.misfit.fill_(misfit)
        self.unexplained.fill_(unexplained)
        self.damping.fill_(damping)

    @property
    def lost(self) -> bool:
        """Whether the search has ended in a wrong valley, and another one may begin."""
        again = int(self.start) + 1 < self.starts
        looked = bool(self.settled) or (self.before is None and int(self.steps) == _NEAR)
        return again and looked and not self.converged and float(self.unexplained) > _FOUND

    @property
    def converged(self) -> bool:
        """Whether the residuals are about those of the noise."""
        return float(self.misfit) <= _FITS

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow to no device and no precision: these are notes."""
        return self


def rate_at(done: float) -> float:
    """Return the factor of the learning rates when so much of a search is done, from 0 to 1."""
    return 1.0 if done < 0.7 else 0.5 * (1 + math.cos(math.pi * min(1.0, (done - 0.7) / 0.3)))
