"""From raw rows to predictions with names: what a trained model is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from hybridlit.checks import integer
from hybridlit.data.inputs import RawRows
from hybridlit.data.tensors import as_tensor
from hybridlit.templates.prediction_table import Predictions
from hybridlit.undisturbed import undisturbed

__all__ = ["Predicting", "class_labels", "labelled", "predicted", "read_rows", "scores"]


class Predicting(LightningModule):
    """A template that predicts on raw rows."""

    def predict(self, rows: Any, batch_size: int = 1024) -> Predictions:
        """Predict labels or values for raw rows.

        Args:
            rows: Rows as the data module was given them, before any scaling: a table (pandas, a
                dictionary of columns), an array, or a path; columns with names in any order. A
                model that was not trained on a data module of hybridlit knows of no preparation: it
                takes real numbers as its `forward` does.
            batch_size: Rows that are computed at once, at least 1.

        Returns:
            A table, a row for each row. A row whose values are missing, and were not filled in
            training, has no prediction.

        Raises:
            TypeError: If the rows are nothing of this kind.
            ValueError: If columns are missing or hold something else than in training.

        Example:
            >>> import torch
            >>> from hybridlit import SequentialHybrid
            >>> model = SequentialHybrid(input_dim=3, quantum_dim=2, output_dim=2, n_modes=4)
            >>> list(model.predict(torch.randn(5, 3)).columns)
            ['target', 'probability_0', 'probability_1']
        """
        raw = read_rows(self, rows)
        return labelled(self, raw, predicted(self, raw, batch_size))


def read_rows(model: Any, rows: Any) -> RawRows:
    """Read raw rows as numbers, or prepared ones for a model that knows of no preparation."""
    if not isinstance(rows, (str, Mapping)) and hasattr(rows, "__len__") and not len(rows):
        ids = getattr(model.preprocessing and model.preprocessing.inputs, "ids", ())
        return RawRows(torch.empty(0), {name: [] for name in ids}, [])
    if model.preprocessing is not None:
        found: RawRows = model.preprocessing.inputs.read(rows)
        return found
    values = as_tensor(rows, "rows").double()
    if values.dim() < 2:
        raise ValueError(f"rows must have shape (rows, features), got {tuple(values.shape)}")
    return RawRows(values, {}, [""] * len(values))


def predicted(model: Any, raw: RawRows, batch_size: int) -> Tensor:
    """Return the predictions for rows, as its metrics take them, NaN where there is none.

    Of shape (rows, output_dim) on the CPU; values of a regression are in their own units.
    """
    integer(batch_size, "batch_size", 1)
    found = []
    prepare = model.preprocessing
    with undisturbed(model, evaluation=True, silent=True), torch.no_grad():
        for values in raw.values.split(batch_size) if len(raw.values) else ():
            single = model.device.type == "mps" and values.is_floating_point()  # it has no float64
            values = values.to(model.device, torch.float32 if single else values.dtype)
            inputs = (values if prepare is None else prepare(values)).to(model.dtype)
            there = torch.isfinite(inputs.flatten(1)).all(1)
            outputs = torch.full((len(inputs), model.task.output_dim), torch.nan).double()
            if bool(there.any()):
                predictions = model.in_units(model.predictions(model(inputs[there])))
                outputs[there.cpu()] = predictions.double().cpu()
            found.append(outputs)
    return torch.cat(found) if found else torch.empty(0, model.task.output_dim).double()


def labelled(model: Any, raw: RawRows, predictions: Tensor) -> Predictions:
    """Give the predictions for rows their names."""
    columns: dict[str, list[Any]] = dict(raw.ids)
    targets = None if model.preprocessing is None else model.preprocessing.targets
    names = ["target"] if targets is None else targets.names
    there = torch.isfinite(predictions).all(1).tolist()

    def add(name: str, values: Sequence[Any]) -> None:
        while name in columns:  # an id of the same name
            name = f"predicted_{name}"
        pairs = zip(values, there, strict=True)
        columns[name] = [value if is_there else None for value, is_there in pairs]

    if model.task.classifies:
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
    else:
        if len(names) != predictions.shape[1]:
            names = [f"target_{index}" for index in range(predictions.shape[1])]
        for name, column in zip(names, predictions.T.tolist(), strict=True):
            add(name, column)
    flags = list(raw.flags)
    for row, is_there in enumerate(there):
        if not is_there and not flags[row]:
            flags[row] = "no prediction: values are missing, or no numbers come out"
    if any(flags):
        there = [True] * len(there)  # that a row has no prediction is a flag
        add("flags", flags)
    return Predictions(columns)


def class_labels(model: Any) -> list[Any]:
    """Return the labels of the classes; outputs that no class has are called by their index."""
    count = max(2, model.task.output_dim)  # a binary task has one output
    known = None if model.preprocessing is None else model.preprocessing.targets.classes
    known = list(range(count)) if known is None else known
    return [*known, *(f"index {index}" for index in range(len(known), count))]


def scores(model: Any, predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the metrics, by name, of what `predicted` has returned.

    Targets are class indices (rows,), or values in their own units (rows,) or (rows, targets). Rows
    without a prediction do not count.
    """
    there = torch.isfinite(predictions).all(1)
    metrics = model.build_metrics()
    given = predictions[there]
    metrics.update(given, model.prepare_targets(given, targets[there]))
    return {name: float(value) for name, value in metrics.compute().items()}
