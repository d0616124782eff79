"""From raw rows to predictions with names: what a trained model is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from math import nan
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from hybridlit.blocks.named_inputs import NamedInputs
from hybridlit.checks import integer
from hybridlit.data.files import as_frame
from hybridlit.data.inputs import RawRows
from hybridlit.data.multimodal_inputs import missing_in_words, side_by_side
from hybridlit.data.table_targets import known_targets
from hybridlit.data.targets import Targets
from hybridlit.data.tensors import as_tensor
from hybridlit.templates.predictions.calibration import Calibration, label_sets
from hybridlit.templates.predictions.table import Predictions
from hybridlit.templates.predictions.uncertainty import (
    UncertaintyName,
    Variants,
    disagreement,
    variants,
)
from hybridlit.undisturbed import undisturbed

__all__ = [
    "Predicting",
    "bounds_of",
    "class_labels",
    "doubted",
    "labelled",
    "output_names",
    "predicted",
    "read_labelled",
    "read_rows",
    "scores",
]


class Predicting(LightningModule):
    """A template that predicts on raw rows."""

    def predict(
        self,
        rows: Any,
        batch_size: int = 1024,
        coverage: float | None = None,
        uncertainty: UncertaintyName | None = None,
        passes: int = 20,
    ) -> Predictions:
        """Predict labels or values for raw rows.

        Probabilities are at the temperature that `calibrate` has found, if it was called.

        Args:
            rows: Rows as the data module was given them, before any scaling: a table (pandas, a
                dictionary of columns), an array, or a path; columns with names in any order. A
                model that was not trained on a data module of hybridlit knows of no preparation: it
                takes real numbers as its `forward` does.
            batch_size: Rows that are computed at once, at least 1.
            coverage: Of classes a column `set_<target>` as well, a list of labels, of values
                `low_<target>` and `high_<target>`: they hold the truth with this probability, above
                0 and below 1, on average over rows that are drawn like those that `calibrate` was
                given; see `Calibration.quantiles`. A set may be empty: ask for more coverage than
                the share of rows in which the model is right.
            uncertainty: A column `uncertainty` as well: how far predictions are off in which each
                path is lost in turn (`"paths"`), or in which dropout and path dropout draw as in
                training (`"passes"`). For classes the probability, from 0 to 1, that they give on
                average to other labels than the predicted one; for values a distance in units of
                the target, `uncertainty_<target>` of several.
            passes: Number of passes of `"passes"`, at least 2.

        Returns:
            A table, a row for each row. A row whose values are missing, and were not filled in
            training, has no prediction.

        Raises:
            TypeError: If the rows are nothing of this kind.
            ValueError: If columns are missing or hold something else than in training, too few rows
                were held out for this coverage, or there is nothing that could disagree.

        Example:
            >>> import torch
            >>> from hybridlit import SequentialHybrid
            >>> model = SequentialHybrid(input_dim=3, quantum_dim=2, output_dim=2, n_modes=4)
            >>> list(model.predict(torch.randn(5, 3)).columns)
            ['target', 'probability_0', 'probability_1']
        """
        bounds, ways = bounds_of(self, coverage), variants(self, uncertainty, passes)
        raw = read_rows(self, rows)
        predictions = predicted(self, raw, batch_size)
        doubts = doubted(self, raw, predictions, batch_size, ways)
        return labelled(self, raw, predictions, bounds, doubts)

    def usable_rows(self, x: Tensor) -> Tensor:
        """Say which rows of prepared inputs, (batch,), there can be predictions for."""
        return torch.isfinite(x.flatten(1)).all(1)


def read_rows(model: Any, rows: Any) -> RawRows:
    """Read raw rows as numbers, or prepared ones for a model that knows of no preparation."""
    if not isinstance(rows, (str, Mapping)) and hasattr(rows, "__len__") and not len(rows):
        inputs = model.preprocessing and model.preprocessing.inputs
        if inputs is not None and np.ndim(rows) > 1:  # a table, which has columns
            inputs.check_columns(rows)
        ids = getattr(inputs, "ids", ())
        return RawRows(torch.empty(0), {name: [] for name in ids}, [])
    if model.preprocessing is not None:
        found: RawRows = model.preprocessing.inputs.read(rows)
        return found
    front = getattr(model, "front", None)
    if isinstance(rows, Mapping) and isinstance(front, NamedInputs):
        shapes = front.shapes
        values, _ = side_by_side(rows, list(shapes), "rows", shapes)
        return RawRows(values, {}, missing_in_words(values, shapes))
    values = as_tensor(rows, "rows").double()
    if values.dim() < 2:
        raise ValueError(f"rows must have shape (rows, features), got {tuple(values.shape)}")
    return RawRows(values, {}, [""] * len(values))


def read_labelled(model: Any, rows: Any) -> tuple[RawRows, Tensor | None]:
    """Read raw rows, and their targets in float64, if there are any: see `known_targets`.

    Rows may be the path of a table, or of a folder of images in folders of their classes.
    """
    rows = model.preprocessing.inputs.opened(rows)
    raw = read_rows(model, rows)
    return raw, _targets_in(rows, raw, model.preprocessing.targets)


def _targets_in(rows: Any, raw: RawRows, targets: Targets) -> Tensor | None:
    """Return the targets that are there, NaN where they are not, -1 for a class unknown."""
    if isinstance(rows, Mapping) and all(np.ndim(rows.get(n, 0)) == 1 for n in targets.names):
        rows = as_frame({name: rows[name] for name in targets.names})  # of arrays by name
    columns = getattr(rows, "columns", ())
    if set(targets.names) <= set(columns):
        return known_targets(rows, targets)
    files = raw.ids.get("file")
    if (
        targets.classes is None
        or not files
        or not (isinstance(rows, (str, Path)) and Path(rows).is_dir())
    ):
        return None
    index = {label: float(i) for i, label in enumerate(targets.classes)}
    folders = [PurePosixPath(file).parts[:-1] for file in files]
    # a file in no folder is of a class that is not told
    others = [-1.0 if parts else nan for parts in folders]
    found = [
        next((index[part] for part in parts if part in index), other)
        for parts, other in zip(folders, others, strict=True)
    ]
    return torch.tensor(found).double()


def bounds_of(model: Any, coverage: float | None) -> Tensor | None:
    """Return what the conformal scores of targets stay within, (targets,); None for None."""
    return None if coverage is None else (model.calibration or Calibration()).quantiles(coverage)


def doubted(
    model: Any, raw: RawRows, predictions: Tensor, batch_size: int, ways: Variants
) -> Tensor | None:
    """Return how far predictions in other ways are off, (rows, 1 or targets), if there are any."""
    found = [predicted(model, raw, batch_size, way) for way in ways]
    return disagreement(model, torch.stack(found), predictions) if found else None


def predicted(
    model: Any,
    raw: RawRows,
    batch_size: int,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:
    """Return the predictions for rows, as its metrics take them, NaN where there is none.

    Of shape (rows, output_dim) on the CPU; values of a regression are in their own units. `within`
    changes the model in evaluation mode for the time.
    """
    integer(batch_size, "batch_size", 1)
    found = []
    prepare = model.preprocessing
    with undisturbed(model, evaluation=True, silent=True), torch.no_grad(), within():
        for values in raw.values.split(batch_size) if len(raw.values) else ():
            single = model.device.type == "mps" and values.is_floating_point()  # it has no float64
            values = values.to(model.device, torch.float32 if single else values.dtype)
            inputs = (values if prepare is None else prepare(values)).to(model.dtype)
            there = model.usable_rows(inputs)
            outputs = torch.full((len(inputs), model.task.output_dim), torch.nan).double()
            if bool(there.any()):
                outputs[there.cpu()] = model.calibrated(model(inputs[there])).double().cpu()
            found.append(outputs)
    return torch.cat(found) if found else torch.empty(0, model.task.output_dim).double()


def labelled(
    model: Any,
    raw: RawRows,
    predictions: Tensor,
    bounds: Tensor | None = None,
    doubts: Tensor | None = None,
) -> Predictions:
    """Give the predictions for rows their names, with sets or intervals, and uncertainties."""
    columns: dict[str, list[Any]] = dict(raw.ids)
    targets = None if model.preprocessing is None else model.preprocessing.targets
    names = ["target"] if targets is None else targets.names
    there = torch.isfinite(predictions).all(1).tolist()

    def add(name: str, values: Sequence[Any]) -> None:
        while name in columns:  # an id of the same name
            name = f"predicted_{name}"
        pairs = zip(values, there, strict=True)
        columns[name] = [value if is_there else None for value, is_there in pairs]

    if model.task.one_class:
        shares = predictions
        if predictions.shape[1] == 1:
            shares = torch.cat([1 - predictions, predictions], 1)
            indices = (predictions[:, 0] > 0.5).long()
        else:
            indices = predictions.argmax(1)
        labels = class_labels(model)
        add(names[0], [labels[index] for index in indices.tolist()])
        for label, column in zip(labels, shares.T.tolist(), strict=True):
            add(f"probability_{label}", column)
        pairs = [labels]
    elif model.task.classifies:
        names = output_names(model)
        pairs = (targets and targets.pairs) or [[0, 1]] * len(names)
        for name, pair, column in zip(names, pairs, predictions.T.tolist(), strict=True):
            add(name, [pair[value > 0.5] for value in column])
        for name, column in zip(names, predictions.T.tolist(), strict=True):
            add(f"probability_{name}", column)
    else:
        names = output_names(model)
        for name, column in zip(names, predictions.T.tolist(), strict=True):
            add(name, column)
        if bounds is not None:
            for name, column, bound in zip(names, predictions.T, bounds, strict=True):
                add(f"low_{name}", (column - bound).tolist())
                add(f"high_{name}", (column + bound).tolist())
    if bounds is not None and model.task.classifies:
        sets = label_sets(model, predictions, bounds).unbind(1)
        for name, own, inside in zip(names, pairs, sets, strict=True):
            add(f"set_{name}", [list(compress(own, row)) for row in inside.tolist()])
    if doubts is not None:
        several = doubts.shape[1] > 1
        for name, column in zip(names, doubts.T.tolist(), strict=several):
            add(f"uncertainty_{name}" if several else "uncertainty", column)
    flags = list(raw.flags)
    for row, is_there in enumerate(there):
        if not is_there and not flags[row]:
            flags[row] = "no prediction: values are missing, or no numbers come out"
    if any(flags):
        there = [True] * len(there)  # that a row has no prediction is a flag
        add("flags", flags)
    return Predictions(columns)


def output_names(model: Any) -> list[str]:
    """Return the names of the targets of a task with one for each output."""
    names = [] if model.preprocessing is None else model.preprocessing.targets.names
    count = model.task.output_dim
    if len(names) == count:
        return list(names)
    return ["target"] if count == 1 else [f"target_{index}" for index in range(count)]


def class_labels(model: Any) -> list[Any]:
    """Return the labels of the classes; outputs that no class has are called by their index.

    Several labels a row are called by the names of their targets.
    """
    if not model.task.one_class:
        return list(output_names(model))
    count = max(2, model.task.output_dim)  # a binary task has one output
    known = None if model.preprocessing is None else model.preprocessing.targets.classes
    known = list(range(count)) if known is None else known
    return [*known, *(f"index {index}" for index in range(len(known), count))]


def scores(model: Any, predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the metrics, by name, of what `predicted` has returned.

    Targets are class indices (rows,), labels (rows, targets), or values in their own units (rows,)
    or (rows, targets). Rows without a prediction do not count.
    """
    there = torch.isfinite(predictions).all(1)
    metrics = model.build_metrics()
    given = predictions[there]
    metrics.update(given, model.prepare_targets(given, targets[there]))
    return {name: float(value) for name, value in metrics.compute().items()}
