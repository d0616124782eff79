"""What raw rows become: the part of a `Preprocessing` that is about inputs, and that of arrays."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.data.files import FORMATS, read_table
from hybridlit.data.scaling import Scaler
from hybridlit.data.tensors import as_tensor, in_order, load_arrays

__all__ = ["ArrayInputs", "Inputs", "RawRows", "far_outside"]


class RawRows(NamedTuple):
    """Raw rows as numbers (rows, ...), which `Inputs.forward` takes, and columns that name rows.

    Of each row, a flag says what is unlike the training rows, and names columns; `""` if nothing
    is.
    """

    values: Tensor
    ids: dict[str, list[Any]]
    flags: list[str]


class Inputs(nn.Module):
    """What raw rows become, fitted on training rows; buffers hold the numbers.

    A kind of data is one subclass, and its place in `INPUTS` (`preprocessing.py`). Its constructor
    takes what `describe` returns, by name, and then what is here in buffers.

    Args:
        scaler: The scaling; None: it is filled in afterwards, as the next two are.
        low: Smallest training values, of which `read` flags what is far below.
        high: Largest training values.
    """

    kind: ClassVar[str]
    low: Tensor
    high: Tensor

    def __init__(
        self, scaler: Scaler | None = None, low: Tensor | None = None, high: Tensor | None = None
    ) -> None:
        super().__init__()
        self.scaler = Scaler.identity(()) if scaler is None else scaler
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared row, as the model takes it."""

    @property
    def raw_names(self) -> list[str] | None:
        """Names of the raw columns in the order of `RawRows.values`; None without names."""
        return None

    @abstractmethod
    def opened(self, rows: Any) -> Any:
        """Read what a path leads to, as `read` takes it; what is no path stays as it is."""

    @abstractmethod
    def read(self, rows: Any) -> RawRows:
        """Check raw rows and bring them into numbers."""

    def check_columns(self, rows: Any) -> None:  # not every kind has columns
        """Refuse rows of other columns, if there are any, also where the table has no rows."""

    def forward(self, values: Tensor) -> Tensor:
        """Prepare numbers (rows, ...) of `read`: (rows, *shape) in torch's default dtype.

        Tensor operations alone, so that a model is exported with them.
        """
        scaled: Tensor = self.scaler(values)
        return scaled.to(torch.get_default_dtype())

    def seen(self) -> list[tuple[str, str, str]]:
        """Return name and kind of each raw column and what the training rows held, in words."""
        return []

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return, in plain values, what is not in buffers."""

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Make the module that was described; its buffers are filled in afterwards."""
        return cls(**description)


class ArrayInputs(Inputs):
    """Real arrays whose rows have one shape, scaled feature by feature, columns perhaps named."""

    kind = "array"

    def __init__(self, names: Sequence[Any] | None, *fitted: Any) -> None:
        super().__init__(*fitted)
        self.names = None if names is None else list(names)

    @classmethod
    def fit(cls, rows: Tensor, scaling: str | None, names: Sequence[Any] | None) -> Self:
        """Fit to training rows (rows, ...) in float64."""
        return cls(names, Scaler.fit(rows, scaling), rows.amin(0), rows.amax(0))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row, prepared or not."""
        return tuple(self.low.shape)

    @property
    def raw_names(self) -> list[str] | None:
        """Names of the columns of a table, in order; None without names."""
        return None if self.names is None else [str(name) for name in self.names]

    def opened(self, rows: Any) -> Any:
        """Read a table from a file, or an array from a .npy."""
        if not isinstance(rows, (str, os.PathLike)):
            return rows
        table = Path(rows).suffix.lower() in FORMATS
        return read_table(rows) if table else load_arrays(rows)

    def check_columns(self, rows: Any) -> None:
        """Refuse other columns, or rows of another shape."""
        self._check_shape(np.shape(in_order(rows, self.names, "inputs")))

    def _check_shape(self, shape: Sequence[int]) -> None:
        if tuple(shape[1:]) != self.shape or len(shape) != len(self.shape) + 1:
            raise ValueError(
                f"inputs must have rows of shape {self.shape} like the training inputs, got "
                f"{tuple(shape)}"
            )

    def read(self, rows: Any) -> RawRows:
        """Take an array, a table whose columns may be in another order, or the path of a file."""
        rows = in_order(self.opened(rows), self.names, "inputs")
        values = as_tensor(rows, "inputs").double()
        self._check_shape(values.shape)
        flags = far_outside(values.flatten(1), self.low.flatten(), self.high.flatten(), self.names)
        return RawRows(values, {}, flags)

    def seen(self) -> list[tuple[str, str, str]]:
        """Return the range of each column of a table, or feature of a row."""
        if len(self.shape) > 1:  # pixels, or steps of a sequence
            return []
        ends = zip(self.low.tolist(), self.high.tolist(), strict=True)
        return [
            (_name(self.names, index), "number", f"{low:.4g} to {high:.4g}")
            for index, (low, high) in enumerate(ends)
        ]

    def describe(self) -> dict[str, Any]:
        """Return the names."""
        return {"names": None if self.names is None else [_plain_name(name) for name in self.names]}


def far_outside(
    values: Tensor, low: Tensor, high: Tensor, names: Sequence[Any] | None
) -> list[str]:
    """Say of each row which values (rows, columns) are far outside the training range (columns,).

    That is, farther than the range is wide; NaN is nowhere. Columns without names have numbers.
    """
    width = high - low
    below, above = values < low - width, values > high + width
    found = [""] * len(values)
    for row in (below | above).any(1).nonzero().flatten().tolist():
        texts = []
        for word, where in (("below", below[row]), ("above", above[row])):
            columns = where.nonzero().flatten().tolist()
            texts += [f"{_name(names, index)} far {word} the training rows" for index in columns]
        found[row] = "; ".join(texts)
    return found


def _name(names: Sequence[Any] | None, index: int) -> str:
    return f"feature {index}" if names is None else str(names[index])


def _plain_name(name: Any) -> Any:
    return name if isinstance(name, (str, int, float, bool)) else str(name)
