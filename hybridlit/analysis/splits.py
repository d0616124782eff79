"""The batches of a datamodule, outside any Trainer."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from hybridlit.analysis.evaluation import rows_in, tensors_in
from hybridlit.data.splits import SPLITS
from hybridlit.templates.tasks import NoScoreError

__all__ = [
    "batches_of",
    "count_rows",
    "first_batches",
    "loader_of",
    "prepared",
    "same_rows",
    "warn_of_shared_rows",
]

_SET_UP = ("prepare_data", "setup", "teardown")


@contextmanager
def prepared(datamodule: LightningDataModule) -> Iterator[LightningDataModule]:
    """Set a datamodule up for training and testing; give it back to its Trainer at the end.

    Inside the block it stays as it is: every `Trainer.fit` asks it to set itself up again, and one
    that draws its split anew each time (`random_split` without a generator) would then hand test
    rows to the training. Such a datamodule still has another split here than the model had in its
    own training, so that what is said of a trained model is about rows that it may have learned
    from: draw the split with a seed.

    Args:
        datamodule: The datamodule.

    Yields:
        The same datamodule.

    Raises:
        TypeError: If it is no LightningDataModule.
    """
    if not isinstance(datamodule, LightningDataModule):
        raise TypeError(
            "datamodule must be a LightningDataModule, or a function from a seed to one, got "
            f"{type(datamodule).__name__}"
        )
    trainer = datamodule.trainer
    own = {name: vars(datamodule)[name] for name in _SET_UP if name in vars(datamodule)}
    try:
        datamodule.prepare_data()
        datamodule.setup("fit")
        datamodule.setup("test")
        vars(datamodule).update(dict.fromkeys(_SET_UP, _stay_as_it_is))
        yield datamodule
    finally:
        datamodule.trainer = trainer
        for name in _SET_UP:
            vars(datamodule).pop(name, None)
        vars(datamodule).update(own)


def _stay_as_it_is(stage: str | None = None) -> None:
    """Stand in for what a Trainer calls on a datamodule before and after a run."""


def loader_of(datamodule: LightningDataModule, split: str) -> Iterable[Any]:
    """Return the loader of a split of a datamodule that is set up; an empty list if it has none.

    Of several validation or test loaders it is the first, by which a run is judged.

    Raises:
        ValueError: If there are several training loaders.
    """
    name = f"{split}_dataloader"
    if split == "calibration":  # which Lightning does not know
        if not hasattr(datamodule, name):
            return []
    elif not is_overridden(name, datamodule, LightningDataModule):
        return []
    loader = getattr(datamodule, name)()
    if not isinstance(loader, (list, tuple, dict)) or not len(loader):
        found: Iterable[Any] = loader
        return found
    if split == "train" and (isinstance(loader, dict) or len(loader) > 1):
        raise ValueError(
            f"{name} must return one loader, got a {type(loader).__name__} of {len(loader)}"
        )
    found = next(iter(loader.values() if isinstance(loader, dict) else loader))
    return found


def batches_of(datamodule: LightningDataModule, split: str) -> list[Any]:
    """Return all batches of a split, in memory, so that every model sees the same rows.

    Raises:
        NoScoreError: If there are none.
    """
    found = list(loader_of(datamodule, split))
    if not found:
        raise NoScoreError(
            f"{type(datamodule).__name__} has no {split} data: scores are taken on test rows that "
            "neither training nor the choice of a checkpoint has seen"
        )
    return found


def first_batches(datamodule: LightningDataModule, split: str, count: int) -> list[Any]:
    """Return the first batches of a split: fewer than `count`, or none, if there are no more."""
    return list(islice(loader_of(datamodule, split), count))


def count_rows(datamodule: LightningDataModule, split: str) -> int:
    """Count the rows of a split."""
    return sum(rows_in(batch) or 0 for batch in loader_of(datamodule, split))


def warn_of_shared_rows(datamodule: LightningDataModule) -> list[str]:
    """Compare the rows of the splits, inputs and targets, and warn where some are in two of them.

    Scores on test rows that a training or the choice of a checkpoint has seen are too good. A few
    may be alike by nature, in data of few distinct values for instance. Every split is read once.

    Returns:
        What was warned of, a sentence for each pair of splits.
    """
    known = {split: _digests(loader_of(datamodule, split)) for split in ("train", "val", "test")}
    found = []
    for one, other in (("test", "train"), ("test", "val"), ("val", "train")):
        seen = set(known[other])
        shared = sum(row in seen for row in known[one])
        if shared:
            found.append(
                f"{shared} of {len(known[one])} rows of the {SPLITS[one]} data are in the "
                f"{SPLITS[other]} data too, so that scores on them are too good: draw splits that "
                "have no row in common"
            )
            warnings.warn(found[-1], stacklevel=3)
    return found


def same_rows(one: LightningDataModule, other: LightningDataModule, split: str) -> bool:
    """Tell whether a split has the same rows in two datamodules that are set up, in any order."""
    ours, theirs = (sorted(_digests(loader_of(each, split))) for each in (one, other))
    return ours == theirs


def _digests(batches: Iterable[Any]) -> list[bytes]:
    """A digest of each row of batches, of all tensors that have as many rows as the first."""
    found = []
    for batch in batches:
        rows = rows_in(batch) or 0
        arrays = [
            (tensor.double() if tensor.is_floating_point() else tensor).detach().cpu().numpy()
            for tensor in tensors_in(batch)
            if tensor.dim() and len(tensor) == rows
        ]
        for row in range(rows):
            digest = hashlib.blake2b(digest_size=16)
            for array in arrays:
                digest.update(array[row].tobytes())
            found.append(digest.digest())
    return found
