"""All pictures of how well a model predicts, by task: for reports, cards and TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from hybridlit.analysis.chip_study import chip_study, chip_twin_of
from hybridlit.analysis.evaluation import collect
from hybridlit.analysis.pictures.classification import (
    confusion_figure,
    label_figure,
    reliability_figure,
    roc_figure,
)
from hybridlit.analysis.pictures.regression import predicted_figure
from hybridlit.analysis.report import Report
from hybridlit.templates import HybridModule
from hybridlit.templates.predictions.predicting import class_labels, output_names
from hybridlit.undisturbed import undisturbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "EVALUATION_PICTURES",
    "EvaluationPicture",
    "add_evaluation",
    "evaluation_pictures",
    "pictures_of_chip",
]


class EvaluationPicture(NamedTuple):
    """A picture that is not drawn yet.

    Attributes:
        name: A key of `EVALUATION_PICTURES`.
        draw: Draws it.
    """

    name: str
    draw: Callable[[], Figure]


EVALUATION_PICTURES = {
    "confusion": "Rows of each class, or with each label, and what was predicted for them.",
    "roc": "Rows of each class found, against false alarms, at every threshold.",
    "reliability": "Predicted probabilities against how often they came true.",
    "predicted": "Predicted values against true ones.",
}
"""What each picture shows, by name."""


def evaluation_pictures(
    model: HybridModule,
    predictions: Tensor,
    targets: Tensor,
    rows: str,
    before: Tensor | None = None,
) -> list[EvaluationPicture]:
    """Return the pictures that suit the model's task.

    Args:
        model: The model, for its task and the names of classes and targets.
        predictions: What its metrics take, shape (rows, output_dim), in units, on the CPU. Rows
            that are not finite are left out, and the pictures say how many.
        targets: Prepared targets, likewise.
        rows: What the rows are, for titles, such as `"test rows"`.
        before: Predictions as they were before a calibration, if there was one.

    Raises:
        ValueError: If no row is left.
    """
    there = torch.isfinite(predictions).all(1)
    predictions, targets = predictions[there].float(), targets[there]
    before = None if before is None else before[there].float()
    if not len(targets):
        raise ValueError("pictures need at least one row with a prediction, got none")
    title = f"{len(targets):,} {rows}"
    if len(targets) < len(there):
        title += f", {int((~there).sum()):,} more without a prediction"
    if not model.task.classifies:
        names = output_names(model)
        return [_picture("predicted", predicted_figure, predictions, targets, names, title)]
    labels = class_labels(model)
    honest = _picture(
        "reliability", reliability_figure, predictions, targets, labels, title, before
    )
    confusion = confusion_figure if model.task.one_class else label_figure
    if model.task.one_class:
        targets = targets.flatten().long()
        if predictions.shape[1] == 1:
            predictions = torch.cat([1 - predictions, predictions], 1)
    given = predictions, targets, labels, title
    return [_picture("confusion", confusion, *given), _picture("roc", roc_figure, *given), honest]


def pictures_of_chip(model: HybridModule) -> list[EvaluationPicture]:
    """Return the pictures of what the twin of a chip has found, none of other models."""
    twin = chip_twin_of(model)
    if twin is None:
        return []
    study = chip_study(twin, unitaries=0)
    return [EvaluationPicture(name, draw) for name, draw in study.figures().items()]


def _picture(
    name: str, draw: Callable[..., Figure], predictions: Tensor, targets: Tensor, *given: object
) -> EvaluationPicture:
    return EvaluationPicture(name, partial(draw, predictions, targets, *given))


def add_evaluation(report: Report, model: HybridModule, batches: list[Any], rows: str) -> None:
    """Run a model, which is left as it was, on batches, and add the pictures to a report.

    Raises:
        ValueError: If there is no row with a prediction.
    """
    with undisturbed(model, evaluation=True, silent=True, whole=True):
        outputs, targets = collect(model, batches)
        predictions, before = model.calibrated(outputs), None
        if model.calibration is not None and model.calibration.temperature is not None:
            before = model.predictions(outputs)
    targets = model.in_units(targets)
    for picture in evaluation_pictures(model, predictions, targets, rows, before):
        report.figure(picture.draw, EVALUATION_PICTURES[picture.name])
