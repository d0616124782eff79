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
    where there is no step.

    Args:
        steps: The number of steps.
        scaler: The scaling of shape (features,), fitted to steps that are there.
        low: Smallest training values, of shape (features,).
        high: Largest training values.
    """

    kind = "sequence"
    low: Tensor
    high: Tensor

    def __init__(self, steps: int, scaler: Scaler, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.steps, self.scaler = steps, scaler
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)

    @classmethod
    def fit(cls, rows: Tensor, scaling: str | None) -> Self:
        """Fit to padded training rows (rows, steps, features)."""
        there = rows[~rows[..., 0].isnan()]
        scaler = Scaler.fit(there, scaling)
        return cls(rows.shape[1], scaler, there.amin(0), there.amax(0))

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps and features."""
        return (self.steps, *self.scaler.offset.shape)

    @property
    def raw_names(self) -> list[str] | None:
        """None: features have no names."""
        return None

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
        scaled: Tensor = self.scaler(values)
        return torch.where(values.isnan(), 0.0, scaled).to(torch.get_default_dtype())

    def describe(self) -> dict[str, Any]:
        """Return the shape."""
        return {"shape": list(self.shape)}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Make the module that was described; its buffers are filled afterwards."""
        steps, features = description["shape"]
        scaler = Scaler.identity((features,))
        return cls(steps, scaler, scaler.offset, scaler.offset)


def as_sequences(rows: Any, name: str) -> tuple[list[Tensor], list[Any] | None]:
    """Return sequences (steps, features) in float64, checked, and what they are called, if told.

    Args:
        rows: A list of arrays, a dictionary of them by name, or one array (rows, steps, features);
            or the path of a .npz or .npy that numpy has made of the latter.
        name: What messages call them.
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

    Args:
        sequences: What `as_sequences` returns.
        name: What messages call them.
        shape: Steps and features of the training rows; None: these are the training rows.
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
