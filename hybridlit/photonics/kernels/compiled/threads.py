"""Threads and scratch memory for the compiled kernels.

Work is cut into tasks, which threads take one after another as they come: tiles of the batch are
independent, and so are the states of a tile that have as many photons. Threads are those of torch's
own operations where it has some for others, else some of Python.
"""

from __future__ import annotations

import os
import threading
from array import array
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hybridlit.internals.openmp import parallel_regions
from hybridlit.photonics.kernels.compiled.layout import TEAM_GAP
from hybridlit.photonics.kernels.compiled.machine_code import address_of, entry_point
from hybridlit.photonics.machine import available_memory

__all__ = ["Cut", "aligned", "scratch", "together", "worthwhile"]

#: Forward multiply-adds a thread must get to be worth its start and wait.
THREAD_WORK = 750_000
#: Scratch memory up to this many bytes a worker is kept by its thread between calls, and more where
#: it is at most one part in so many of what the process may still take: the system has to clear
#: memory anew, which is a third of a step at (20, 10, 8).
KEPT_SCRATCH, KEPT_PART = 16 << 20, 8

_local = threading.local()
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_forked = False
_parallel_regions = cache(parallel_regions)


class Cut(NamedTuple):
    """An argument that is not the same for all tasks.

    Attributes:
        first: For the first task of the first worker.
        task: What each task adds.
        worker: What each worker adds.
        most: What it is at the most.
    """

    first: int
    task: int = 0
    worker: int = 0
    most: int = 2**63 - 1


def _after_fork() -> None:
    global _pool, _lock, _forked
    _pool, _lock = None, threading.Lock()  # the threads are the parent's
    _forked = True
    if _parallel_regions.cache_info().currsize:
        # torch's own operations would wait for threads of the parent for ever. Its workers that
        # load data do the same.
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def aligned(scalars: int, itemsize: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Return new memory for `scalars` numbers and its first address on a cache line."""
    memory = np.empty(scalars * itemsize + 64, dtype=np.uint8)
    return memory, (memory.ctypes.data + 63) & -64


def scratch(scalars: int, itemsize: int, workers: int = 1) -> tuple[Any, int]:
    """Return scratch memory of this thread and its address.

    Args:
        scalars: Numbers that it holds.
        itemsize: Bytes of a number.
        workers: How many threads share it.

    Returns:
        What to keep alive as long as the memory is used, and where it begins, on a cache line.
    """
    size = scalars * itemsize
    held = getattr(_local, "scratch", None)
    if held is not None and held[1] >= size:
        return held[0], held[2]
    lasting = size <= KEPT_SCRATCH * workers or size <= available_memory() // KEPT_PART
    if lasting:
        held = _local.scratch = None  # before there is more
    memory, address = aligned(scalars, itemsize)
    if lasting:
        _local.scratch = (memory, size, address)
    return memory, address


def worthwhile(work: int, tasks: int, threads: int) -> int:
    """Return how many threads pay off for `work` multiply-adds in so many tasks."""
    return max(1, min(threads, tasks, work // THREAD_WORK))


def together(
    name: str, itemsize: int, tasks: int, workers: int, arguments: tuple[int | Cut, ...]
) -> bool:
    """Call an entry point for each of many tasks, on several threads, this one included.

    Args:
        name: Of the entry point.
        itemsize: As for `entry_point`.
        tasks: How many there are. Which worker does which is not known before.
        workers: How many threads at the most.
        arguments: Those of the entry point.

    Returns:
        Whether a call returned another number than 0.

    Raises:
        RuntimeError: If a call failed.
    """
    given: list[int] = []
    cuts: list[int] = []
    for place, argument in enumerate(arguments):
        if isinstance(argument, Cut):
            given.append(argument.first)
            cuts += place, *argument[1:]
        else:
            given.append(argument)
    count = len(given)
    head = [0, 0, 0, 0, tasks, address_of(name, itemsize), count, len(cuts) // 4]
    room = TEAM_GAP + workers * (count + TEAM_GAP)
    team = array("q", (*head, *given, *cuts, *(0,) * room))
    team_at = team.buffer_info()[0]
    share = array("q", (team_at,))
    parallel = None if _forked else _parallel_regions()
    if parallel is not None:
        parallel(address_of("team.share"), share.buffer_info()[0], workers, 0)
    else:
        _in_pool(team_at, workers)
    if team[3]:
        raise RuntimeError(f"{name} failed")
    return bool(team[2])


def _in_pool(team_at: int, workers: int) -> None:
    call = entry_point("team.share")
    pool = _executor()
    rest: list[Future[Any]] = []
    try:
        for _ in range(1, workers):
            rest.append(pool.submit(call, team_at))
        call(team_at)
    finally:
        # The others write to the caller's memory: never leave before they have ended.
        wait(rest)
    for future in rest:
        future.result()


def _executor() -> ThreadPoolExecutor:
    """Return this process's pool, which starts a thread when no other is free."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(4 * (os.cpu_count() or 8), thread_name_prefix="photonic")
        return _pool
