"""Which column is predicted, and whether it holds classes or values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hybridlit.data.columns import KINDS, MOST_CATEGORIES, Column, kind_of, labels_of
from hybridlit.data.files import needed
from hybridlit.data.targets import Targets

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["TARGET_KINDS", "TargetKindName", "known_targets", "read_targets"]

_MOST_WHOLE = 20

TARGET_KINDS = {
    "auto": f"classes, if it is text, yes or no, or few integers: at most {_MOST_WHOLE} values",
    "class": "classes, whatever it is",
    "value": "real values",
}
"""What a target is, by name."""

if TYPE_CHECKING:
    TargetKindName: TypeAlias = str
else:
    TargetKindName = Literal[tuple(TARGET_KINDS)]


def read_targets(
    frame: DataFrame, names: Sequence[str], target_kind: str, dropped: bool = False
) -> tuple[list[Any] | None, Tensor]:
    """Return labels in order and class indices, or None and values in float64.

    Indices and values are (rows,) of one column, (rows, columns) of several. Several columns of
    classes hold two each, and the labels are a pair for each column. `dropped` says that some
    targets were missing, which are not in `frame` any more: files have then turned integers into
    floats.
    """
    kinds = {name: _kind(frame[name], target_kind, dropped) for name in names}
    if "class" in kinds.values():
        return _classes(frame, names, kinds)
    columns = [Column(name, "number", []).numbers(frame[name])[0] for name in names]
    for name, values in zip(names, columns, strict=True):
        if np.isinf(values).any():
            raise ValueError(
                f"target {name!r} must be finite, got infinite numbers in "
                f"{np.isinf(values).sum():,} of {len(values):,} rows: correct these cells, or "
                "leave the rows out"
            )
        if values.min() == values.max():
            raise ValueError(
                f"target {name!r} must vary, got one value in all {len(values):,} rows: there is "
                "nothing to predict"
            )
    tensors = [torch.tensor(values) for values in columns]
    return None, tensors[0] if len(tensors) == 1 else torch.stack(tensors, 1)


def _classes(
    frame: DataFrame, names: Sequence[str], kinds: Mapping[str, str]
) -> tuple[list[Any], Tensor]:
    """Return the labels of one column, or the two of each of several, and indices of classes."""
    labels = {name: labels_of(frame[name]) for name in names if kinds[name] == "class"}
    for name, found in labels.items():
        if len(found) < 2:
            raise ValueError(
                f"target {name!r} must have at least 2 classes, got {len(found)} in "
                f"{len(frame):,} rows: there is nothing to tell apart"
            )
        if len(names) > 1 and (len(found) > 2 or len(labels) < len(names)):
            others = [f"values in {each!r}" for each in names if each not in labels]
            got = others[0] if len(found) == 2 else f"{len(found)} classes in {name!r}"
            raise ValueError(
                "several targets must all be values, or all have two classes each, such as yes "
                f"and no, got classes in {name!r} and {got}: predict it alone, or give "
                "target_kind='value' if all hold numbers"
            )
    columns = [
        Column(name, "category", found).numbers(frame[name])[0] for name, found in labels.items()
    ]
    indices = torch.from_numpy(np.stack(columns, 1)).long()
    if len(names) > 1:
        return list(labels.values()), indices
    return labels[names[0]], indices[:, 0]


def known_targets(frame: DataFrame, targets: Targets) -> Tensor:
    """Read targets of rows that a model was not trained on, in float64, as `read_targets` does.

    An unknown class is -1; a cell that is empty, or no number where it should be one, is NaN.
    """
    names = targets.names
    labels = targets.pairs
    if labels is None:
        labels = [targets.classes or []] * len(names)
    kind = "number" if targets.classes is None and targets.pairs is None else "category"
    read = [
        Column(name, kind, own).numbers(frame[name])[0]
        for name, own in zip(names, labels, strict=True)
    ]
    found = torch.from_numpy(np.stack(read, 1))
    return found[:, 0] if len(names) == 1 else found


def _kind(series: Series, target_kind: str, dropped: bool) -> str:
    """Decide between `"class"` and `"value"`, or refuse the column."""
    name = str(series.name)
    kind, detail = kind_of(series, categorical=target_kind == "class")
    if KINDS[kind].remedy is not None:
        raise ValueError(
            f"target {name!r} must hold classes or numbers, got {KINDS[kind].words}"
            f"{detail and f', {detail}'}: correct it, or choose another column"
            + (f" (at most {MOST_CATEGORIES} classes)" if kind == "text" else "")
            + (", or give target_kind='class'" if kind == "mixed" else "")
        )
    if target_kind == "class" or (target_kind == "auto" and kind != "number"):
        return "class"
    if kind == "category":
        raise ValueError(
            f"target {name!r} must hold numbers for target_kind='value', got categories: give "
            "target_kind='class'"
        )
    return "class" if target_kind == "auto" and _is_whole(series, dropped) else "value"


def _is_whole(series: Series, dropped: bool) -> bool:
    """Tell whether a column of numbers holds few distinct integers."""
    if needed("pandas").api.types.is_float_dtype(series.dtype) and not dropped:
        return False
    distinct = np.unique(Column("", "number", []).numbers(series)[0])
    few = len(distinct) <= min(_MOST_WHOLE, max(2, len(series) / 2))
    return few and bool((distinct == np.floor(distinct)).all())
