"""Probabilities that mean what they say, and rows that sets and intervals are drawn from."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit.analysis.evaluation import collect
from hybridlit.analysis.splits import loader_of, prepared
from hybridlit.argument_types import checked
from hybridlit.templates import HybridModule
from hybridlit.templates.predictions.calibration import (
    Calibration,
    conformal_scores,
    fitted_temperature,
)
from hybridlit.templates.predictions.predicting import predicted, read_labelled
from hybridlit.undisturbed import undisturbed
from hybridlit.words import plural

__all__ = ["calibrate", "require_same_data"]


@checked
def calibrate(
    model: HybridModule, datamodule: LightningDataModule | None = None, *, rows: Any = None
) -> Calibration:
    """Find the temperature of a model's probabilities, and how far off it is on held-out rows.

    The temperature is the one of the smallest mean negative log-likelihood on the validation rows
    (Guo et al., arXiv:1706.04599); of a regression there is none. How unlike the truth predictions
    are is measured on rows that neither training nor the choice of a checkpoint has seen: then
    `model.predict(rows, coverage=0.9)` gives sets of labels or intervals (split conformal
    prediction). Rows that lack one of several values do not count. No weight of the model changes.

    Args:
        model: A trained model. What is found becomes `model.calibration`, and is kept in
            checkpoints from then on; a further training forgets it.
        datamodule: The data that it was trained on: its validation rows, and those of its
            `calibration_fraction`. None: a temperature that was found before stays.
        rows: Held-out rows to take in the place of the latter, raw, with their targets: a pandas
            table, or the path of a table or of a folder of images.

    Returns:
        What was found.

    Raises:
        ValueError: If the data are not those of the training, no row has a target, or there is
            nothing to calibrate by.

    Example:
        >>> from hybridlit import SequentialHybrid, SklearnDataModule
        >>> model = SequentialHybrid(input_dim=4, quantum_dim=3, output_dim=3)
        >>> found = calibrate(model, SklearnDataModule("iris", calibration_fraction=0.2))
        >>> found.scores.shape
        torch.Size([30, 1])
    """
    facts: dict[str, Any] = {}
    temperature, scores = None, None
    if datamodule is None and model.calibration is not None:
        temperature = model.calibration.temperature
        facts = {n: v for n, v in model.calibration.facts.items() if n == "validation_rows"}
    with nullcontext() if datamodule is None else prepared(datamodule):
        if datamodule is not None:
            require_same_data(model, datamodule)
            found = _collected(model, loader_of(datamodule, "val"))
            if found is not None and model.task.classifies:
                if not bool(torch.isfinite(found[0]).all()):
                    raise ValueError(_NOT_FINITE.format("validation"))
                temperature = fitted_temperature(model, *found)
                facts["validation_rows"] = len(found[0])
                if temperature is None:
                    rank_zero_warn(_NO_TEMPERATURE.format(plural(len(found[0]), "validation row")))
        calibration = Calibration(temperature)
        if rows is not None:
            scores = _scores_of_rows(model, calibration, rows)
            facts["held_out"] = "labelled rows given to calibrate"
        elif datamodule is not None:
            found = _collected(model, loader_of(datamodule, "calibration"))
            if found is not None:
                scores = _scores(model, calibration, *found)
                facts["held_out"] = f"calibration rows of {type(datamodule).__name__}"
    if scores is None and (temperature is None or datamodule is None):
        raise ValueError(
            f"there is nothing to calibrate {type(model).__name__} by: train with rows held out "
            "(hybridlit fit --data.calibration_fraction 0.2), or give rows with their targets"
            + (" (a temperature needs validation rows)" if model.task.classifies else "")
        )
    model.calibration = Calibration(temperature, scores, facts)
    return model.calibration


_NO_TEMPERATURE = (
    "no temperature makes the {} most likely, since all are right, or they say nothing: "
    "probabilities stay as they are; give more validation rows"
)

_NOT_FINITE = "the model's outputs on the {} rows are not finite: it has diverged"


def require_same_data(model: HybridModule, datamodule: LightningDataModule) -> None:
    """Refuse data that were split or prepared otherwise than those of the training."""
    own, given = model.preprocessing, getattr(datamodule, "preprocessing", None)
    if own is not None and given is not None and not own.same_as(given):
        raise ValueError(
            "datamodule must be the one that the model was trained on: these data are split or "
            "prepared otherwise, so that rows held out may be rows that the model has learned "
            "from; give labelled rows alone, as rows (hybridlit calibrate --input)"
        )


def _collected(model: HybridModule, batches: Iterable[Any]) -> tuple[Tensor, Tensor] | None:
    """Outputs and prepared targets of all rows, None of none."""
    found = list(batches)
    if not found:
        return None
    with undisturbed(model, whole=True):
        return collect(model.eval(), found)


def _scores(
    model: HybridModule, calibration: Calibration, outputs: Tensor, targets: Tensor
) -> Tensor:
    predictions = model.in_units(model.predictions(calibration.tempered(outputs)))
    return _sorted(model, predictions, model.in_units(targets))


def _scores_of_rows(model: HybridModule, calibration: Calibration, rows: Any) -> Tensor:
    if model.preprocessing is None:
        raise ValueError(
            "rows need a model that knows how its rows were prepared: train it on a data module of "
            "hybridlit"
        )
    raw, targets = read_labelled(model, rows)
    if targets is None:
        raise ValueError(
            f"rows must hold the targets {model.preprocessing.targets.names}, or be a folder of "
            "images in folders of their classes: they are what predictions are compared with"
        )
    if not len(targets):
        raise ValueError("rows must hold at least one row with its targets, got none")
    before, model.calibration = model.calibration, calibration
    try:
        predictions = predicted(model, raw, 1024)
    finally:
        model.calibration = before
    known = (torch.isfinite(targets).reshape(len(targets), -1)).all(1)
    if model.task.classifies:
        known &= (targets >= 0).reshape(len(targets), -1).all(1)
    usable = known & torch.isfinite(predictions).all(1)
    if not bool(usable.all()):
        raise ValueError(
            f"rows must all have a target of the training's and no value missing, got "
            f"{plural(int((~known).sum()), 'row')} without such a target and "
            f"{plural(int((known & ~usable).sum()), 'row')} without a prediction, of {len(usable)}:"
            " leave these rows out"
        )
    if model.task.classifies:
        targets = targets.long()
    return _sorted(model, predictions, model.prepare_targets(predictions, targets))


def _sorted(model: HybridModule, predictions: Tensor, targets: Tensor) -> Tensor:
    if not model.task.classifies:  # detectors may be missing
        whole = ~targets.isnan().any(1)
        if not bool(whole.any()):
            raise ValueError(
                "held-out rows must have all of their targets, got none of which none is missing"
            )
        predictions, targets = predictions[whole], targets[whole]
    scores = conformal_scores(model, predictions, targets)
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(_NOT_FINITE.format("held-out"))
    return scores.sort(0).values
