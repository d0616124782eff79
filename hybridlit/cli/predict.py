"""`hybridlit predict --input`: predictions for rows of a file, as a table."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from hybridlit.cli.checkpoints import checkpoint_path, folder_for
from hybridlit.cli.loading import load_model
from hybridlit.templates.predictions.ensemble import Ensemble
from hybridlit.templates.predictions.predicting import (
    bounds_of,
    doubted,
    labelled,
    predicted,
    read_labelled,
    scores,
)
from hybridlit.templates.predictions.table import WRITERS
from hybridlit.templates.predictions.uncertainty import UncertaintyName, variants
from hybridlit.words import plural

__all__ = ["predict", "scores_in_words"]


def predict(
    ckpt: list[str] | str,
    input: str,
    output: str | None = None,
    batch_size: int = 1024,
    template: str | None = None,
    coverage: float | None = None,
    uncertainty: UncertaintyName | None = None,
    passes: int = 20,
) -> None:
    """Predict rows of a file, and score the predictions where it holds what is predicted.

    Columns may be in any order; they are found by their names.

    Args:
        ckpt: Checkpoint: a file, last or best. Several, as '[one.ckpt, two.ckpt]', of runs with
            other seeds for instance, give their mean, and a column of how far they disagree.
        input: Rows as the training had them: a table (.csv, .tsv, .parquet, .npz), a folder of
            images, an array (.npy), sequences (.npz). Without it, predictions are for the data of
            a recipe: see hybridlit predict --config recipe.yaml --help.
        output: Table to write, .csv, .tsv, .parquet or .npz. Without it, predictions.csv in the
            folder of the run.
        batch_size: Rows that are computed at once, at least 1.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.
        coverage: Columns as well of sets of labels, or of lower and upper ends, that hold the truth
            with this probability, above 0 and below 1; after hybridlit calibrate.
        uncertainty: A column as well of how far predictions disagree, with each path lost in turn
            (paths) or with dropout as in training (passes).
        passes: Number of passes, at least 2.
    """
    given = [ckpt] if isinstance(ckpt, str) else ckpt
    if not given:
        raise ValueError("ckpt must name a checkpoint, got none")
    checkpoints = [checkpoint_path(each) for each in given]
    checkpoint = checkpoints[0]
    path = folder_for(checkpoint) / "predictions.csv" if output is None else Path(output)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"output must end in one of {', '.join(WRITERS)}, got {path.name!r}")
    if path.exists() and Path(input).exists() and path.samefile(input):
        raise ValueError(f"output must be another file than input, got {path} for both")
    doubts: Tensor | None
    models = [load_model(each, template) for each in checkpoints]
    model = models[0]
    if any(each.preprocessing is None for each in models):
        raise ValueError(
            f"{ckpt} does not hold how its rows were prepared, since it was trained on other "
            "data than those of hybridlit: prepare rows as then, and call model.predict in Python"
        )
    together = Ensemble(models) if len(models) > 1 else None
    if together and (coverage is not None or uncertainty is not None):
        raise ValueError(
            "coverage and uncertainty are of one checkpoint, got several, whose disagreement is "
            "there anyway: leave them out, or give one"
        )
    bounds, ways = bounds_of(model, coverage), variants(model, uncertainty, passes)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        raw, targets = read_labelled(model, input)
        if together:
            raw, predictions, doubts = together.predicted(input, batch_size)
        else:
            predictions = predicted(model, raw, batch_size)
            doubts = doubted(model, raw, predictions, batch_size, ways)
    for message in dict.fromkeys(str(each.message) for each in told):
        _say(message)
    table = labelled(model, raw, predictions, bounds, doubts)
    flagged = sum(map(bool, table.columns.get("flags", [])))
    count = plural(len(table), "row")
    if flagged:
        _say(f"{flagged:,} of {count} are unlike the training rows: see column flags")
    told_scores = scores_in_words(model, predictions, targets)
    print(f"Predictions for {count}: {table.write(path)}")
    if told_scores:
        print(told_scores)


def scores_in_words(
    model: Any, predictions: Tensor, targets: Tensor | None, verb: str = "predict"
) -> str:
    """Return a line with the scores of the rows whose targets are there; empty without any.

    Args:
        model: The model.
        predictions: As its metrics take them, a row each.
        targets: NaN where there are none, -1 for a class unknown; None: there are none at all.
        verb: Which says what no score counts.
    """
    if targets is None:
        return ""
    known = (targets.isfinite().reshape(len(targets), -1) & predictions.isfinite()).all(1)
    others = 0
    if model.task.classifies:
        unknown = (targets < 0).reshape(len(targets), -1).any(1)
        others = int(unknown.sum())
        known, targets = known & ~unknown, targets.nan_to_num().long()
    if not bool(known.any()):
        return ""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="r2 is NaN")  # which is said by nan
        found = scores(model, predictions[known], targets[known])
    if others:
        _say(f"{plural(others, 'row')} of no class of the training, which no score counts", verb)
    words = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    return f"Scores of {plural(int(known.sum()), 'row')} whose target is given: {words}"


def _say(message: str, verb: str = "predict") -> None:
    print(f"hybridlit {verb}: {message}", file=sys.stderr)
