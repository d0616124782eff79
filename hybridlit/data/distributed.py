"""Which rows each of several processes takes of an order that all of them know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DistributedSampler, Sampler

from hybridlit.ranks import rank, world_size

__all__ = ["SharedSampler"]


class SharedSampler(DistributedSampler[Any]):
    """The share of this process in the order of a sampler, which is the same in all processes.

    Of n processes with batches of b rows, a step takes the next n * b rows of the order, as one
    process with batches of n * b rows would, and each process every n-th of them. No row comes
    twice and none is left out, unless a last step has fewer rows than there are processes: those
    without one repeat the first, since a step of training needs all processes. (torch's
    `DistributedSampler` repeats up to n - 1 rows in every epoch, and has an order of its own.)
    Lightning puts no sampler of its own in the place of a `DistributedSampler`, whatever
    `Trainer(use_distributed_sampler=...)` says.

    Args:
        sampler: The sampler; with a `set_epoch` its order may be another one in each epoch.
        batch_size: Rows of a batch of one process, at least 1.
        drop_last: Whether a last step of fewer rows is left out.

    Attributes:
        even: Whether all processes get as many batches; initially True. Evaluation needs no rows
            that are repeated for that.
    """

    def __init__(self, sampler: Sampler[Any], batch_size: int, drop_last: bool = False) -> None:
        # not that of the base class, which must know the processes before there are any
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last
        self.even = True

    @property
    def epoch(self) -> int:  # type: ignore[override]
        """The epoch whose order it is, from 0."""
        return int(getattr(self.sampler, "epoch", 0))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, from 0."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        step = world_size() * self.batch_size
        steps, rest = divmod(len(self.sampler), step)  # type: ignore[arg-type]
        last = 0 if self.drop_last else len(self._share(range(rest)))
        return steps * self.batch_size + last

    def __iter__(self) -> Iterator[Any]:
        order, step = list(self.sampler), world_size() * self.batch_size
        end = len(order) - len(order) % step if self.drop_last else len(order)
        for start in range(0, end, step):
            yield from self._share(order[start : start + step])

    def _share(self, rows: Any) -> Any:
        own = rows[rank() :: world_size()]
        return own if len(own) or not self.even else rows[:1]
