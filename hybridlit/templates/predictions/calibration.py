"""What a model's probabilities and errors are worth on rows that its training has not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import Self

from hybridlit.checks import number
from hybridlit.templates.tasks import Multiclass
from hybridlit.words import plural

__all__ = [
    "CALIBRATION_KEY",
    "Calibration",
    "conformal_scores",
    "fitted_temperature",
    "label_probabilities",
    "label_sets",
]

CALIBRATION_KEY = "hybridlit_calibration"
"""Key of a checkpoint: what `calibrate` has found."""

_MOST = 1e3
"""Largest temperature, and the inverse of the smallest, that is taken for one."""


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` has found of a trained model, kept in its checkpoints.

    Attributes:
        temperature: What outputs of a classifier are divided by before they become probabilities,
            above 0 (Guo et al., arXiv:1706.04599); None: they stay as they are.
        scores: How unlike its prediction the truth is in each held-out row, in ascending order, of
            shape (rows, targets) in float64: for classes 1 minus the probability of the true one,
            for values the absolute error in their own units. None: no rows were held out.
        facts: Where the rows are from, and how many there are, as plain values.

    Example:
        >>> Calibration(temperature=2.0).tempered(torch.tensor([4.0, 1.0]))
        tensor([2.0000, 0.5000])
        >>> Calibration(scores=torch.arange(1.0, 20.0)[:, None]).quantiles(0.9)
        tensor([18.])
    """

    temperature: float | None = None
    scores: Tensor | None = field(default=None, repr=False)
    facts: dict[str, Any] = field(default_factory=dict)

    def tempered(self, outputs: Tensor) -> Tensor:
        """Divide outputs, of any shape, by the temperature."""
        return outputs if self.temperature is None else outputs / self.temperature

    def quantiles(self, coverage: float) -> Tensor:
        """Return what scores stay within with a probability of at least `coverage`.

        That is the `ceil((n + 1) coverage)`-th smallest of n scores (Vovk, Gammerman and Shafer,
        Algorithmic Learning in a Random World, 2005). For a new row that was drawn like the n
        held-out ones, the chance that its score is no larger is at least `coverage`, and at most
        1 / (n + 1) above it if no two scores are equal: an average over draws of the n rows and of
        the new one, not a promise for each class or each kind of row.

        Args:
            coverage: The probability, above 0 and below 1.

        Returns:
            A tensor of shape (targets,), in float64.

        Raises:
            ValueError: If there are no scores, or too few for this coverage.
        """
        number(coverage, "coverage", above=0.0, below=1.0)
        share = Fraction(str(coverage))
        rows = 0 if self.scores is None else len(self.scores)
        rank = math.ceil((rows + 1) * share)  # of 0.9 itself, which no float is
        if self.scores is None or rank > rows:
            needed = math.ceil(share / (1 - share))
            raise ValueError(
                f"coverage={coverage} needs at least {plural(needed, 'row')} that neither the "
                f"training nor the choice of the checkpoint has seen, got {rows}: give the data "
                "module a calibration_fraction before the training, or labelled rows to "
                "hybridlit calibrate --input"
            )
        return self.scores[rank - 1]

    def state(self) -> dict[str, Any]:
        """Return everything as plain values and a tensor."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make it again of what `state` has returned."""
        return cls(**state)


def fitted_temperature(model: Any, outputs: Tensor, targets: Tensor) -> float | None:
    """Return the temperature of the smallest mean negative log-likelihood.

    That is convex in the inverse of the temperature, so that bisection on the sign of its slope
    finds it. None if there is no smallest value: if all rows are right, or none can be told.

    Args:
        model: A model of a task that classifies.
        outputs: What `forward` has returned for the rows, of shape (rows, output_dim).
        targets: Their prepared targets.
    """
    loss: Any = functional.cross_entropy
    if not isinstance(model.task, Multiclass):
        loss, targets = functional.binary_cross_entropy_with_logits, targets.double()
    outputs = outputs.double()

    def slope(log: float) -> float:
        """Slope of the loss by the inverse of the temperature, at the logarithm of that inverse."""
        with torch.enable_grad():
            inverse = torch.tensor(log, dtype=torch.float64).exp().requires_grad_()
            (found,) = torch.autograd.grad(loss(outputs * inverse, targets), inverse)
        return float(found)

    low, high = -math.log(_MOST), math.log(_MOST)
    if slope(high) <= 0 or slope(low) >= 0:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return math.exp(-low)


def label_probabilities(model: Any, predictions: Tensor) -> Tensor:
    """Return the probability of each label of each target, of shape (rows, targets, labels)."""
    if isinstance(model.task, Multiclass):
        return predictions[:, None]
    return torch.stack([1 - predictions, predictions], -1)


def conformal_scores(model: Any, predictions: Tensor, targets: Tensor) -> Tensor:
    """Say how unlike its prediction the truth of each row is, of shape (rows, targets).

    Args:
        model: The model.
        predictions: As `predict` gives them: probabilities, values in their own units.
        targets: Prepared targets, values in their own units.
    """
    if not model.task.classifies:
        return (predictions.double() - targets.double()).abs()
    shares = label_probabilities(model, predictions.double())
    true = targets.reshape(len(targets), -1, 1).long()
    return 1 - shares.gather(2, true)[..., 0]


def label_sets(model: Any, predictions: Tensor, bounds: Tensor) -> Tensor:
    """Return which labels are no more unlike a row than `bounds` (targets,), as booleans.

    Sets of shape (rows, targets, labels); the least ambiguous ones of this coverage (Sadinle, Lei
    and Wasserman, arXiv:1609.00451).
    """
    return 1 - label_probabilities(model, predictions.double()) <= bounds[:, None]
