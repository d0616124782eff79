"""The score of a model as a mean over rows, so that two models can be compared row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from hybridlit.analysis.evaluation import collect
from hybridlit.analysis.splits import loader_of
from hybridlit.templates import HybridModule
from hybridlit.templates.tasks import NoScoreError

__all__ = ["Bench", "Forward", "Measure", "RowScore", "ScoredRows", "prepared_targets"]

RowScore = Callable[[Tensor, Tensor], Tensor]
"""From (outputs, targets) of all test rows to one number a row, more is better, shape (rows,)."""

Forward = Callable[[Any, Any], tuple[Tensor, Tensor]]
"""From (model, batch) to outputs and targets of the batch, each of shape (batch, ...)."""


class ScoredRows(NamedTuple):
    """Scores of the test rows, shape (rows,), and outputs (rows, ...); None if of no network."""

    rows: npt.NDArray[np.float64]
    outputs: Tensor | None = None

    @property
    def mean(self) -> float:
        """The score of the run."""
        return float(self.rows.mean())

    def same_outputs(self, other: ScoredRows) -> bool:
        """Whether both are networks that returned the very same: no row could tell them apart."""
        one, two = self.outputs, other.outputs
        return one is not None and two is not None and torch.equal(one, two)


class Measure:
    r"""Runs a model over batches and scores every row; the score is the mean over the rows.

    Classification scores 1 for a right row and 0 for a wrong one, so that the mean is the accuracy.
    Regression scores :math:`1 - e^2 / \mathrm{Var}(y)`, averaged over outputs, whose mean is R2.

    Args:
        model: The model, for the task of a `HybridModule`. Any other needs the next two, or it is a
            TypeError.
        score: Another score, more is better, of what the model returns and the prepared targets.
        forward: How a model is run on a batch.

    Attributes:
        name: `"acc"`, `"r2"` or the name of the function `score`.
        forward: The function given, or None.
        own_score: Whether `score` was given.
    """

    def __init__(
        self, model: LightningModule, score: RowScore | None = None, forward: Forward | None = None
    ) -> None:
        for name, given, what in (
            ("score", score, "from (outputs, targets) to one number a row, more is better"),
            ("forward", forward, "from (model, batch) to (outputs, targets)"),
        ):
            if given is None and not isinstance(model, HybridModule):
                raise TypeError(f"{type(model).__name__} is no HybridModule: give {name}=, {what}")
        self._score, self.forward = score, forward
        self.own_score = score is not None
        if score is not None:
            self.name = getattr(score, "__name__", type(score).__name__)
        elif isinstance(model, HybridModule):
            self.name = model.task.score

    def __call__(self, model: LightningModule, batches: Sequence[Any]) -> ScoredRows:
        """Run a model in evaluation mode, in which it is left, and score every row."""
        outputs, targets = self.outputs(model, batches)
        return ScoredRows(self.rows(model, outputs, targets), outputs)

    def outputs(self, model: LightningModule, batches: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Return what `collect` does in evaluation mode, in which the model is left."""
        return collect(model.eval(), batches, self.forward)

    def rows(
        self, model: LightningModule, outputs: Tensor, targets: Tensor
    ) -> npt.NDArray[np.float64]:
        """Score every row of outputs and prepared targets, (rows, ...), to shape (rows,).

        Raises:
            ValueError: If outputs or scores are not finite, or there is not one score a row.
        """
        if not bool(torch.isfinite(outputs).all()):
            raise NoScoreError("the model's outputs on the test data are not finite: it diverged")
        if self._score is None:
            assert isinstance(model, HybridModule)
            return self.rows_of_predictions(model, model.predictions(outputs), targets)
        scores = torch.as_tensor(self._score(outputs, targets)).detach()
        if scores.shape != outputs.shape[:1]:
            raise ValueError(
                f"score must return one number a row, shape ({len(outputs)},), got "
                f"{tuple(scores.shape)}"
            )
        return _finite(scores)

    def rows_of_predictions(
        self, model: HybridModule, predictions: Tensor, targets: Tensor
    ) -> npt.NDArray[np.float64]:
        """Score every row, as `rows` does, of what a template's `predictions` looks like."""
        return _finite(model.task.row_scores(predictions, targets))


class Bench(NamedTuple):
    """What models are tested on: a datamodule that is set up, its test batches, and a seed."""

    measure: Measure
    data: LightningDataModule
    test: Sequence[Any]
    seed: int

    def scored(self, model: LightningModule) -> ScoredRows:
        """Score a model on the test rows."""
        return self.measure(model, self.test)

    def constant(self, model: LightningModule) -> ScoredRows | None:
        """Score the best constant: the most frequent class, or the mean, of the training data.

        Its outputs are the class frequencies as logits, so that other scores than the accuracy can
        be taken of it as well. None for a model that is no template or is run by a function of the
        user's, since what its outputs mean is not known.
        """
        if not isinstance(model, HybridModule) or self.measure.forward is not None:
            return None
        answer = model.task.constant(prepared_targets(model, loader_of(self.data, "train")))
        wanted = prepared_targets(model, self.test)
        outputs = answer.to(torch.get_default_dtype()).expand(len(wanted), -1)
        return ScoredRows(self.measure.rows(model, outputs, wanted))


def prepared_targets(model: HybridModule, batches: Iterable[Any]) -> Tensor:
    """Return targets as the loss takes them, (rows,) or (rows, output_dim), on the CPU."""
    found = []
    for batch in batches:
        given = model.unpack(batch)[1]
        outputs = torch.zeros(len(given), model.hparams["output_dim"])
        found.append(model.prepare_targets(outputs, given.cpu()))
    return torch.cat(found)


def _finite(scores: Tensor) -> npt.NDArray[np.float64]:
    if not bool(torch.isfinite(scores).all()):
        raise NoScoreError("the scores of the test rows must be finite, got NaN or infinity")
    return scores.double().cpu().numpy()
