"""A LightningDataModule over prepared rows in memory: the base of those of this package."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from hybridlit.checks import integer, random_seed
from hybridlit.constructors import check_constructors, plain
from hybridlit.data.batches import batches
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.splits import SPLITS, check_fractions, split_rows

__all__ = ["Part", "RowsDataModule"]

Part: TypeAlias = tuple[Tensor, ...]
"""Inputs and targets of a split, and weights of its rows if there are any."""


class RowsDataModule(LightningDataModule):
    """Training, validation and test rows, prepared, as batches.

    A subclass checks and reads its data in `__init__`, after `super().__init__()`, and sets the
    attributes. Arguments are as for `ArrayDataModule`.

    Attributes:
        train: Training inputs and targets as prepared tensors, and weights of the rows if given.
        val: Validation inputs and targets, or None.
        test: Test inputs and targets, or None.
        calibration: Inputs and targets that neither training nor the choice of a checkpoint sees,
            for `calibrate`, or None.
        preprocessing: What was fitted to the training rows; a model takes it over in `fit`.
    """

    train: Part
    val: Part | None
    test: Part | None
    calibration: Part | None = None
    preprocessing: Preprocessing
    _prepares_batches = False  # rows are kept raw, and prepared when they are fetched
    _kinds: Tensor | None = None  # of the training rows, if batches are of one kind each

    def __init__(
        self,
        *,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        test_seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        check_constructors(self, inspect.currentframe())
        self.batch_size = integer(batch_size, "batch_size", 1)
        self.drop_last = drop_last
        self.seed = random_seed(seed, "seed")
        self.test_seed = None if test_seed is None else random_seed(test_seed, "test_seed")
        self.num_workers = integer(num_workers, "num_workers", 0)

    @property
    def seeds(self) -> dict[str, Any]:
        """The seeds that decide the split, as `split_rows` takes them."""
        return {"seed": self.seed, "test_seed": self.test_seed}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one prepared row."""
        return tuple(self.train[0].shape[1:])

    @property
    def num_features(self) -> int:
        """Number of features in a row."""
        return math.prod(self.input_shape)

    @property
    def num_classes(self) -> int:
        """Number of classes: the largest class index of any split, plus 1; not of real targets."""
        if self.train[1].is_floating_point() or math.prod(self.train[1].shape[1:]) > 1:
            raise ValueError("num_classes needs integer targets, one a row, got others")
        return max(int(part[1].max()) for part in self._parts().values()) + 1

    def output_dim(self, task: str) -> int:
        """Return the number of outputs that a model for a task needs.

        Classes for `"multiclass"`, 1 for `"binary"`, otherwise the number of values in a target.
        """
        if task == "multiclass":
            return self.num_classes
        return 1 if task == "binary" else math.prod(self.train[1].shape[1:])

    def unscale_targets(self, predictions: Tensor) -> Tensor:
        """Bring predictions of a model trained on scaled targets back into the original units.

        They have the shape of the targets; for targets (rows,) also (rows, 1).
        """
        return self.preprocessing.targets.inverse(predictions).to(predictions.dtype)

    def split_off(
        self,
        targets: Tensor,
        given: Collection[str],
        val: float,
        test: float,
        stratify: bool,
        calibration: float = 0.0,
    ) -> dict[str, Tensor]:
        """Return the rows of each split, as `split_rows` does, without those of splits given.

        `val`, `test` and `calibration` are their shares of the rows. A split without rows is left
        out.
        """
        shares = {"val": val, "test": test, "calibration": calibration}
        fractions = {name: 0.0 if name in given else share for name, share in shares.items()}
        check_fractions(fractions)
        rows = split_rows(targets, fractions, stratify=stratify, **self.seeds)
        self.check_drop_last(len(rows["train"]))
        return {name: chosen for name, chosen in rows.items() if len(chosen)}

    def keep_arguments(self, ignore: Sequence[str] = ()) -> None:
        """Keep what the constructor that calls this was given in checkpoints, as plain values.

        It is not logged: a logger refuses a model argument of the same name.
        """
        frame = inspect.currentframe()
        self.save_hyperparameters(logger=False, ignore=ignore, frame=frame and frame.f_back)
        self.hparams.update(plain(dict(self.hparams)))
        for name, value in self.hparams.items():
            if isinstance(value, os.PathLike):
                self.hparams[name] = os.fspath(value)

    def check_drop_last(self, rows: int) -> None:
        """Refuse `drop_last` where it would leave nothing of so many training rows."""
        if self.drop_last and rows < self.batch_size:
            raise ValueError(
                f"drop_last=True leaves nothing of {rows} training rows in batches of "
                f"batch_size={self.batch_size}: lower batch_size"
            )

    def train_dataloader(self) -> DataLoader[Part]:
        """Return shuffled batches of the training data."""
        return self._batches(self.train, self.seed, drop_last=self.drop_last)

    def val_dataloader(self) -> DataLoader[Part] | list[Any]:
        """Return batches of the validation data in order; an empty list if there are none."""
        return [] if self.val is None else self._batches(self.val, None)

    def test_dataloader(self) -> DataLoader[Part] | list[Any]:
        """Return batches of the test data in order; an empty list if there are none."""
        return [] if self.test is None else self._batches(self.test, None)

    def calibration_dataloader(self) -> DataLoader[Part] | list[Any]:
        """Return batches of the calibration data in order; an empty list if there are none."""
        return [] if self.calibration is None else self._batches(self.calibration, None)

    def predict_dataloader(self) -> DataLoader[Part] | list[Any]:
        """Return batches of the test data in order; an empty list if there are none."""
        return self.test_dataloader()

    def rows_by_split(self) -> dict[str, int]:
        """Return the number of rows of each split; those of calibration if there are any."""
        return {"train": 0, "val": 0, "test": 0} | {n: len(p[0]) for n, p in self._parts().items()}

    def _parts(self) -> dict[str, Part]:
        named = ((name, getattr(self, name)) for name in SPLITS)
        return {name: part for name, part in named if part is not None}

    @property
    def _prepare(self) -> Callable[[Tensor], Any] | None:
        """What makes the inputs of a batch of rows, if they are not inputs already."""
        return self.preprocessing.inputs if self._prepares_batches else None

    def _batches(self, part: Part, seed: int | None, drop_last: bool = False) -> DataLoader[Part]:
        loader = batches(
            *part,
            batch_size=self.batch_size,
            seed=seed,
            num_workers=self.num_workers,
            drop_last=drop_last,
            prepare=self._prepare,
            kinds=self._kinds,
        )
        loader.dataset.preprocessing = self.preprocessing  # type: ignore[attr-defined]
        return loader
