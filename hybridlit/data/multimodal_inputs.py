"""What inputs by name become: side by side in one row, each scaled, NaN where one is missing."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from hybridlit.data.inputs import Inputs, RawRows, far_outside
from hybridlit.data.scaling import Scaler
from hybridlit.data.tensors import as_tensor, load_arrays

__all__ = ["MultiModalInputs", "missing_in_words", "side_by_side"]


class MultiModalInputs(Inputs):
    """Inputs by name, flat and side by side; one that a row lacks is NaN in all its values.

    What is fitted has the shape (values of all inputs,), and is of the rows that have the input;
    `gaps` is the share of training rows that lack it, by name.
    """

    kind = "multimodal"

    def __init__(
        self,
        shapes: Mapping[str, list[int]],
        gaps: Mapping[str, float],
        id: str | None,
        *fitted: Any,
    ) -> None:
        super().__init__(*fitted)
        self.shapes = {name: list(shape) for name, shape in shapes.items()}
        self.gaps, self.id = dict(gaps), id
        self.widths = [math.prod(shape) for shape in self.shapes.values()]

    @classmethod
    def fit(
        cls,
        rows: Tensor,
        shapes: Mapping[str, list[int]],
        scalings: Mapping[str, str | None],
        id: str | None,
    ) -> Self:
        """Fit to training rows (rows, values of all inputs) in float64."""
        made, fitted = cls(shapes, {}, id), []
        parts = zip(made.shapes, rows.split(made.widths, 1), strict=True)
        for name, part in parts:
            there = part[~part.isnan().all(1)]
            if not len(there):
                raise ValueError(
                    f"inputs must be there in some training rows, got none with {name!r}: leave it "
                    "out of inputs"
                )
            made.gaps[name] = 1 - len(there) / len(part)
            scaler = Scaler.fit(there, scalings[name])
            fitted.append((scaler.offset, scaler.scale, scaler.unit, there.amin(0), there.amax(0)))
        *scaler_parts, low, high = map(torch.cat, zip(*fitted, strict=True))
        return cls(shapes, made.gaps, id, Scaler(*scaler_parts), low, high)

    @property
    def shape(self) -> tuple[int, ...]:
        """Values of all inputs, side by side."""
        return (sum(self.widths),)

    def by_name(self, rows: Tensor) -> dict[str, Tensor]:
        """Return prepared rows (rows, values of all inputs) as inputs by name (rows, *shape)."""
        parts = zip(self.shapes.items(), rows.split(self.widths, 1), strict=True)
        return {name: part.reshape(-1, *shape) for (name, shape), part in parts}

    def opened(self, rows: Any) -> Any:
        """Read arrays by name from a .npz."""
        return load_arrays(rows) if isinstance(rows, (str, os.PathLike)) else rows

    def read(self, rows: Any) -> RawRows:
        """Take arrays by name, or a .npz of them; others than the inputs are not looked at.

        An input without an array is missing in all rows.
        """
        rows = self.opened(rows)
        if not isinstance(rows, Mapping):
            raise TypeError(
                f"inputs must be arrays by name, {list(self.shapes)}, or the path of a .npz of "
                f"them, got {type(rows).__name__}"
            )
        values, _ = side_by_side(rows, list(self.shapes), "inputs", self.shapes)
        names = [
            f"{n}[{i}]" for n, w in zip(self.shapes, self.widths, strict=True) for i in range(w)
        ]
        flags = far_outside(values, self.low.cpu(), self.high.cpu(), names)
        both = zip(missing_in_words(values, self.shapes), flags, strict=True)
        flags = ["; ".join(filter(None, told)) for told in both]
        named = self.id is not None and self.id in rows
        ids = {str(self.id): np.asarray(rows[self.id]).tolist()} if named else {}
        return RawRows(values, ids, flags)

    def seen(self) -> list[tuple[str, str, str]]:
        """Return shape and range of each input, and how many training rows lack it."""
        found = []
        ends = (end.split(self.widths) for end in (self.low, self.high))
        for (name, shape), low, high in zip(self.shapes.items(), *ends, strict=True):
            size = " x ".join(map(str, shape))
            told = f"{float(low.min()):.4g} to {float(high.max()):.4g}"
            gap = self.gaps[name]
            found.append(
                (name, f"{size} numbers", told + (f", missing in {gap:.0%}" if gap else ""))
            )
        return found

    def describe(self) -> dict[str, Any]:
        """Return shapes, shares of rows and the name of the ids."""
        return {"shapes": self.shapes, "gaps": self.gaps, "id": self.id}


def missing_in_words(values: Tensor, shapes: Mapping[str, list[int]]) -> list[str]:
    """Say of each row (rows, values of all inputs) which inputs are missing, "" for none."""
    parts = values.split([math.prod(shape) for shape in shapes.values()], 1)
    gone = torch.stack([part.isnan().all(1) for part in parts], 1).tolist()
    found = []
    for lacks in gone:
        missing = [name for name, lack in zip(shapes, lacks, strict=True) if lack]
        told = f"{', '.join(missing)} missing" if missing else ""
        found.append(told + (": no prediction" if all(lacks) else ""))
    return found


def side_by_side(
    arrays: Mapping[str, Any],
    names: list[str],
    argument: str,
    shapes: Mapping[str, list[int]] | None = None,
) -> tuple[Tensor, dict[str, list[int]]]:
    """Return inputs by name as (rows, values of all inputs) in float64, and their shapes.

    An array is (rows, ...), or (rows,) of one value each. `shapes` are those of the training; an
    input that has no array is then NaN, as one is that is missing in a row.
    """
    found = {
        name: as_tensor(arrays[name], f"{argument}[{name!r}]", gaps=True).double()
        for name in names
        if name in arrays
    }
    if not found or (shapes is None and len(found) < len(names)):
        raise ValueError(
            f"{argument} must hold arrays of the names {names}, got {sorted(map(str, arrays))}"
        )
    own = {name: list(array.shape[1:]) or [1] for name, array in found.items()}
    for name, array in found.items():
        if array.dim() < 1 or array.numel() == 0 or (shapes and own[name] != shapes[name]):
            wanted = f"*{shapes[name]}" if shapes else "..."
            raise ValueError(
                f"{argument}[{name!r}] must have shape (rows, {wanted}) with rows and values, got "
                f"{tuple(array.shape)}"
            )
    rows = {name: len(array) for name, array in found.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(f"{argument} must be arrays of as many rows, got {rows}")
    count = next(iter(rows.values()))
    parts = [
        found[name].reshape(count, -1)
        if name in found
        else torch.full((count, math.prod((shapes or own)[name])), torch.nan, dtype=torch.float64)
        for name in names
    ]
    return torch.cat(parts, 1), own
