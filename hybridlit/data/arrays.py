"""A LightningDataModule over arrays in memory: split, scale, batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy.typing as npt
from torch import Tensor

from hybridlit.checks import number
from hybridlit.data.inputs import ArrayInputs
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.rows import RowsDataModule
from hybridlit.data.scaling import AUTO, AutoName, Scaler, ScalingName, target_scaling_of
from hybridlit.data.splits import split_rows
from hybridlit.data.targets import Targets
from hybridlit.data.tensors import (
    as_tensor,
    check_distinct,
    column_names,
    in_default_dtype,
    in_order,
)

__all__ = ["Array", "ArrayDataModule"]

_MOST_CLASSES = 100_000
"""Integers above are no class indices."""

Array = npt.ArrayLike | Tensor


class ArrayDataModule(RowsDataModule):
    """Training, validation and test data from arrays.

    Validation and test data that are not given are split off the training data, stratified by class
    when the targets are integers of shape (rows,). The scaling is fitted on the training rows only,
    whatever was split off or given. Inputs become torch's default dtype (float32), integer targets
    int64, other targets the default dtype. The order of the training batches depends on `seed` and
    the epoch alone: the global random number generator is neither read nor moved.

    Tables with names of columns, such as those of pandas, are matched by these names: validation
    and test inputs, and what `scale` is given, may have their columns in another order.

    Args:
        inputs: Features of shape (rows, ...), array, table or tensor, real and finite.
        targets: Targets of shape (rows, ...), array or tensor, real and finite.
        val: Pair of validation inputs and targets; None: split off.
        test: Pair of test inputs and targets; None: split off.
        val_fraction: Share of the rows of `inputs` to split off for validation, in [0, 1); 0: none.
            Not used when `val` is given.
        test_fraction: The same for the test data.
        scaling: `"standard"` (mean 0, standard deviation 1 of each feature), `"minmax"` (0 to 1),
            or None. A feature that is constant in the training rows becomes 0.
        target_scaling: The same for targets that are not integers; `"auto"` is `"standard"`, unless
            all are 0 or 1. Losses are then in scaled units, metrics and predictions of a template
            in the targets' own; `unscale_targets` brings other predictions back.
        batch_size: Rows in a batch, at least 1; the last batch may be smaller.
        drop_last: Leave out the last training batch of an epoch if it is smaller, for models that
            cannot do with one row; other rows are left out in each epoch.
        seed: Seed of the split and of the order of the training batches, from 0 to 2**32 - 1.
        num_workers: Number of loading processes, at least 0; 0 is fastest for data in memory.

    Attributes:
        train: Training inputs and targets as scaled tensors.
        val: Validation inputs and targets, or None.
        test: Test inputs and targets, or None.

    Raises:
        TypeError: If an argument has the wrong type, or an array is not real.
        ValueError: If shapes or names of columns disagree, values are not finite in torch's default
            dtype, or a split would be empty.

    Example:
        >>> import torch
        >>> data = ArrayDataModule(torch.randn(100, 3), torch.arange(100) % 2, batch_size=16)
        >>> [len(part[0]) for part in (data.train, data.val, data.test)]
        [60, 20, 20]
    """

    def __init__(
        self,
        inputs: Array,
        targets: Array,
        *,
        val: tuple[Array, Array] | None = None,
        test: tuple[Array, Array] | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        scaling: ScalingName | None = "standard",
        target_scaling: ScalingName | AutoName | None = AUTO,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        given = {"val": val, "test": test}
        for name, pair in given.items():
            if isinstance(pair, Sequence) and len(pair) != 2:
                raise ValueError(
                    f"{name} must be a pair (inputs, targets), got {len(pair)} entries: give None "
                    f"to split it off the training data, and {name}_fraction=0 for none"
                )
        super().__init__(
            batch_size=batch_size, drop_last=drop_last, seed=seed, num_workers=num_workers
        )
        val_fraction = 0.0 if val is not None else val_fraction
        test_fraction = 0.0 if test is not None else test_fraction
        number(val_fraction, "val_fraction", minimum=0.0, below=1.0)
        number(test_fraction, "test_fraction", minimum=0.0, below=1.0)
        if val_fraction + test_fraction >= 1:
            raise ValueError(
                "val_fraction + test_fraction must be below 1, got "
                f"{val_fraction} + {test_fraction}: nothing is left to train on"
            )
        columns = column_names(inputs)
        whole = _pair((inputs, targets), "")
        parts = {
            name: _pair((in_order(pair[0], columns, f"{name} inputs"), pair[1]), f"{name} ")
            for name, pair in given.items()
            if pair is not None
        }
        for name, part in parts.items():
            _check_alike(whole, part, name)
        if target_scaling not in (None, AUTO) and not whole[1].is_floating_point():
            raise ValueError(
                f"target_scaling={target_scaling!r} needs real targets, got integers; class "
                "indices are not to be scaled, and regression targets are given as floats"
            )
        rows = split_rows(
            whole[1],
            (val_fraction, test_fraction),
            stratify=not whole[1].is_floating_point() and whole[1].dim() == 1,
            seed=self.seed,
        )
        for name, chosen in zip(("train", "val", "test"), rows, strict=True):
            if len(chosen):
                parts[name] = (whole[0][chosen], whole[1][chosen])
        self.check_drop_last(len(rows[0]))
        self.preprocessing = Preprocessing(
            ArrayInputs.fit(parts["train"][0], scaling, columns),
            _targets(parts["train"][1], whole[1], target_scaling_of(whole[1], target_scaling)),
        )
        self.train = self._scaled(parts["train"], "")
        self.val = self._scaled(parts["val"], "val ") if "val" in parts else None
        self.test = self._scaled(parts["test"], "test ") if "test" in parts else None
        check_distinct(parts["train"][0], self.train[0])
        self.preprocessing.facts.update(
            source=type(self).__name__, rows=self.rows_by_split(), data_module=type(self).__name__
        )

    def scale(self, inputs: Array) -> Tensor:
        """Scale new inputs (rows, ...) as the training inputs were, to what the model takes.

        A table may have the columns of the training inputs in any order, if these had names.
        """
        rows = self.preprocessing.inputs.read(inputs).values
        return in_default_dtype(self._inputs.scaler(rows), rows, "inputs")

    @property
    def _inputs(self) -> ArrayInputs:
        return cast(ArrayInputs, self.preprocessing.inputs)

    def _scaled(self, part: tuple[Tensor, Tensor], name: str) -> tuple[Tensor, Tensor]:
        inputs, targets = part
        scaled = in_default_dtype(self._inputs.scaler(inputs), inputs, f"{name}inputs")
        if targets.is_floating_point():
            given = targets
            targets = in_default_dtype(self.preprocessing.targets(given), given, f"{name}targets")
        return scaled, targets


def _pair(pair: tuple[Array, Array], name: str) -> tuple[Tensor, Tensor]:
    inputs = as_tensor(pair[0], f"{name}inputs").double()
    targets = as_tensor(pair[1], f"{name}targets")
    if inputs.dim() < 2 or inputs.numel() == 0:
        raise ValueError(
            f"{name}inputs must have shape (rows, features) with rows and features, got "
            f"{tuple(inputs.shape)}"
        )
    if targets.dim() < 1 or len(targets) != len(inputs):
        raise ValueError(
            f"{name}targets must have one entry for each of the {len(inputs)} rows of "
            f"{name}inputs, got shape {tuple(targets.shape)}"
        )
    return inputs, targets


def _check_alike(whole: tuple[Tensor, Tensor], part: tuple[Tensor, Tensor], name: str) -> None:
    for kind, expected, got in zip(("inputs", "targets"), whole, part, strict=True):
        if got.shape[1:] != expected.shape[1:] or got.dtype != expected.dtype:
            raise ValueError(
                f"{name} {kind} must have rows like the training {kind}, {expected.dtype} of shape "
                f"{tuple(expected.shape[1:])}, got {got.dtype} of shape {tuple(got.shape[1:])}"
            )


def _targets(training: Tensor, whole: Tensor, scaling: str | None) -> Targets:
    if whole.is_floating_point():
        names = ["target"]
        if whole.dim() > 1:
            names = [f"target_{i}" for i in range(math.prod(whole.shape[1:]))]
        return Targets(names, None, Scaler.fit(training, scaling))
    known = whole.dim() == 1 and 0 <= int(whole.min()) and int(whole.max()) < _MOST_CLASSES
    return Targets(["target"], list(range(int(whole.max()) + 1)) if known else None)
