"""A LightningDataModule over a table, from a file or in memory, with columns of every kind."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hybridlit.data.columns import missing_in
from hybridlit.data.files import as_frame
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.rows import Part, RowsDataModule
from hybridlit.data.scaling import AUTO, AutoName, Scaler, ScalingName, target_scaling_of
from hybridlit.data.splits import check_fractions
from hybridlit.data.table_inputs import TableInputs, names_of_rows
from hybridlit.data.table_rows import (
    MissingName,
    Rows,
    kinds_of_features,
    read_weights,
    roles_of_columns,
    split_table,
    without_gaps,
)
from hybridlit.data.table_targets import TargetKindName, read_targets
from hybridlit.data.targets import Targets
from hybridlit.data.tensors import in_default_dtype
from hybridlit.words import quoted

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TableDataModule"]

_CHUNK = 1 << 12
"""Rows that are prepared at once: all at once, in float64, would be several times the table."""


class TableDataModule(RowsDataModule):
    """Training, validation and test data from a table.

    Every column that has no other part to play is a feature. What it holds is found by itself:
    numbers are scaled; `True` and `False`, `true` and `false`, `yes` and `no` become 1 and 0; other
    text, and what pandas calls categories, becomes one feature for each category of the training
    rows, 1 or 0. Integers stay numbers, however few there are, unless `categorical` names them.
    Dates and names of rows are refused. All is fitted on the training rows only, goes into the
    model and into its checkpoints, and is said of columns by name: no message shows a cell.

    Args:
        path: File that `read_table` can read (CSV, TSV, Parquet, NPZ), a pandas table, or a
            dictionary of columns.
        target: Name of the column to predict; a list of names for several columns of numbers, or
            several that each hold two labels, such as yes and no.
        id: Names of columns that name rows: they are kept for predictions, and are no features.
        drop: Names of columns that are no features.
        categorical: Names of columns that are categories whatever they hold; `"auto"`: none besides
            those that are found.
        missing: What missing values of features do: `"error"`, `"drop"` (their rows are left out,
            with a warning) or `"impute"` (numbers become the median of the training rows, others
            the most frequent value). A row without a target is refused by `"error"`, and else left
            out, with a warning.
        group: Name of a column: rows with the same value are all in the same split.
        split: Name of a column that says `train`, `val` (`valid`, `validation`, `dev`), `test` or
            `calibration` of each row; what it does not name is split off the training rows.
        weight: Name of a column of weights of rows in the loss, at least 0.
        target_kind: `"class"`, `"value"`, or `"auto"`: text, categories, booleans and integers of
            at most 20 distinct values, and half as many as rows, are classes, other numbers values.
        val_fraction: Share of the rows to split off for validation, in [0, 1); 0: none. By class if
            there are classes and no groups.
        test_fraction: The same for the test data.
        calibration_fraction: The same for rows that neither training nor the choice of a checkpoint
            sees: see `calibrate`.
        scaling: Scaling of numbers: `"standard"` (mean 0, standard deviation 1), `"minmax"` (0 to
            1) or None. A number that is constant in the training rows becomes 0, with a warning.
        target_scaling: The same for values; `"auto"` is `"standard"`, unless all are 0 or 1.
        batch_size: As for `ArrayDataModule`, and so are all others.

    Attributes:
        train: Training inputs and targets as prepared tensors, and weights if there are any.
        val: Validation inputs and targets, or None.
        test: Test inputs and targets, or None.
        calibration: Those for `calibrate`, or None.
        ids: Columns that name rows, for each split: `ids["test"]["name"]`.
        task_of_target: Task that suits the target: `"binary"` for two classes, `"multiclass"` for
            more, `"multilabel"` for several columns of two, `"regression"` for values.

    Raises:
        ImportError: If pandas, or for Parquet pyarrow, is not installed.
        OSError: If the file cannot be read.
        TypeError: If an argument has the wrong type.
        ValueError: If the table, a column or a name does not fit.

    Example:
        >>> table = {"size": [1.5, 2.5, 3.5, 4.5] * 5, "kind": ["old", "new"] * 10}
        >>> data = TableDataModule({**table, "sold": ["yes", "no", "no", "yes"] * 5}, "sold")
        >>> data.num_features, data.task_of_target, data.preprocessing.targets.classes
        (3, 'binary', ['no', 'yes'])
    """

    ids: dict[str, dict[str, list[Any]]]
    task_of_target: str

    def __init__(
        self,
        path: str | os.PathLike[str] | Any,
        target: str | Sequence[str],
        *,
        id: str | Sequence[str] | None = None,
        drop: str | Sequence[str] = (),
        categorical: AutoName | Sequence[str] = AUTO,
        missing: MissingName = "error",
        group: str | None = None,
        split: str | None = None,
        weight: str | None = None,
        target_kind: TargetKindName = "auto",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        calibration_fraction: float = 0.0,
        scaling: ScalingName | None = "standard",
        target_scaling: ScalingName | AutoName | None = AUTO,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        test_seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            test_seed=test_seed,
            num_workers=num_workers,
        )
        fractions = {
            "val": val_fraction,
            "test": test_fraction,
            "calibration": calibration_fraction,
        }
        check_fractions(fractions)
        is_file = isinstance(path, (str, os.PathLike))
        frame = as_frame(path)
        given = len(frame)
        roles = roles_of_columns(
            frame, target=target, id=id, drop=drop, group=group, split=split, weight=weight
        )
        kinds = kinds_of_features(frame, roles, [] if categorical == AUTO else list(categorical))
        gaps = any(missing_in(frame[name]).any() for name in roles["target"])
        frame = without_gaps(frame, roles, kinds, missing)
        classes, targets = read_targets(frame, roles["target"], target_kind, gaps)
        by_class = classes is not None and targets.dim() == 1
        rows = split_table(frame, roles, targets, by_class, fractions, self.seeds)
        self.check_drop_last(len(rows["train"]))
        inputs = TableInputs.fit(
            frame,
            rows["train"],
            kinds,
            scaling,
            missing=missing,
            ids=roles["id"],
            known=[name for names in roles.values() for name in names],
        )
        _tell_constants(inputs)
        training = targets[rows["train"]]
        fitted = _fitted_targets(roles["target"], classes, training, targets, target_scaling)
        facts = {
            "source": Path(path).name if is_file else type(path).__name__,
            "data_module": type(self).__name__,
            "rows": {n: len(r) for n, r in rows.items() if len(r) or n != "calibration"},
            "rows_left_out": given - len(frame),
            "columns": kinds,
            "roles": {role: names for role, names in roles.items() if names},
        }
        self.preprocessing = Preprocessing(inputs, fitted, facts)
        weights = read_weights(frame, roles["weight"], rows)
        if classes is None:
            targets = in_default_dtype(self.preprocessing.targets(targets), "targets")
        prepared = _prepared(frame, inputs, rows)
        parts: dict[str, Part] = {
            name: (prepared[name], *(each[chosen] for each in (targets, *weights)))
            for name, chosen in rows.items()
            if len(chosen)
        }
        self.train = parts["train"]
        self.val, self.test = parts.get("val"), parts.get("test")
        self.calibration = parts.get("calibration")
        _check_varying(inputs, prepared["train"])
        self.ids = {
            part: names_of_rows(frame.iloc[chosen], roles["id"]) for part, chosen in rows.items()
        }
        self.task_of_target = _task_of(classes, targets)
        self.keep_arguments(ignore=[] if is_file else ["path"])


def _tell_constants(inputs: TableInputs) -> None:
    constant = [column.name for column in inputs.columns if column.low == column.high]
    if constant:
        warnings.warn(
            f"nothing can be learned from {quoted(constant)}, with one value in all training rows: "
            "name such columns in drop",
            stacklevel=3,
        )


def _fitted_targets(
    names: list[str],
    classes: list[Any] | None,
    training: Tensor,
    whole: Tensor,
    scaling: str | None,
) -> Targets:
    """Fit the scaling of values; refuse one of classes."""
    if classes is None:
        return Targets(names, None, Scaler.fit(training, target_scaling_of(whole, scaling)))
    if scaling not in (None, AUTO):
        raise ValueError(
            f"target_scaling={scaling!r} needs values, got classes in {quoted(names)}: give None, "
            "or target_kind='value' if they are numbers"
        )
    return Targets(names, classes) if len(names) == 1 else Targets(names, pairs=classes)


def _task_of(classes: list[Any] | None, targets: Tensor) -> str:
    if classes is None:
        return "regression"
    if targets.dim() > 1:
        return "multilabel"
    return "binary" if len(classes) == 2 else "multiclass"


def _prepared(frame: DataFrame, inputs: TableInputs, rows: Rows) -> dict[str, Tensor]:
    """Prepare the rows of each split, some at a time."""
    width = inputs.shape[0]
    parts = {name: torch.empty(len(chosen), width) for name, chosen in rows.items()}
    for start in range(0, len(frame), _CHUNK):
        chunk = frame.iloc[start : start + _CHUNK]
        ready = inputs(torch.from_numpy(inputs.numbers(chunk)))
        bad = (~torch.isfinite(ready)).any(0).nonzero()[:, 0]
        if len(bad):
            name = inputs.raw_names[int(inputs.source[bad[0]])]
            raise ValueError(
                f"column {name!r} must be at most {torch.finfo(ready.dtype).max:.2g} after "
                f"scaling, the largest number of {ready.dtype}: choose 'standard' scaling, or give "
                "smaller units"
            )
        for name, chosen in rows.items():
            first, last = np.searchsorted(chosen, [start, start + _CHUNK])
            parts[name][first:last] = ready[chosen[first:last] - start]
    return parts


def _check_varying(inputs: TableInputs, train: Tensor) -> None:
    """Refuse numbers that vary, and are constant after the cast to the default dtype."""
    same = train.amax(0) == train.amin(0)
    for index in same.nonzero()[:, 0].tolist():
        column = inputs.columns[int(inputs.source[index])]
        if column.kind == "number" and column.low < column.high:
            raise ValueError(
                f"column {column.name!r} varies, and is constant in {train.dtype}: choose "
                "scaling='standard', or subtract a constant"
            )
