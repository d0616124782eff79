"""A LightningDataModule over a table, from a file or in memory, with columns of every kind."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.constructors import plain
from hybridlit.data.columns import KINDS, Column, kind_of, missing_in
from hybridlit.data.files import as_frame
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.rows import Part, RowsDataModule
from hybridlit.data.scaling import AUTO, AutoName, ScalingName
from hybridlit.data.splits import check_fractions, split_groups, split_rows
from hybridlit.data.table_inputs import TableInputs, counted
from hybridlit.data.table_targets import TARGET_KINDS, TargetKindName, read_targets
from hybridlit.words import quoted

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["MISSING", "SPLIT_WORDS", "MissingName", "TableDataModule"]

MISSING = {
    "error": "are refused",
    "drop": "leave out their rows",
    "impute": "are filled: numbers by the median of the training rows, others by the most frequent",
}
"""What missing values of features do, by name."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What a column may say of the split of a row, in any case."""

if TYPE_CHECKING:
    MissingName: TypeAlias = str
else:
    MissingName = Literal[tuple(MISSING)]

_CHUNK = 1 << 14
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
        target: Name of the column to predict; a list of names of columns of numbers for several
            values.
        id: Names of columns that name rows: they are kept for predictions, and are no features.
        drop: Names of columns that are no features.
        categorical: Names of columns that are categories whatever they hold; `"auto"`: none besides
            those that are found.
        missing: What missing values of features do: `"error"`, `"drop"` (their rows are left out,
            with a warning) or `"impute"` (numbers become the median of the training rows, others
            the most frequent value). A missing target is refused, or dropped, and never filled.
        group: Name of a column: rows with the same value are all in the same split.
        split: Name of a column that says `train`, `val` (`valid`, `validation`, `dev`) or `test` of
            each row; what it does not name is split off the training rows.
        weight: Name of a column of weights of rows in the loss, at least 0.
        target_kind: `"class"`, `"value"`, or `"auto"`: text, categories, booleans and integers of at
            most 20 distinct values are classes, other numbers values.
        val_fraction: Share of the rows to split off for validation, in [0, 1); 0: none. By class if
            there are classes and no groups.
        test_fraction: The same for the test data.
        scaling: Scaling of numbers: `"standard"` (mean 0, standard deviation 1), `"minmax"` (0 to 1)
            or None. A number that is constant in the training rows becomes 0, with a warning.
        target_scaling: The same for values; `"auto"` is `"standard"`, unless all are 0 or 1.
        batch_size: As for `ArrayDataModule`, and so are all others.

    Attributes:
        train: Training inputs and targets as prepared tensors, and weights if there are any.
        val: Validation inputs and targets, or None.
        test: Test inputs and targets, or None.
        ids: Columns that name rows, for each split: `ids["test"]["name"]`.
        task_of_target: Task that suits the target: `"binary"` for two classes, `"multiclass"` for
            more, `"regression"` for values.

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
        scaling: ScalingName | None = "standard",
        target_scaling: ScalingName | AutoName | None = AUTO,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size, drop_last=drop_last, seed=seed, num_workers=num_workers
        )
        check_fractions(val_fraction, test_fraction)
        frame = as_frame(path)
        named = {
            "target": _listed(target),
            "id": _listed(id),
            "drop": _listed(drop),
            "group": _listed(group),
            "split": _listed(split),
            "weight": _listed(weight),
        }
        features = _features(frame, named)
        chosen = [] if categorical == AUTO else list(categorical)
        _check_present("categorical", chosen, features)
        kinds = _kinds(frame, features, chosen)
        rows_given = len(frame)
        frame = _without_gaps(frame, named, features, missing)

        targets, values = read_targets(frame, named["target"], target_kind)
        rows = _rows(frame, values, named, (val_fraction, test_fraction), seed)
        ...
