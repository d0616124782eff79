"""Batches of tensors held in memory, shuffled the same way in every run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hybridlit.data.resumable import EndedByParentOnly, ResumableLoader

__all__ = ["AlikeBatches", "EpochShuffle", "batches"]

Batch = tuple[Tensor, ...]


class EpochShuffle(Sampler[int]):
    """A random order that is a pure function of seed and epoch.

    It draws nothing from the global random number generator, so that data order and weight
    initialization do not depend on one another, and passing over the data twice in an epoch gives
    the same order twice. Lightning calls `set_epoch` at the start of each epoch.

    Args:
        data: What to draw indices of.
        seed: Seed of the order.
    """

    def __init__(self, data: Sized, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[int]:
        # spread the seeds apart: seed + epoch alone would share orders between neighbouring seeds
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(len(self), generator=generator).tolist()


class AlikeBatches(Sampler[list[int]]):
    """Batches of rows that are of one kind each; the rows of every epoch come in another order.

    Args:
        kinds: Number of the kind of each row, (rows,).
        batch_size: Rows in a batch; the last one of each kind may be smaller.
        seed: Seed of the order.
    """

    drop_last = False

    def __init__(self, kinds: Tensor, batch_size: int, seed: int) -> None:
        self.kinds: list[int] = kinds.tolist()
        self.batch_size = batch_size
        self.sampler = EpochShuffle(self.kinds, seed)

    def __len__(self) -> int:
        counts = torch.tensor(self.kinds).unique(return_counts=True)[1]
        return int((-(-counts // self.batch_size)).sum())

    def __iter__(self) -> Iterator[list[int]]:
        waiting: dict[int, list[int]] = defaultdict(list)
        for row in self.sampler:
            waiting[self.kinds[row]].append(row)
            if len(waiting[self.kinds[row]]) == self.batch_size:
                yield waiting.pop(self.kinds[row])
        yield from waiting.values()


def batches(
    *parts: Tensor,
    batch_size: int,
    seed: int | None,
    num_workers: int,
    drop_last: bool = False,
    prepare: Callable[[Tensor], Any] | None = None,
    kinds: Tensor | None = None,
) -> DataLoader[Batch]:
    """Return a loader of batches of the rows of tensors; the last one may be smaller.

    With a `seed` the order is another one in each epoch, and the loader can go on amid an epoch;
    without one, rows come in order. No loading processes are fastest for data in memory. `prepare`
    is called with the first tensor's rows of each batch. With `kinds`, a number for each row, those
    of a seed are `AlikeBatches`.
    """
    data = _Rows(parts, prepare)
    if seed is not None and kinds is not None:
        alike = AlikeBatches(kinds, batch_size, seed)
        return ResumableLoader(
            data,
            seed=seed,
            batch_sampler=alike,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            collate_fn=_as_they_are,
        )
    options: dict[str, Any] = dict(
        batch_size=batch_size,
        drop_last=drop_last,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=_as_they_are,
    )
    if seed is not None:
        return ResumableLoader(data, sampler=EpochShuffle(data, seed), seed=seed, **options)
    return DataLoader(
        data,
        worker_init_fn=EndedByParentOnly(),
        generator=torch.Generator(),  # iterating leaves the global one alone
        **options,
    )


class _Rows(Dataset[Batch]):
    """Rows of tensors of one length, a whole batch in one indexing operation."""

    preprocessing: object = None  # how they were prepared, for a model that is given a loader alone

    def __init__(self, parts: Batch, prepare: Callable[[Tensor], Any] | None) -> None:
        self.parts, self.prepare = parts, prepare

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(_first(part) for part in self.__getitems__([index]))

    def __getitems__(self, indices: list[int]) -> Batch:
        first, *others = (part[indices] for part in self.parts)
        inputs: Any = first if self.prepare is None else self.prepare(first)
        return (inputs, *others)


def _first(part: Any) -> Any:
    return {name: each[0] for name, each in part.items()} if isinstance(part, dict) else part[0]


def _as_they_are(batch: Any) -> Any:
    return batch
