"""Sequences of differing lengths: split, padded in front, scaled over their real steps."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch import Tensor

from hybridlit.data.arrays import Array, ArrayDataModule
from hybridlit.data.inputs import Inputs
from hybridlit.data.scaling import AUTO, AutoName, ScalingName
from hybridlit.data.sequence_inputs import SequenceInputs, as_sequences, padded

__all__ = ["SequenceDataModule"]

Sequences: TypeAlias = Any
"""Whatever `as_sequences` takes."""


class SequenceDataModule(ArrayDataModule):
    """Training, validation and test data from sequences, whose lengths may differ.

    Shorter sequences are padded in front, so that every one ends at the last step, which is where
    a recurrent front reads its state. Padding is 0 after the scaling, which is fitted to the steps
    that are there, of all training rows together: the same for every step. A model takes inputs
    of shape (batch, steps, features), where steps are those of the longest sequence; longer ones
    are refused afterwards.

    Args:
        sequences: Arrays of shape (steps, features), real and finite: a list, a dictionary by
            name, or one array (rows, steps, features).
        targets: Targets of shape (rows, ...), or text (rows,) which names classes.
        val: Pair of validation sequences and targets; None: split off.
        test: Pair of test sequences and targets; None: split off.
        val_fraction: As for `ArrayDataModule`, and so are all others.

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

    def __init__(
        self,
        sequences: Sequences,
        targets: Array,
        *,
        val: tuple[Sequences, Array] | None = None,
        test: tuple[Sequences, Array] | None = None,
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
            sequences,
            targets,
            val=val,
            test=test,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            scaling=scaling,
            target_scaling=target_scaling,
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            num_workers=num_workers,
        )

    def _rows(self, inputs: Any, name: str) -> Tensor:
        sequences, _ = as_sequences(inputs, f"{name}sequences")
        rows = padded(sequences, f"{name}sequences", self._shape)
        self._shape = tuple(rows.shape[1:])
        return rows

    def _fit(self, rows: Tensor, scaling: str | None) -> Inputs:
        return SequenceInputs.fit(rows, scaling)
