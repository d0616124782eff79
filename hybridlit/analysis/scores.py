"""What a trained model scores on its test rows, with intervals: what these rows can tell."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from hybridlit.analysis.ablation.measure import Bench, Measure, prepared_targets
from hybridlit.analysis.splits import batches_of
from hybridlit.analysis.statistics import Interval, row_interval, share_interval
from hybridlit.templates import HybridModule
from hybridlit.templates.predictions.predicting import class_labels
from hybridlit.undisturbed import undisturbed

__all__ = ["COVERAGE", "Score", "class_shares", "score_in_words", "scores"]

COVERAGE = (
    "The 95 % intervals are of the test rows: in 95 of 100 draws of as many rows from the same "
    "source they hold what this model scores on all rows of that source. They do not cover another "
    "training (other seeds, other training rows), and no rows of another source."
)


class Score(NamedTuple):
    """A score of some rows, what a constant answer scores on them, None if that says nothing."""

    name: str
    found: Interval
    rows: int
    constant: float | None = None

    @property
    def beats_constant(self) -> bool | None:
        """Whether it is surely better than a constant answer; None where that is not known."""
        return None if self.constant is None else self.found.low > self.constant


def scores(model: HybridModule, datamodule: LightningDataModule) -> list[Score]:
    """Score a model on the test rows of a data module that is set up.

    Behind those of its task come its `metrics`, if it was given some, without an interval.

    Classes: the accuracy, and the share of right answers among the rows of each class, or for
    several labels a row the share of rows in which each is right. Values: the score of the task,
    R2 over all targets as a rule, and the root mean squared error of each target, in its own units
    where the model knows them. The main score comes first.
    """
    measure, test = Measure(model), batches_of(datamodule, "test")
    with undisturbed(model, whole=True):
        outputs, targets = measure.outputs(model, test)
        rows = measure.rows(model, outputs, targets)
        answer = Bench(measure, datamodule, test, 0).constant(model)
    constant = None if answer is None else answer.mean
    return _of_task(model, outputs, targets, rows, constant) + _metrics(model, outputs, targets)


def score_in_words(model: HybridModule) -> str:
    """Return what the score of a model's task is called."""
    return "R2" if model.task.score == "r2" else model.task.score.replace("_", " ")


def _metrics(model: HybridModule, outputs: Tensor, targets: Tensor) -> list[Score]:
    if model.hparams["metrics"] is None:
        return []
    metrics = model.build_metrics()
    metrics.update(model.calibrated(outputs), model.in_units(targets))
    return [
        Score(name, Interval(float(value), math.nan, math.nan), len(outputs))
        for name, value in metrics.compute().items()
        if name not in model.task.default_metrics  # which the other scores are
    ]


def _of_task(
    model: HybridModule,
    outputs: Tensor,
    targets: Tensor,
    rows: npt.NDArray[np.float64],
    constant: float | None,
) -> list[Score]:
    names = class_labels(model)
    if not model.task.classifies:
        interval = row_interval(rows, shares=False)[0]
        found = [Score(score_in_words(model), interval, len(rows), constant)]
        return found + _errors(model, model.predictions(outputs), targets)
    if not model.task.one_class:
        found = [Score("accuracy", row_interval(rows, shares=True)[0], len(rows), constant)]
        labels = ((model.predictions(outputs) > 0.5) == (targets > 0.5)).numpy()
        pairs = zip(names, labels.T, strict=True)
        return found + [_share(f"right answers on {name}", own) for name, own in pairs]
    right, classes = rows > 0.5, targets.flatten().long().numpy()
    found = [_share("accuracy", right, constant)]
    for index in np.unique(classes):
        found.append(_share(f"right answers among {names[index]}", right[classes == index]))
    return found


def class_shares(model: HybridModule, datamodule: LightningDataModule) -> list[float]:
    """Return the share of training rows of each class, or with each label, of a data module."""
    targets = prepared_targets(model, batches_of(datamodule, "train"))
    if not model.task.one_class:
        return [float(share) for share in targets.double().mean(0)]
    counts = torch.bincount(targets.flatten().long(), minlength=len(class_labels(model)))
    return [float(share) for share in counts / len(targets)]


def _errors(model: HybridModule, predictions: Tensor, targets: Tensor) -> list[Score]:
    """The root mean squared error of each target: roots of the ends of the mean's interval."""
    names = [""] * targets.shape[1]
    if model.preprocessing is not None:
        names = [f" of {name}" for name in model.preprocessing.targets.names]
    errors_of = (model.in_units(predictions) - model.in_units(targets)).double().square()
    found = []
    for name, column in zip(names, errors_of.T, strict=True):
        errors = column[~column.isnan()]  # of targets that may be missing
        if len(errors) < 2:  # which have no spread
            continue
        mean = row_interval(errors.numpy(), shares=False)[0]
        ends = (math.sqrt(max(0.0, end)) for end in (mean.mean, mean.low, mean.high))
        found.append(Score(f"root mean squared error{name}", Interval(*ends), len(errors)))
    return found


def _share(name: str, right: npt.NDArray[np.bool_], constant: float | None = None) -> Score:
    return Score(name, share_interval(int(right.sum()), len(right)), len(right), constant)
