"""Sequences of differing lengths: split, padded in front, scaled over their real steps."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hybridlit.data.arrays import ArrayDataModule
from hybridlit.data.inputs import Inputs
from hybridlit.data.sequence_inputs import SequenceInputs, as_sequences, padded

__all__ = ["SequenceDataModule"]


class SequenceDataModule(ArrayDataModule):
    """Training, validation and test data from sequences, whose lengths may differ.

    Shorter sequences are padded in front, so that every one ends at the last step, which is where
    a recurrent front reads its state. Padding is 0 after the scaling, which is fitted to the steps
    that are there, of all training rows together: the same for every step. A model takes inputs
    of shape (batch, steps, features), where steps are those of the longest sequence; longer ones
    are refused afterwards.

    All arguments are those of `ArrayDataModule`, and so are the attributes, but for the inputs:
    arrays of shape (steps, features), real and finite, in a list, in a dictionary by name, or in
    one array (rows, steps, features); or the path of a file that `numpy.savez` has made of such a
    dictionary.

    Raises:
        TypeError: If an argument has the wrong type, or an array is not real.
        ValueError: If shapes disagree, values are not finite, or a split would be empty.

    Example:
        >>> import torch
        >>> sequences = [torch.randn(steps, 2) for steps in range(3, 13)]
        >>> data = SequenceDataModule(sequences, torch.arange(10) % 2)
        >>> data.input_shape
        (12, 2)
    """

    _shape: tuple[int, ...] | None = None

    def _rows(self, inputs: Any, name: str) -> Tensor:
        sequences, _ = as_sequences(inputs, f"{name}inputs")
        rows = padded(sequences, f"{name}inputs", self._shape)
        self._shape = tuple(rows.shape[1:])
        return rows

    def _fit(self, rows: Tensor, scaling: str | None) -> Inputs:
        return SequenceInputs.fit(rows, scaling)
