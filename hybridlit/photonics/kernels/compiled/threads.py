"""Threads and scratch memory for the compiled kernels.

Tiles of a batch are independent, so threads share nothing but read-only tables.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["aligned", "run_tiles", "scratch", "worthwhile"]

#: Forward multiply-adds a thread must get to be worth its 60 us of start and wait.
THREAD_WORK = 1_500_000
#: Scratch memory up to this many bytes is kept by its thread between calls.
KEPT_SCRATCH = 16 << 20

_local = threading.local()
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _executor() -> ThreadPoolExecutor:
    """Return this process's pool, which starts a thread when no other is free."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(4 * (os.cpu_count() or 8), thread_name_prefix="photonic")
        return _pool


def _after_fork() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()  # the threads are the parent's


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def aligned(scalars: int, itemsize: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Return new memory for `scalars` numbers and its first address on a cache line."""
    memory = np.empty(scalars * itemsize + 64, dtype=np.uint8)
    return memory, (memory.ctypes.data + 63) & -64


def scratch(scalars: int, itemsize: int) -> tuple[Any, int]:
    """Return this thread's scratch memory (keep the first item alive) and its address."""
    size = scalars * itemsize
    held = getattr(_local, "scratch", None)
    if held is not None and held[1] >= size:
        return held[0], held[2]
    memory, address = aligned(scalars, itemsize)
    if size <= KEPT_SCRATCH:
        _local.scratch = (memory, size, address)
    return memory, address


def worthwhile(work: int, tiles: int, threads: int) -> int:
    """Return how many threads pay off for `work` multiply-adds in `tiles` tiles."""
    return max(1, min(threads, tiles, work // THREAD_WORK))


def run_tiles(call: Callable[[int, int, int], Any], tiles: int, workers: int) -> list[Any]:
    """Call `call(worker, first tile, last tile)` on `workers` threads, this one included."""
    if workers == 1:
        return [call(0, 0, tiles)]
    cuts = [tiles * i // workers for i in range(workers + 1)]
    pool = _executor()
    rest = [pool.submit(call, i, cuts[i], cuts[i + 1]) for i in range(1, workers)]
    try:
        first = call(0, cuts[0], cuts[1])
    finally:
        # The others write to the caller's memory: never leave before they have ended.
        for future in rest:
            future.exception()
    return [first, *(future.result() for future in rest)]
