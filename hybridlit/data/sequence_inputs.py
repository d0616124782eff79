"""What sequences of any length become: padded in front, scaled over their real steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from hybridlit.data.inputs import Inputs, RawRows, far_outside
from hybridlit.data.scaling import Scaler
from hybridlit.data.tensors import as_tensor, load_arrays

__all__ = ["SequenceInputs", "as_sequences", "padded"]


class SequenceInputs(Inputs):
    """Sequences of at most some number of steps; shorter ones are padded in front by 0.

    A sequence so ends at the last step, where a recurrent front reads its state. Raw values are NaN
    where there is no step; what is fitted has the shape (features,), and is of the other steps.
    """

    kind = "sequence"

    def __init__(self, steps: int, *fitted: Any) -> None:
        super().__init__(*fitted)
        self.steps = steps

    @classmethod
    def fit(cls, rows: Tensor, scaling: str | None) -> Self:
        """Fit to padded training rows (rows, steps, features)."""
        there = rows[~rows[..., 0].isnan()]
        return cls(rows.shape[1], Scaler.fit(there, scaling), there.amin(0), there.amax(0))

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps and features."""
        return (self.steps, *self.low.shape)

    def opened(self, rows: Any) -> Any:
        """Read arrays by name from a .npz, or one from a .npy."""
        return load_arrays(rows) if isinstance(rows, (str, os.PathLike)) else rows

    def read(self, rows: Any) -> RawRows:
        """Read sequences as `SequenceDataModule` takes them; longer ones are refused."""
        sequences, ids = as_sequences(rows, "inputs")
        values = padded(sequences, "inputs", self.shape)
        middle = (self.low + self.high).cpu() / 2
        farthest = (values - middle).abs().nan_to_num(-1.0).argmax(1, keepdim=True)
        flags = far_outside(
            values.gather(1, farthest).squeeze(1), self.low.cpu(), self.high.cpu(), None
        )
        return RawRows(values, {} if ids is None else {"sequence": ids}, flags)

    def forward(self, values: Tensor) -> Tensor:
        """Scale rows (rows, steps, features); steps that are not there become 0."""
        return torch.where(values.isnan(), 0.0, super().forward(values))

    def describe(self) -> dict[str, Any]:
        """Return the number of steps."""
        return {"steps": self.steps}


def as_sequences(rows: Any, name: str) -> tuple[list[Tensor], list[Any] | None]:
    """Return sequences (steps, features) in float64, checked, and what they are called, if told.

    `rows` are a list of arrays, a dictionary of them by name, or one array (rows, steps, features);
    or the path of a .npz or .npy that numpy has made of the latter. `name` is for messages.
    """
    if isinstance(rows, (str, os.PathLike)):
        rows = load_arrays(rows)
    ids = list(rows) if isinstance(rows, Mapping) else None
    try:
        given = list(rows.values() if isinstance(rows, Mapping) else rows)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a list of arrays or one array, got {type(rows).__name__}"
        ) from error
    sequences = [as_tensor(each, f"{name}[{row}]").double() for row, each in enumerate(given)]
    for row, each in enumerate(sequences):
        if each.dim() != 2 or each.numel() == 0:
            raise ValueError(
                f"{name} must have shape (steps, features) each, got {tuple(each.shape)} in row "
                f"{row}; one feature x of shape (steps,) is x[:, None]"
            )
        if each.shape[1] != sequences[0].shape[1]:
            raise ValueError(
                f"{name} must have the same features, got {sequences[0].shape[1]} in row 0 and "
                f"{each.shape[1]} in row {row}"
            )
    if not sequences:
        raise ValueError(f"{name} must be at least one, got none")
    return sequences, ids


def padded(sequences: list[Tensor], name: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return sequences as (rows, steps, features), NaN in front of those that are shorter.

    `shape` is steps and features of the training rows; None: these are the training rows.
    """
    lengths = [len(each) for each in sequences]
    steps, features = shape or (max(lengths), sequences[0].shape[1])
    if max(lengths) > steps:
        row = next(row for row, length in enumerate(lengths) if length > steps)
        raise ValueError(
            f"{name} must have at most {steps} steps like the longest of the training, got "
            f"{lengths[row]} in row {row}: shorten them, or train with longer ones"
        )
    if sequences[0].shape[1] != features:
        raise ValueError(
            f"{name} must have {features} features like those of the training, got "
            f"{sequences[0].shape[1]}"
        )
    rows = torch.full((len(sequences), steps, features), torch.nan, dtype=torch.float64)
    for row, each in enumerate(sequences):
        rows[row, steps - len(each) :] = each
    return rows
