"""Tables as what a model sees: numbers scaled, yes or no as 1 or 0, a feature for each category."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import Self

from hybridlit.data.columns import KINDS, Column, labels_of
from hybridlit.data.files import as_frame, read_table
from hybridlit.data.inputs import Inputs, RawRows, far_outside
from hybridlit.data.scaling import Scaler
from hybridlit.data.tensors import column_names
from hybridlit.words import quoted

__all__ = ["TableInputs", "counted", "names_of_rows"]


class TableInputs(Inputs):
    """What rows of a table become.

    Raw values are float64 of shape (rows, columns): numbers as they are, yes or no as 1 or 0,
    categories as their index (-1 for an unknown one), NaN where a value is missing. Prepared rows
    have shape (features,): a scaled number, 1 or 0, or for each category of a column 1 or 0; an
    unknown category is 0 in all of these.

    Args:
        columns: Columns as they were in the training rows, in order.
        missing: What missing values do: `"impute"`: they are filled; `"drop"`: they are read, and
            stay NaN in `forward`, so that there is no prediction; `"error"`: they are refused.
        ids: Names of columns that are kept beside predictions.
        known: Names of further columns of the training table, which are not looked at.
        scaler: Scaling of all features; what is no number is left as it is.
    """

    kind = "table"
    fill: Tensor
    source: Tensor
    category: Tensor
    is_category: Tensor

    def __init__(
        self,
        columns: Sequence[Column],
        missing: str,
        ids: Sequence[str] = (),
        known: Sequence[str] = (),
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__(scaler)
        self.columns, self.missing = list(columns), missing
        self.ids, self.known = list(ids), list(known)
        source = [index for index, c in enumerate(columns) for _ in range(c.width)]
        category = [k for c in columns for k in range(c.width)]
        is_category = [c.kind == "category" for c in columns for _ in range(c.width)]
        for name, values, dtype in [
            ("fill", [c.fill for c in columns], torch.float64),
            ("source", source, torch.int64),
            ("category", category, torch.float64),
            ("is_category", is_category, torch.bool),
        ]:
            self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)

    @classmethod
    def fit(
        cls,
        frame: Any,
        training: npt.NDArray[np.int64],
        kinds: Mapping[str, str],
        scaling: str | None,
        **options: Any,
    ) -> Self:
        """Fit to the training rows of a table, whose numbers are given.

        `kinds` are those of the columns by name; `options` are `missing`, `ids` and `known`.
        """
        columns, infinite, unknown = [], dict[str, int](), dict[str, int]()
        scaler: dict[str, list[Tensor]] = {name: [] for name in ("offset", "scale", "unit")}
        for name, kind in kinds.items():
            labels = labels_of(frame[name].iloc[training]) if kind == "category" else []
            values, _ = Column(name, kind, labels).numbers(frame[name])
            if np.isinf(values).any():
                infinite[name] = int(np.isinf(values).sum())
                continue
            unknown[name] = int((values < 0).sum()) if kind == "category" else 0
            column = Column(name, kind, labels).fitted(values[training])
            filled = torch.from_numpy(np.nan_to_num(values[training], nan=column.fill))[:, None]
            method = scaling if kind == "number" else None
            fitted = Scaler.fit(filled.expand(-1, column.width), method)
            columns.append(column)
            for part, found in scaler.items():
                found.append(getattr(fitted, part))
        if infinite:
            raise _infinite(infinite, len(frame))
        if any(unknown.values()):
            warnings.warn(
                "no training row has some categories of other rows, which become 0 in all of their "
                f"features, {counted(unknown)} of {len(frame) - len(training):,} rows: join rare "
                "categories, or name the columns in drop",
                stacklevel=2,
            )
        return cls(columns, scaler=Scaler(*map(torch.cat, scaler.values())), **options)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of features, as a shape."""
        return (sum(column.width for column in self.columns),)

    @property
    def raw_names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in self.columns]

    def forward(self, values: Tensor) -> Tensor:
        """Prepare raw values of shape (batch, columns); returns (batch, features)."""
        if self.missing == "impute":
            values = torch.where(torch.isnan(values), self.fill, values)
        spread = values.index_select(1, self.source)
        hot = (spread == self.category).to(spread.dtype)
        chosen = self.is_category & ~torch.isnan(spread)  # what is missing stays NaN
        return super().forward(torch.where(chosen, hot, spread))

    def opened(self, rows: Any) -> Any:
        """Read a table from a file."""
        return read_table(rows) if isinstance(rows, (str, os.PathLike)) else rows

    def check_columns(self, rows: Any) -> None:
        """Refuse a table without a column of the training table."""
        given = {str(name) for name in column_names(rows) or ()}
        missing = [name for name in self.raw_names if name not in given]
        if missing:
            raise ValueError(
                f"rows must have the columns of the training table, got none of the name "
                f"{quoted(missing)}: add or rename {'it' if len(missing) == 1 else 'them'}"
            )

    def read(self, rows: Any) -> RawRows:
        """Read rows of a table: file, pandas table, dictionary of columns, list of rows, array.

        Columns may be in any order; those that the training table did not have are left out, with
        a warning. An array has its columns in the order of `raw_names`. A row is flagged, by names
        of columns, where a category is unknown, where a number is beyond the training range by more
        than the width of this range, and where a value was filled of which none was missing in
        training.
        """
        frame = as_frame(rows, self.raw_names)
        self.check_columns(frame)
        unknown = set(frame.columns) - {*self.raw_names, *self.ids, *self.known}
        if unknown:
            left = [name for name in frame.columns if name in unknown]
            warnings.warn(
                f"left out, as no column of the training table: {quoted(left)}", stacklevel=2
            )
        values = self.numbers(frame)
        gaps = np.isnan(values).sum(0)
        if gaps.any() and self.missing == "error":
            counts = zip(self.raw_names, gaps.tolist(), strict=True)
            raise ValueError(
                f"rows must have no missing values, got {counted(dict(counts))} of {len(frame):,} "
                "rows: fill them, or train with missing='impute'"
            )
        raw = torch.from_numpy(values)
        return RawRows(raw, names_of_rows(frame, self.ids), self._flags(raw))

    def seen(self) -> list[tuple[str, str, str]]:
        """Return name and kind of each column, and its range, categories and gaps in training."""
        found = []
        for column in self.columns:
            words = f"{column.low:.4g} to {column.high:.4g}" if column.kind == "number" else ""
            if column.kind == "category":
                words = quoted(map(str, column.labels), most=12)
            gaps = ["gaps"] if column.gaps else []
            found.append((column.name, column.kind, ", ".join([*filter(None, [words]), *gaps])))
        return found

    def numbers(self, frame: Any) -> npt.NDArray[np.float64]:
        """Return raw values of a table that has the columns; refuses cells that are none."""
        values = np.empty((len(frame), len(self.columns)))
        for index, column in enumerate(self.columns):
            values[:, index], wrong = column.numbers(frame[column.name])
            if wrong:
                raise ValueError(
                    f"column {column.name!r} must hold {KINDS[column.kind].words}, got others in "
                    f"{wrong:,} of {len(frame):,} rows: correct these cells"
                )
        infinite = np.isinf(values).sum(0)
        if infinite.any():
            counts = zip(self.raw_names, infinite.tolist(), strict=True)
            raise _infinite({name: count for name, count in counts if count}, len(frame))
        return values

    def _flags(self, values: Tensor) -> list[str]:
        wide = [(c.low, c.high) if c.kind == "number" else (-inf, inf) for c in self.columns]
        low, high = torch.tensor(wide, dtype=torch.float64).T
        flags = far_outside(values, low, high, self.raw_names)
        for index, column in enumerate(self.columns):
            cells = values[:, index]
            odd = {"of an unknown category": cells < 0} if column.kind == "category" else {}
            if not column.gaps:
                odd["missing, as in no training row"] = cells.isnan()
            for word, where in odd.items():
                for row in where.nonzero()[:, 0].tolist():
                    flags[row] += f"{'; ' if flags[row] else ''}{column.name} {word}"
        return flags

    def describe(self) -> dict[str, Any]:
        """Return what it is made of as plain values."""
        return {
            "columns": [column._asdict() for column in self.columns],
            "missing": self.missing,
            "ids": self.ids,
            "known": self.known,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Make the module that was described, but for the scaling."""
        columns = [Column(**column) for column in description["columns"]]
        return cls(**{**description, "columns": columns})


def names_of_rows(frame: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return those of the columns that are there; None where a name is missing."""
    found = {}
    for name in columns:
        if name in frame.columns:
            series, there = frame[name], frame[name].notna()
            if not there.all():  # files turn integers with gaps into floats
                series = series.convert_dtypes().astype(object).where(there, None)
            found[name] = series.tolist()
    return found


def counted(counts: Mapping[str, int]) -> str:
    """Return counts that are not 0, by names of columns."""
    return quoted(
        [f"{count:,} in {name!r}" for name, count in counts.items() if count], quote=False
    )


def _infinite(counts: Mapping[str, int], rows: int) -> ValueError:
    return ValueError(
        f"columns must hold finite numbers, got infinite ones, {counted(counts)} of {rows:,} rows: "
        "correct these cells, or leave the rows out"
    )
