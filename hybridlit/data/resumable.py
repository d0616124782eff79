"""A DataLoader that can go on in the middle of an epoch, with the batches that it would have given.

Lightning writes the state of such a loader into its checkpoints. `ExactResume` sees to the rest.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    get_worker_info,
)

from hybridlit.argument_types import checked
from hybridlit.checks import random_seed
from hybridlit.data.distributed import SharedSampler
from hybridlit.ranks import rank

__all__ = ["EndedByParentOnly", "EpochSeeded", "ResumableLoader", "seed_generators"]


class EpochSeeded(Sampler[Any]):
    """Any sampler, its order made a function of seed and epoch alone.

    The order is drawn with torch's global generator seeded for the epoch; the generator is put back
    afterwards. Lightning calls `set_epoch` at the start of each epoch.

    Args:
        sampler: The sampler; it must draw from torch's global generator, or from none.
        seed: Seed of the order, from 0 to 2**32 - 1.

    Raises:
        TypeError: If `seed` is no integer.
        ValueError: If `seed` is negative, or the sampler has a generator of its own.

    Example:
        >>> from torch.utils.data import RandomSampler
        >>> order = EpochSeeded(RandomSampler(range(6)), seed=0)
        >>> first = list(order)
        >>> order.set_epoch(1)
        >>> second = list(order)
        >>> order.set_epoch(0)
        >>> list(order) == first, second == first
        (True, False)
    """

    def __init__(self, sampler: Sampler[Any], seed: int) -> None:
        if getattr(sampler, "generator", None) is not None:
            raise ValueError(
                f"the order of {type(sampler).__name__} comes from a generator of its own, which "
                "cannot be repeated: make the sampler without generator=..., the seed decides"
            )
        self.sampler = sampler
        self.seed = random_seed(seed, "seed")
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(_seed_of(self.seed, self.epoch))
            order = list(self.sampler)
        return iter(order)


class ResumableLoader(DataLoader[Any]):
    """A DataLoader with a `state_dict`: how many batches of the epoch it has handed out, and which.

    After `load_state_dict` the next pass begins behind these batches, which are skipped by index,
    not read. What workers have fetched ahead does not count. The order of an epoch depends on
    `seed` and the epoch alone (`EpochSeeded`, unless the sampler has a `set_epoch` itself). Random
    numbers that the data set draws in a worker process depend on seed, epoch and batch alone, the
    number of workers included; those it draws in the main process (`num_workers=0`) come from the
    global generators, whose state `ExactResume` keeps. Several processes share the rows of each
    step as `hybridlit.data.distributed` says, unless the sampler is a `DistributedSampler`.

    Args:
        dataset: Any data set with a length, and items by index.
        batch_size: Rows in a batch, at least 1; None: no batches, as for a `DataLoader`.
        shuffle: Visit the rows in another order each epoch.
        sampler: A sampler instead of `shuffle`.
        seed: Seed of the order, and of the random numbers in workers, from 0 to 2**32 - 1.
        **options: The other arguments of `DataLoader`, except `generator`. A `batch_sampler` must
            be made of a sampler with `set_epoch`, such as `EpochSeeded`.

    Raises:
        TypeError: If the data set has no length, or `seed` is no integer.
        ValueError: If `seed` is negative, the sampler has a generator of its own, the order of a
            `batch_sampler` is none of the epoch's, or `options` has a `generator`.

    Example:
        >>> loader = ResumableLoader(range(6), batch_size=2)
        >>> batches = iter(loader)
        >>> next(batches), loader.state_dict()["position"]
        (tensor([0, 1]), 1)
        >>> again = ResumableLoader(range(6), batch_size=2)
        >>> again.load_state_dict(loader.state_dict())
        >>> list(again)
        [tensor([2, 3]), tensor([4, 5])]
    """

    @checked
    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | None = None,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"dataset must have a length and items by index, got {type(dataset).__name__}: a "
                "stream cannot be entered in the middle without reading what comes before"
            )
        if options.pop("generator", None) is not None:
            raise ValueError("give a seed instead of a generator, whose state is not kept")
        batch_sampler = options.get("batch_sampler")
        if batch_sampler is not None:
            if not hasattr(getattr(batch_sampler, "sampler", None), "set_epoch"):
                raise ValueError(
                    f"the order of {type(batch_sampler).__name__} cannot be repeated, since its "
                    "sampler has no set_epoch: make it of EpochSeeded(sampler, seed), for example "
                    "BatchSampler(EpochSeeded(RandomSampler(dataset), seed=0), 32, drop_last=False)"
                )
        else:
            if shuffle and sampler is not None:
                raise ValueError("give either shuffle=True or a sampler, got both")
            if sampler is None:
                sampler = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
            if not hasattr(sampler, "set_epoch"):
                sampler = EpochSeeded(sampler, seed)
            if not isinstance(sampler, DistributedSampler):
                drop_last = bool(options.get("drop_last"))
                sampler = SharedSampler(sampler, batch_size or 1, drop_last)
        super().__init__(dataset, batch_size, None, sampler, **options)
        self.seed = random_seed(seed, "seed")
        self._position = 0
        self._start = 0
        self._worker_loader: DataLoader[Any] | None = None
        self._indices = _Indices()

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches of the epoch have been handed out, and what they depend on."""
        return {"position": self._position, **self._made_of()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next pass behind the batches that were handed out when the state was saved.

        At the end of an epoch, the next pass is a whole one, and may be of other batches. Amid an
        epoch, other batches are a `ValueError`.
        """
        position, batches = state["position"], len(self)
        before = state.get("batches", batches)  # 0.1 did not save it
        amid = bool(position % max(before, 1))
        if not 0 <= position <= (batches if amid else before):
            raise ValueError(
                f"the checkpoint was saved after batch {position} of an epoch, and this one has "
                f"{batches} batches: resume with the same data, batch_size and number of processes"
            )
        if amid:
            for name, value in self._made_of().items():
                if state.get(name, value) != value:
                    raise ValueError(
                        f"the checkpoint was saved amid an epoch, with {name}={state[name]}, and "
                        f"this run has {name}={value}: its epoch would be neither the one nor the "
                        "other. Resume with the same data, or from a checkpoint that was saved at "
                        "the end of an epoch"
                    )
        self._start = self._position = position % max(before, 1)

    def _made_of(self) -> dict[str, Any]:
        """Return what the batches of an epoch depend on."""
        order = self.batch_sampler
        return {
            "batch_size": getattr(order, "batch_size", self.batch_size),
            "rows": len(self.dataset),  # type: ignore[arg-type]
            "seed": self.seed,
            "batches": len(self),
        }

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator: nothing happens before the first batch is asked for. Lightning makes the
        # iterator of a resumed run before it sets the epoch and, sometimes, before it loads states.
        start, self._start = self._start, 0
        order = self.sampler if self.batch_sampler is None else self.batch_sampler
        epoch = getattr(order, "epoch", getattr(getattr(order, "sampler", None), "epoch", 0))
        numbered = [((self.seed, rank(), epoch, n), rows) for n, rows in enumerate(order)]
        self._indices.batches = numbered[start:]
        for position, batch in enumerate(self._loader(), start + 1):
            self._position = position
            yield batch

    def _loader(self) -> DataLoader[Any]:
        """Return what fetches the batches; with persistent workers always the same."""
        if self._worker_loader is not None:
            return self._worker_loader
        batched = self.batch_sampler is not None
        loader: DataLoader[Any] = DataLoader(
            _SeededInWorkers(self.dataset),
            batch_size=1 if batched else None,
            batch_sampler=self._indices if batched else None,
            sampler=None if batched else self._indices,
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            pin_memory=self.pin_memory,
            timeout=self.timeout,
            worker_init_fn=EndedByParentOnly(self.worker_init_fn),
            multiprocessing_context=self.multiprocessing_context,
            prefetch_factor=self.prefetch_factor,
            persistent_workers=self.persistent_workers,
            pin_memory_device=self.pin_memory_device,
            generator=torch.Generator(),  # workers are seeded below: leave the global one alone
        )
        if self.persistent_workers:
            self._worker_loader = loader
        return loader


class EndedByParentOnly:
    """Let a worker of a DataLoader pass over SIGTERM, unless its parent has sent it.

    A job that is stopped gets SIGTERM in all its processes at once, and Lightning ends the training
    step first. Without workers it could not: torch raises an error in the midst of it instead.
    Where the system does not tell who sends a signal, as on macOS and Windows, nothing changes.

    Args:
        then: The `worker_init_fn` that the user has given; None: none.
    """

    def __init__(self, then: Callable[[int], None] | None = None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        """Prepare this process, which is the worker of a number, from 0."""
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None and hasattr(signal, "sigwaitinfo"):
            # the thread inherits the mask; torch's own handler would end the process in any case
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_wait_for, args=(parent.pid,), daemon=True).start()
        if self.then is not None:
            self.then(worker)


def _wait_for(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


class _Indices(Sampler[Any]):
    """The indices of the batches of a pass, each with what its random numbers depend on."""

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[int, int, int, int], Any]] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class _SeededInWorkers(Dataset[Any]):
    """A data set whose random numbers in a worker depend on the batch, not on its history."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, numbered: tuple[tuple[int, ...], Any]) -> Any:
        _seed_worker(numbered[0])
        return self.dataset[numbered[1]]

    def __getitems__(self, numbered: tuple[tuple[int, ...], list[Any]]) -> Any:
        seed, rows = numbered
        _seed_worker(seed)
        fetch = getattr(self.dataset, "__getitems__", None)
        return [self.dataset[row] for row in rows] if fetch is None else fetch(rows)


def _seed_worker(entropy: tuple[int, ...]) -> None:
    if get_worker_info() is not None:
        seed_generators(*entropy)


def seed_generators(*entropy: int) -> None:
    """Seed the global generators of torch, Python and numpy with a mixture of integers."""
    seed = _seed_of(*entropy)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def _seed_of(*entropy: int) -> int:
    """Mix integers into one seed, so that neighbouring ones share nothing."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
