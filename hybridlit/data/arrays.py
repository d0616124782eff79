"""A LightningDataModule over arrays in memory: split, scale, batch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit.data.inputs import ArrayInputs, Inputs
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.rows import Part, RowsDataModule
from hybridlit.data.scaling import AUTO, AutoName, Scaler, ScalingName, target_scaling_of
from hybridlit.data.targets import Targets, class_indices
from hybridlit.data.tensors import (
    as_tensor,
    channels_last,
    check_distinct,
    column_names,
    in_default_dtype,
    in_order,
)

__all__ = ["Array", "ArrayDataModule"]

_MOST_CLASSES = 100_000
"""Integers above are no class indices."""

Array: TypeAlias = Any
"""What numpy makes an array of, or a tensor.

Not `ArrayLike`: the command line would put the contents of a file in the place of its name.
"""


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
        targets: Targets of shape (rows, ...), array or tensor, real and finite; or text of shape
            (rows,), which names classes.
        weights: Weights of the rows of `inputs` in the loss, (rows,), at least 0; None: all equal.
            Rows of a pair `val` or `test` have none.
        val: Pair of validation inputs and targets; None: split off.
        test: Pair of test inputs and targets; None: split off.
        val_fraction: Share of the rows of `inputs` to split off for validation, in [0, 1); 0: none.
            Not used when `val` is given.
        test_fraction: The same for the test data.
        calibration_fraction: The same for rows that neither training nor the choice of a checkpoint
            sees: see `calibrate`.
        scaling: `"standard"` (mean 0, standard deviation 1 of each feature), `"minmax"` (0 to 1),
            or None. A feature that is constant in the training rows becomes 0.
        target_scaling: The same for targets that are not integers; `"auto"` is `"standard"`, unless
            all are 0 or 1. Losses are then in scaled units, metrics and predictions of a template
            in the targets' own; `unscale_targets` brings other predictions back.
        batch_size: Rows in a batch, at least 1; the last batch may be smaller.
        drop_last: Leave out the last training batch of an epoch if it is smaller, for models that
            cannot do with one row; other rows are left out in each epoch.
        seed: Seed of the split and of the order of the training batches, from 0 to 2**32 - 1.
        test_seed: Seed of the test rows alone, from 0 to 2**32 - 1, so that trainings of several
            seeds are tested on the same rows, and none sees them; None: `seed`.
        num_workers: Number of loading processes, at least 0; 0 is fastest for data in memory.

    Attributes:
        train: Training inputs and targets as scaled tensors, and weights if there are any.
        val: Validation inputs and targets, or None.
        test: Test inputs and targets, or None.
        calibration: Those for `calibrate`, or None.

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

    _columns: list[Any] | None
    _classes: list[str] | None = None

    def __init__(
        self,
        inputs: Array,
        targets: Array,
        *,
        weights: Array | None = None,
        val: tuple[Array, Array] | None = None,
        test: tuple[Array, Array] | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        calibration_fraction: float = 0.0,
        scaling: ScalingName | None = "standard",
        target_scaling: ScalingName | AutoName | None = AUTO,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        test_seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        given = {"val": val, "test": test}
        for name, pair in given.items():
            if pair is not None and not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                listed = isinstance(pair, (tuple, list))
                raise ValueError(
                    f"{name} must be a pair (inputs, targets), got "
                    f"{f'{len(pair)} entries' if listed else type(pair).__name__}: give None to "
                    f"split it off the training data, and {name}_fraction=0 for none"
                )
        super().__init__(
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            test_seed=test_seed,
            num_workers=num_workers,
        )
        whole = self._pair((inputs, targets), "")
        parts = {
            name: self._pair(pair, f"{name} ") for name, pair in given.items() if pair is not None
        }
        for name, part in parts.items():
            _check_alike(whole, part, name)
        if target_scaling not in (None, AUTO) and not whole[1].is_floating_point():
            raise ValueError(
                f"target_scaling={target_scaling!r} needs real targets, got integers; class "
                "indices are not to be scaled, and regression targets are given as floats"
            )
        stratify = not whole[1].is_floating_point() and whole[1].dim() == 1
        rows = self.split_off(
            whole[1], parts, val_fraction, test_fraction, stratify, calibration_fraction
        )
        parts |= {name: (whole[0][chosen], whole[1][chosen]) for name, chosen in rows.items()}
        weighted = _weights(weights, len(whole[0]), rows)
        scaled_by = target_scaling_of(whole[1], target_scaling)
        self.preprocessing = Preprocessing(
            self._fit(parts["train"][0], scaling),
            _targets(parts["train"][1], whole[1], scaled_by, self._classes),
        )
        ready: dict[str, Part] = {
            name: (*self._prepared(part, "" if name == "train" else f"{name} "), *weighted[name])
            for name, part in parts.items()
        }
        self.train = ready["train"]
        self.val, self.test = ready.get("val"), ready.get("test")
        self.calibration = ready.get("calibration")
        check_distinct(parts["train"][0], self.train[0])
        self.preprocessing.facts.update(
            source=type(self).__name__, rows=self.rows_by_split(), data_module=type(self).__name__
        )

    def scale(self, inputs: Array) -> Tensor:
        """Scale new inputs (rows, ...) as the training inputs were, to what the model takes.

        A table may have the columns of the training inputs in any order, if these had names.
        """
        read = self.preprocessing.inputs
        return in_default_dtype(read(read.read(inputs).values), "inputs")

    def _rows(self, inputs: Any, name: str) -> Tensor:
        """Return inputs as raw values (rows, ...) in float64; the training ones come first."""
        _refuse_text(inputs, f"{name}inputs")
        if not name:
            self._columns = column_names(inputs)
        rows = as_tensor(in_order(inputs, self._columns, f"{name}inputs"), f"{name}inputs").double()
        if rows.dim() < 2 or rows.numel() == 0:
            raise ValueError(
                f"{name}inputs must have shape (rows, features) with rows and features, got "
                f"{tuple(rows.shape)}"
            )
        if not name and channels_last(rows.shape[1:]):
            rank_zero_warn(
                f"inputs of shape {tuple(rows.shape)} are {rows.shape[1]} channels of "
                f"{rows.shape[2]} x {rows.shape[3]} values: for images with their channels last "
                "give numpy.moveaxis(inputs, -1, 1)"
            )
        return rows

    def _fit(self, rows: Tensor, scaling: str | None) -> Inputs:
        """Fit what rows become to the training rows."""
        return ArrayInputs.fit(rows, scaling, self._columns)

    def _pair(self, pair: tuple[Array, Array], name: str) -> tuple[Tensor, Tensor]:
        inputs = self._rows(pair[0], name)
        _refuse_text(pair[1], f"{name}targets")
        indices, classes = class_indices(pair[1], f"{name}targets", self._classes if name else None)
        if name and (classes is None) != (self._classes is None):
            raise TypeError(f"{name}targets must be text like the training targets, or neither")
        self._classes = classes
        targets = as_tensor(indices, f"{name}targets")
        if targets.dim() < 1 or len(targets) != len(inputs):
            raise ValueError(
                f"{name}targets must have one entry for each of the {len(inputs)} rows of "
                f"{name}inputs, got shape {tuple(targets.shape)}"
            )
        return inputs, targets

    def _prepared(self, part: tuple[Tensor, Tensor], name: str) -> tuple[Tensor, Tensor]:
        inputs, targets = part
        prepared = in_default_dtype(self.preprocessing.inputs(inputs), f"{name}inputs")
        if targets.is_floating_point():
            targets = in_default_dtype(self.preprocessing.targets(targets), f"{name}targets")
        return prepared, targets


def _refuse_text(array: Any, name: str) -> None:
    if isinstance(array, (str, bytes)):
        raise TypeError(
            f"{name} must be an array or a table, got text: for a file, or the name of a column, "
            "use TableDataModule(path, target=...)"
        )


def _check_alike(whole: tuple[Tensor, Tensor], part: tuple[Tensor, Tensor], name: str) -> None:
    for kind, expected, got in zip(("inputs", "targets"), whole, part, strict=True):
        if got.shape[1:] != expected.shape[1:] or got.dtype != expected.dtype:
            raise ValueError(
                f"{name} {kind} must have rows like the training {kind}, {expected.dtype} of shape "
                f"{tuple(expected.shape[1:])}, got {got.dtype} of shape {tuple(got.shape[1:])}"
            )


def _weights(
    weights: Array | None, rows: int, splits: Mapping[str, Tensor]
) -> Mapping[str, list[Tensor]]:
    """Return the weights of the rows of each split in a list, which is empty without."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    if weights is not None:
        values = as_tensor(weights, "weights").to(torch.get_default_dtype())
        of_splits = values.shape == (rows,) and all(values[each].any() for each in splits.values())
        if not of_splits or (values < 0).any():
            raise ValueError(
                f"weights must be numbers of at least 0 for each of the {rows} rows, not all 0 in "
                f"a split, got shape {tuple(values.shape)}, {int((values < 0).sum())} below 0"
            )
        found |= {name: [values[chosen]] for name, chosen in splits.items()}
    return found


def _targets(
    training: Tensor, whole: Tensor, scaling: str | None, classes: list[str] | None
) -> Targets:
    if classes is not None:
        return Targets(["target"], classes)
    names = ["target"]
    if whole.dim() > 1:
        names = [f"target_{i}" for i in range(math.prod(whole.shape[1:]))]
    if whole.is_floating_point():
        return Targets(names, None, Scaler.fit(training, scaling))
    known = whole.dim() == 1 and 0 <= int(whole.min()) and int(whole.max()) < _MOST_CLASSES
    return Targets(names, list(range(int(whole.max()) + 1)) if known else None)
