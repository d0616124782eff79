"""What the columns of a table hold, and how their cells become numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hybridlit.data.files import needed

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = [
    "KINDS",
    "MOST_CATEGORIES",
    "TRUTHS",
    "Column",
    "ColumnFacts",
    "Kind",
    "describe_table",
    "kind_of",
    "labels_of",
    "missing_in",
]

MOST_CATEGORIES = 256
"""Categories that a column may have: each is a feature of the model."""

_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,4}[./]\d{1,2}[./]\d{1,4}(\s.*)?|\d+:\d\d.*"
)
TRUTHS: tuple[dict[str, float], ...] = ({"true": 1.0, "false": 0.0}, {"yes": 1.0, "no": 0.0})
"""Words of columns of yes or no, in any case; a column has those of one pair."""


class Kind(NamedTuple):
    """A kind of column: what it holds, and what to do where no model can take it."""

    words: str
    remedy: str | None = None


KINDS: dict[str, Kind] = {
    "number": Kind("numbers"),
    "boolean": Kind("yes or no"),
    "category": Kind("categories"),
    "date": Kind("dates or times", "give numbers made of them, such as days since a day"),
    "text": Kind(
        "names of rows or free text",
        f"name it in id or drop, or in categorical with at most {MOST_CATEGORIES} categories",
    ),
    "mixed": Kind("text among numbers", "correct these cells, or name the column in categorical"),
    "empty": Kind("nothing", "name it in drop"),
    "other": Kind("lists, complex numbers or other objects", "give a column for each number"),
}
"""Kinds of columns by name: numbers are scaled, yes or no becomes 1 or 0, each category a feature.

`True` and `False`, `true` and `false`, `yes` and `no` in any case are yes or no, other text is
categories. Integers are numbers, few as they may be, unless they are named categories.
"""


class ColumnFacts(NamedTuple):
    """What a column of a table holds: kind, missing values, and number of distinct others."""

    name: str
    kind: str
    missing: int
    distinct: int


def describe_table(frame: DataFrame, categorical: Sequence[str] = ()) -> list[ColumnFacts]:
    """Say of each column of a table what it holds, one of `KINDS`, by name and counts alone."""
    found = []
    for name in frame.columns:
        series = frame[name]
        kind = kind_of(series, name in categorical)[0]
        try:
            codes, labels = _factorized(series)
            missing, distinct = int((codes < 0).sum()), len(labels)
        except TypeError:  # lists, which cannot be told apart
            missing, distinct = int(series.isna().sum()), len(series)
        found.append(ColumnFacts(str(name), kind, missing, distinct))
    return found


def kind_of(series: Series, categorical: bool = False) -> tuple[str, str]:
    """Return the kind of a column, one of `KINDS`, and what more is to be said of it."""
    types = needed("pandas").api.types
    dtype = series.dtype
    if types.is_complex_dtype(dtype):
        return "other", "complex numbers"
    if types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype):
        return "date", ""
    if types.is_bool_dtype(dtype) and not categorical and not _is_categorical(series):
        return "boolean", ""
    if types.is_numeric_dtype(dtype) and not categorical:
        return ("number" if series.notna().any() else "empty"), ""
    try:
        codes, labels = _factorized(series)
    except TypeError:
        return "other", ""
    if not len(labels):
        return "empty", ""
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    rows = int(counts.sum())
    if any(not isinstance(label, (str, Real, Decimal, np.bool_)) for label in labels):
        named = [type(label).__name__ for label in labels]
        dates = any(name in ("Timestamp", "date", "datetime", "Period", "time") for name in named)
        return ("date" if dates else "other"), ""
    if categorical or _is_categorical(series):
        few = len(labels) <= MOST_CATEGORIES
        return ("category" if few else "text"), f"{len(labels):,} categories"
    if any(all(_truth(label, words) is not None for label in labels) for words in TRUTHS):
        return "boolean", ""
    numeric = np.array([_number(label) is not None for label in labels])
    if numeric.all():
        return "number", ""
    odd = int(counts[~numeric].sum())
    if odd < rows / 2:
        return "mixed", f"text in {odd:,} of {len(series):,} rows"
    if all(isinstance(label, str) and _DATE.fullmatch(label) for label in labels):
        return "date", ""
    if len(labels) > min(MOST_CATEGORIES, max(5, rows / 2)):
        return "text", f"{len(labels):,} different texts in {rows:,} rows"
    return "category", ""


class Column(NamedTuple):
    """A column as it was in the training rows.

    Attributes:
        name: Its name.
        kind: `"number"`, `"boolean"` or `"category"`.
        labels: Categories in order; empty unless `kind` is `"category"`.
        low: Smallest number.
        high: Largest number.
        fill: What stands for a missing value: the median, or the most frequent.
        gaps: Whether a value was missing in the training rows.
    """

    name: str
    kind: str
    labels: list[Any]
    low: float = 0.0
    high: float = 0.0
    fill: float = 0.0
    gaps: bool = False

    def fitted(self, values: npt.NDArray[np.float64]) -> Column:
        """Return the column with what training rows say: their range, and what stands for a gap."""
        there = values[~np.isnan(values)]
        if not len(there):
            raise ValueError(
                f"column {self.name!r} must have values in the training rows, got none: name it "
                "in drop"
            )
        if self.kind == "number":
            fill = float(np.median(there))
        else:
            fill = float(np.bincount(there.astype(np.int64)).argmax())
        low, high = float(there.min()), float(there.max())
        return self._replace(low=low, high=high, fill=fill, gaps=len(there) < len(values))

    @property
    def width(self) -> int:
        """Number of features that it becomes."""
        return len(self.labels) if self.kind == "category" else 1

    def numbers(self, series: Series) -> tuple[npt.NDArray[np.float64], int]:
        """Turn cells into float64, NaN where missing or -1 where the category is unknown.

        The second is how many cells hold what is no number, and are NaN.
        """
        types = needed("pandas").api.types
        is_complex = types.is_complex_dtype(series.dtype)
        if self.kind == "number" and types.is_numeric_dtype(series.dtype) and not is_complex:
            return series.to_numpy(dtype=np.float64, na_value=np.nan), 0
        try:
            codes, labels = _factorized(series)
        except TypeError:  # lists
            return np.full(len(series), np.nan), len(series)
        known = {_key(label): float(index) for index, label in enumerate(self.labels)}
        alike = {_alike(label): known[_key(label)] for label in self.labels}
        of_label = {"number": _number, "boolean": _boolean}.get(
            self.kind, lambda label: known.get(_key(label), alike.get(_alike(label), -1.0))
        )
        found = [of_label(label) for label in labels]
        values = np.array([math.nan if value is None else value for value in [*found, None]])
        wrong = np.array([value is None for value in [*found, 0.0]])
        return values[codes], int(wrong[codes].sum())


def missing_in(series: Series) -> npt.NDArray[np.bool_]:
    """Say of each cell whether it is missing."""
    if needed("pandas").api.types.is_numeric_dtype(series.dtype):
        return np.asarray(series.isna(), dtype=bool)
    return _factorized(series)[0] < 0


def labels_of(series: Series) -> list[Any]:
    """Return the distinct labels of a column in order, as str, int, float or bool."""
    labels = {_key(label): _plain(label) for label in _factorized(series)[1]}.values()
    return sorted(labels, key=lambda label: (isinstance(label, str), label))


def _factorized(series: Series) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Return the index of the distinct value in each row, -1 where missing, and these values.

    Text is stripped; where it is blank or NaN, it is missing.
    """
    codes, labels = needed("pandas").factorize(series)
    merged: dict[Any, int] = {}
    index = np.full(len(labels) + 1, -1, dtype=np.int64)
    for old, label in enumerate(labels):
        label = label.strip() if isinstance(label, str) else label
        if not (isinstance(label, str) and label.lower() in ("", "nan")):
            index[old] = merged.setdefault((type(label), label), len(merged))
    return index[codes], [label for _, label in merged]


def _is_categorical(series: Series) -> bool:
    return isinstance(series.dtype, needed("pandas").CategoricalDtype)


def _number(label: Any) -> float | None:
    if isinstance(label, (Real, Decimal, np.bool_)):
        return float(label)
    if isinstance(label, str) and "_" not in label:
        try:
            return float(label)
        except ValueError:
            return None
    return None


def _truth(label: Any, words: dict[str, float]) -> float | None:
    if isinstance(label, (bool, np.bool_)):
        return float(label)
    return words.get(label.lower()) if isinstance(label, str) else None


def _boolean(label: Any) -> float | None:
    if isinstance(label, (Real, Decimal)) and label in (0, 1):
        return float(label)
    return _truth(label, TRUTHS[0] | TRUTHS[1])


def _plain(label: Any) -> Any:
    """Return a label as str, bool, int or, where it is no whole number, float."""
    label = label.item() if isinstance(label, np.generic) else label
    if isinstance(label, (str, bool, int)):
        return label
    return int(float(label)) if float(label).is_integer() else float(label)


def _key(label: Any) -> str:
    """Return what two writings of the same label share: 1, 1.0 and the text 1."""
    return str(_plain(label))


def _alike(label: Any) -> str:
    """Return what writings share of which a file makes one where it has no other words."""
    text = _key(label)
    number = _number(text)
    if number is not None:  # 1.0 and 007
        return str(number)
    return text.lower() if text.lower() in TRUTHS[0] else text
