"""`hybridlit predict --input`: predictions for rows of a file, as a table."""

from __future__ import annotations

import sys
import warnings
from math import nan
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor, tensor

from hybridlit.cli.checkpoints import checkpoint_path, folder_for
from hybridlit.cli.loading import load_model
from hybridlit.data.files import FORMATS, read_table
from hybridlit.data.inputs import RawRows
from hybridlit.data.table_targets import known_targets
from hybridlit.data.targets import Targets
from hybridlit.templates.prediction import labelled, predicted, read_rows, scores
from hybridlit.templates.prediction_table import WRITERS
from hybridlit.words import plural

__all__ = ["predict"]


def predict(
    ckpt: str,
    input: str,
    output: str | None = None,
    batch_size: int = 1024,
    template: str | None = None,
) -> None:
    """Predict rows of a file, and score the predictions where it holds what is predicted.

    Columns may be in any order; they are found by their names.

    Args:
        ckpt: Checkpoint: a file, last or best.
        input: Rows as the training had them: a table (.csv, .tsv, .parquet, .npz), a folder of
            images, an array (.npy). Without it, predictions are for the data of a recipe: see
            hybridlit predict --config recipe.yaml --help.
        output: Table to write, .csv, .tsv, .parquet or .npz. Without it, predictions.csv in the
            folder of the run.
        batch_size: Rows that are computed at once, at least 1.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.
    """
    checkpoint = checkpoint_path(ckpt)
    path = folder_for(checkpoint) / "predictions.csv" if output is None else Path(output)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"output must end in one of {', '.join(WRITERS)}, got {path.name!r}")
    if path.exists() and Path(input).exists() and path.samefile(input):
        raise ValueError(f"output must be another file than input, got {path} for both")
    model = load_model(checkpoint, template)
    if model.preprocessing is None:
        raise ValueError(
            f"{checkpoint} does not hold how its rows were prepared, since it was trained on other "
            "data than those of hybridlit: prepare rows as then, and call model.predict in Python"
        )
    rows: Any = input
    if Path(input).suffix.lower() in FORMATS:
        rows = read_table(input)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        raw = read_rows(model, rows)
    for each in told:
        _say(str(each.message))
    predictions = predicted(model, raw, batch_size)
    table = labelled(model, raw, predictions)
    flagged = sum(map(bool, table.columns.get("flags", [])))
    count = plural(len(table), "row")
    if flagged:
        _say(f"{flagged:,} of {count} are unlike the training rows: see column flags")
    print(f"Predictions for {count}: {table.write(path)}")
    targets = _targets_in(rows, raw, model.preprocessing.targets)
    if targets is None:
        return
    known = (targets.isfinite().reshape(len(targets), -1) & predictions.isfinite()).all(1)
    others = 0
    if model.task.classifies:
        others = int((targets < 0).sum())
        known, targets = known & (targets >= 0), targets.nan_to_num().long()
    if bool(known.any()):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="r2 is NaN")  # which is said by nan
            found = scores(model, predictions[known], targets[known])
        words = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        print(f"Scores of {plural(int(known.sum()), 'row')} whose target is given: {words}")
        if others:
            _say(f"{plural(others, 'row')} of no class of the training, which no score counts")


def _targets_in(rows: Any, raw: RawRows, targets: Targets) -> Tensor | None:
    """Return the targets that are there, NaN where they are not, -1 for a class unknown."""
    columns = getattr(rows, "columns", ())
    if set(targets.names) <= set(columns):
        return known_targets(rows, targets.names, targets.classes)
    files = raw.ids.get("file")
    if targets.classes is None or not files or not (isinstance(rows, str) and Path(rows).is_dir()):
        return None
    index = {label: float(i) for i, label in enumerate(targets.classes)}
    folders = [PurePosixPath(file).parts[:-1] for file in files]
    # a file in no folder is of a class that is not told
    others = [-1.0 if parts else nan for parts in folders]
    found = [
        next((index[part] for part in parts if part in index), other)
        for parts, other in zip(folders, others, strict=True)
    ]
    return tensor(found).double()


def _say(message: str) -> None:
    print(f"hybridlit predict: {message}", file=sys.stderr)
