"""A LightningDataModule over arrays in memory: split, scale, batch."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from hybridlit.data.batches import batches
from hybridlit.data.scaling import SCALINGS, Scaler
from hybridlit.data.splits import split_rows
from hybridlit.photonics.validation import choice, integer, number

__all__ = ["Array", "ArrayDataModule"]

Array = npt.ArrayLike | Tensor


class ArrayDataModule(LightningDataModule):
    """Training, validation and test data from arrays.

    Validation and test data that are not given are split off the training data, stratified by class
    when the targets are integers of shape (rows,). The scaling is fitted on the training rows only,
    whatever was split off or given. Inputs become torch's default dtype (float32), integer targets
    int64, other targets the default dtype. The order of the training batches depends on `seed` and
    the epoch alone: the global random number generator is neither read nor moved.

    Args:
        inputs: Features of shape (rows, ...), array or tensor, real and finite.
        targets: Targets of shape (rows, ...), array or tensor, real and finite.
        val: Pair of validation inputs and targets; None: split off.
        test: Pair of test inputs and targets; None: split off.
        val_fraction: Share of the rows of `inputs` to split off for validation, in [0, 1); 0: none.
            Not used when `val` is given.
        test_fraction: The same for the test data.
        scaling: `"standard"` (mean 0, standard deviation 1 of each feature), `"minmax"` (0 to 1),
            or None. A feature that is constant in the training rows becomes 0.
        target_scaling: The same for targets that are not integers; losses and metrics are then in
            scaled units, and `unscale_targets` brings predictions back.
        batch_size: Rows in a batch, at least 1; the last batch may be smaller.
        seed: Seed of the split and of the order of the training batches.
        num_workers: Number of loading processes, at least 0; 0 is fastest for data in memory.

    Attributes:
        train: Training inputs and targets as scaled tensors.
        val: Validation inputs and targets, or None.
        test: Test inputs and targets, or None.

    Raises:
        TypeError: If an argument has the wrong type, or an array is not real.
        ValueError: If shapes disagree, values are not finite, or a split would be empty.

    Example:
        >>> data = ArrayDataModule(torch.randn(100, 3), torch.arange(100) % 2, batch_size=16)
        >>> [len(part[0]) for part in (data.train, data.val, data.test)]
        [60, 20, 20]
    """

    train: tuple[Tensor, Tensor]
    val: tuple[Tensor, Tensor] | None
    test: tuple[Tensor, Tensor] | None

    def __init__(
        self,
        inputs: Array,
        targets: Array,
        *,
        val: tuple[Array, Array] | None = None,
        test: tuple[Array, Array] | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        scaling: Literal["standard", "minmax"] | None = "standard",
        target_scaling: Literal["standard", "minmax"] | None = None,
        batch_size: int = 64,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        val_fraction = 0.0 if val is not None else val_fraction
        test_fraction = 0.0 if test is not None else test_fraction
        number(val_fraction, "val_fraction", minimum=0.0, below=1.0)
        number(test_fraction, "test_fraction", minimum=0.0, below=1.0)
        if val_fraction + test_fraction >= 1:
            raise ValueError(
                "val_fraction + test_fraction must be below 1, got "
                f"{val_fraction} + {test_fraction}: nothing is left to train on"
            )
        for name, method in [("scaling", scaling), ("target_scaling", target_scaling)]:
            if method is not None:
                choice(method, name, SCALINGS)
        self.batch_size = integer(batch_size, "batch_size", 1)
        self.seed = integer(seed, "seed", 0)
        self.num_workers = integer(num_workers, "num_workers", 0)

        whole = _pair((inputs, targets), "")
        given = {"val": val, "test": test}
        parts = {name: _pair(pair, f"{name} ") for name, pair in given.items() if pair is not None}
        for name, part in parts.items():
            _check_alike(whole, part, name)
        if target_scaling is not None and not whole[1].is_floating_point():
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
        self._scaler = Scaler.fit(parts["train"][0], scaling)
        self._target_scaler = Scaler.fit(parts["train"][1], target_scaling)
        self.train = self._scaled(parts["train"])
        self.val = self._scaled(parts["val"]) if "val" in parts else None
        self.test = self._scaled(parts["test"]) if "test" in parts else None

    @property
    def num_features(self) -> int:
        """Number of features in a row."""
        return self.train[0][0].numel()

    @property
    def num_classes(self) -> int:
        """Number of classes: the largest class index of any split, plus 1.

        Raises:
            ValueError: If the targets are real.
        """
        if self.train[1].is_floating_point():
            raise ValueError("num_classes needs integer targets, got real ones")
        parts = [part for part in (self.train, self.val, self.test) if part is not None]
        return max(int(targets.max()) for _, targets in parts) + 1

    def scale(self, inputs: Array) -> Tensor:
        """Scale new inputs as the training inputs were.

        Args:
            inputs: Features of shape (rows, ...), real and finite.

        Returns:
            What the model takes, of the same shape.
        """
        return self._scaler(_tensor(inputs, "inputs").double()).to(torch.get_default_dtype())

    def unscale_targets(self, predictions: Tensor) -> Tensor:
        """Bring predictions of a model trained on scaled targets back into the original units.

        Args:
            predictions: Predictions of shape (rows,) or (rows, 1) for targets of shape (rows,), or
                the shape of the targets.

        Returns:
            Predictions in original units, of the same shape.
        """
        return self._target_scaler.inverse(predictions.double()).to(predictions.dtype)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return shuffled batches of the training data."""
        return self._batches(self.train, self.seed)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[Any]:
        """Return batches of the validation data in order; an empty list if there are none."""
        return [] if self.val is None else self._batches(self.val, None)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[Any]:
        """Return batches of the test data in order; an empty list if there are none."""
        return [] if self.test is None else self._batches(self.test, None)

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[Any]:
        """Return batches of the test data in order; an empty list if there are none."""
        return self.test_dataloader()

    def _batches(
        self, part: tuple[Tensor, Tensor], seed: int | None
    ) -> DataLoader[tuple[Tensor, Tensor]]:
        return batches(*part, batch_size=self.batch_size, seed=seed, num_workers=self.num_workers)

    def _scaled(self, part: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = part
        dtype = torch.get_default_dtype()
        if targets.is_floating_point():
            targets = self._target_scaler(targets).to(dtype)
        return self._scaler(inputs).to(dtype), targets


def _tensor(array: Array, name: str) -> Tensor:
    """Return a checked array as a CPU tensor: float64 for real values, int64 for integers."""
    if not isinstance(array, Tensor):
        values = np.asarray(array)
        if values.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}")
        array = torch.from_numpy(np.ascontiguousarray(values))
    tensor = array.detach().cpu()
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got dtype {tensor.dtype}")
    if not tensor.is_floating_point():
        return tensor.long()
    bad = (~torch.isfinite(tensor)).nonzero()
    if len(bad):
        raise ValueError(
            f"{name} must be finite, got {len(bad)} NaN or infinite values, the first at index "
            f"{tuple(bad[0].tolist())}: drop or fill these rows"
        )
    return tensor.double()


def _pair(pair: tuple[Array, Array], name: str) -> tuple[Tensor, Tensor]:
    inputs = _tensor(pair[0], f"{name}inputs").double()
    targets = _tensor(pair[1], f"{name}targets")
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
