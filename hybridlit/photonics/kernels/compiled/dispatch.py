"""Calling the compiled kernels: memory, tiles and threads.

Everything here takes addresses, so that a caller with tensors passes ``data_ptr()`` and
one with arrays ``ctypes.data``; the caller keeps that memory alive.  Tiles of a batch are
independent, so threads share nothing but read-only tables; the only sum over tiles, the
gradients of the unitaries, is kept per thread and added at the end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridlit.photonics.kernels.compiled.layout import CHUNK
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.plans import Plan

#: Photons up to which unnormalised amplitudes stay within float32.
FLOAT32_PHOTONS = 33
#: Forward multiply-adds a thread must get to be worth its 60 us of start and wait.
THREAD_WORK = 1_500_000
#: Scratch memory up to this many bytes is kept by its thread between calls.
KEPT_SCRATCH = 16 << 20
#: Tile memory up to this many bytes is kept for the backward pass: reading it back costs
#: less than computing it again, until it no longer comes from warm caches and pages.
KEEP_BYTES = 5 << 20

_local = threading.local()
_pool: tuple[int, int, ThreadPoolExecutor] | None = None
_pool_lock = threading.Lock()


def _executor(threads: int) -> ThreadPoolExecutor:
    """Return this process's pool with at least ``threads`` workers."""
    global _pool
    pid = os.getpid()
    pool = _pool
    if pool is None or pool[0] != pid or pool[1] < threads:
        with _pool_lock:
            pool = _pool
            if pool is None or pool[0] != pid or pool[1] < threads:
                workers = ThreadPoolExecutor(threads, thread_name_prefix="photonic")
                pool = _pool = (pid, threads, workers)
    return pool[2]


def _after_fork() -> None:
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def aligned(scalars: int, itemsize: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Return new memory for ``scalars`` numbers and its first address on a cache line."""
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
    """Return how many threads pay off for ``work`` multiply-adds in ``tiles`` tiles."""
    return max(1, min(threads, tiles, work // THREAD_WORK))


def run_tiles(call: Callable[[int, int, int], Any], tiles: int, workers: int) -> list[Any]:
    """Call ``call(worker, first tile, last tile)`` on ``workers`` threads, this one included."""
    if workers == 1:
        return [call(0, 0, tiles)]
    cuts = [tiles * i // workers for i in range(workers + 1)]
    pool = _executor(workers - 1)
    rest = [pool.submit(call, i, cuts[i], cuts[i + 1]) for i in range(1, workers)]
    try:
        first = call(0, cuts[0], cuts[1])
    finally:
        # The others write to the caller's memory: never leave before they have ended.
        for future in rest:
            future.exception()
    return [first, *(future.result() for future in rest)]


class Layer:
    """Kernel calls for one plan, circuit depth and precision.

    ``depth`` counts phase columns, so there are ``depth + 1`` meshes.  An instance holds
    sizes only: any number of threads may use it at once.
    """

    def __init__(self, plan: Plan, depth: int, itemsize: int) -> None:
        if depth < 1:
            raise ValueError("a circuit needs at least one column of phases")
        if itemsize == 4 and plan.photons > FLOAT32_PHOTONS:
            raise ValueError(f"float32 overflows beyond {FLOAT32_PHOTONS} photons")
        self.plan, self.depth, self.itemsize = plan, depth, itemsize
        width = 64 // itemsize
        self.width = width
        modes, columns = plan.modes, plan.columns
        pitch = -(-modes // width) * width
        angles = (depth + 1) * modes * (modes - 1)
        self.cells = modes * (modes - 1) // 2
        #: Scalars of the unitaries and mesh phase factors kept for the backward pass.
        self.unitary_scalars = (depth + 1) * modes * 2 * pitch + 2 * (-(-angles // width) * width)
        factors, final = depth * modes * 2 * width, columns * modes * 2 * width
        #: Scalars of one tile when everything is kept.
        self.tile_scalars = factors + (depth + 1) * final + plan.rows * 2 * width
        self._forward_tile = self.tile_scalars - plan.states * 2 * width
        self._rows = plan.rows * 2 * width
        self._totals = (depth + 1) * modes * modes * 2 * width
        self._block = width * width
        self._chunk = CHUNK * 2 * width
        self._columns_scratch = 2 * final + 4 * modes * pitch
        # Both now, so that whatever has to be compiled is compiled at once.
        self._layer_forward = entry_point("forward_kernel.layer_forward", itemsize)
        self._layer_backward = entry_point("backward_kernel.layer_backward", itemsize)
        self.work = plan.multiply_adds + depth * modes * modes * columns

    def tiles(self, batch: int) -> int:
        """Return how many tiles a batch is split into."""
        return -(-batch // self.width)

    def recomputes(self, batch: int) -> bool:
        """Return whether the backward pass is faster if it computes every tile again."""
        return self.tiles(batch) * self.tile_scalars * self.itemsize > KEEP_BYTES

    def workers(self, batch: int, threads: int, passes: int) -> int:
        """Return how many threads ``passes`` forward passes of a batch are worth."""
        return worthwhile(passes * batch * self.work, self.tiles(batch), threads)

    def forward(
        self,
        angles_at: int,
        phases_at: int,
        probs_at: int,
        mass_at: int,
        unitaries_at: int,
        tiles_at: int,
        batch: int,
        threads: int = 1,
    ) -> bool:
        """Fill probs (batch, states), mass (batch,; unbunched only) and the unitaries.

        All arguments are addresses of contiguous memory; ``tiles_at`` is 0 or memory for
        ``tiles(batch) * tile_scalars`` numbers to keep for the backward pass.  Returns
        whether every angle and phase is finite.
        """
        plan = self.plan
        keep = tiles_at != 0
        stride = self.tile_scalars if keep else 0
        need = self._block + self._chunk + (0 if keep else self._forward_tile)
        itemsize = self.itemsize

        def call(worker: int, start: int, stop: int, meshes: bool = False) -> int:
            _held, address = scratch(need, itemsize)
            tiles = tiles_at if keep else address + (self._block + self._chunk) * itemsize
            return self._layer_forward(
                plan.layout_at, plan.parents_at, plan.weights_at, angles_at,
                phases_at, probs_at, mass_at, unitaries_at, tiles, address, self.depth, batch,
                start, stop, stride, keep, meshes,
            )  # fmt: skip

        workers = self.workers(batch, threads, 1)
        if workers == 1:
            return not call(0, 0, self.tiles(batch), True)
        unusable = call(0, 0, 0, True)
        return not (any(run_tiles(call, self.tiles(batch), workers)) or unusable)

    def backward(
        self,
        phases_at: int,
        grad_probs_at: int,
        strides: tuple[int, int],
        mass_at: int,
        grad_mass_at: int,
        unitaries_at: int,
        tiles_at: int,
        grad_angles_at: int,
        grad_phases_at: int,
        batch: int,
        threads: int = 1,
    ) -> None:
        """Fill grad_angles (depth + 1, cells, 2) and grad_phases (depth, modes, batch).

        ``strides`` are those of grad_probs along batch and states, in numbers; zero
        strides are fine.  ``tiles_at`` is what forward kept, or 0 to recompute.
        """
        plan = self.plan
        recompute = tiles_at == 0
        stride = 0 if recompute else self.tile_scalars
        base = self._block + self._columns_scratch
        rows = self.tile_scalars if recompute else self._rows
        itemsize = self.itemsize
        children_at = plan.children_at
        workers = self.workers(batch, threads, 2)
        # Each worker sums its own gradients of the unitaries.
        totals = np.zeros((workers, self._totals), dtype=f"f{itemsize}") if workers > 1 else None

        def call(
            worker: int, start: int, stop: int, clear: bool = True, meshes: bool = False
        ) -> None:
            need = base + rows + (self._totals if totals is None else 0)
            _held, address = scratch(need, itemsize)
            totals_at = address + (base + rows) * itemsize
            if totals is not None:
                totals_at = totals[worker].ctypes.data
            tiles = address + base * itemsize if recompute else tiles_at
            self._layer_backward(
                plan.layout_at, plan.parents_at, children_at, plan.weights_at,
                phases_at, grad_probs_at, strides[0], strides[1], mass_at, grad_mass_at,
                unitaries_at, tiles, address, totals_at, grad_angles_at, grad_phases_at,
                self.depth, batch, start, stop, stride, recompute, clear, meshes,
            )  # fmt: skip

        if totals is None:
            call(0, 0, self.tiles(batch), True, True)
            return
        run_tiles(call, self.tiles(batch), workers)
        for others in totals[1:]:
            totals[0] += others
        call(0, 0, 0, False, True)


class Amplitudes:
    """Kernel calls for the photon recursion alone (a plan with separate columns)."""

    def __init__(self, plan: Plan, itemsize: int) -> None:
        if itemsize == 4 and plan.photons > FLOAT32_PHOTONS:
            raise ValueError(f"float32 overflows beyond {FLOAT32_PHOTONS} photons")
        self.plan, self.itemsize = plan, itemsize
        width = self.width = 64 // itemsize
        columns = plan.photons * plan.modes * 2 * width
        self._forward_need = (
            width * width + CHUNK * 2 * width + columns + (plan.rows - plan.states) * 2 * width
        )
        self._backward_need = width * width + 2 * columns + plan.rows * 2 * width

    def _run(self, call: Callable[[int, int], Any], batch: int, threads: int) -> None:
        tiles = -(-batch // self.width)
        workers = worthwhile(batch * self.plan.multiply_adds, tiles, threads)
        run_tiles(lambda _, start, stop: call(start, stop), tiles, workers)

    def forward(self, columns_at: int, out_at: int, batch: int, threads: int = 1) -> None:
        """Fill out (2, batch, states) from columns (2, modes, photons, batch)."""
        plan = self.plan
        amplitudes_forward = entry_point("amplitude_kernels.amplitudes_forward", self.itemsize)

        def call(start: int, stop: int) -> None:
            _held, address = scratch(self._forward_need, self.itemsize)
            amplitudes_forward(
                plan.layout_at, plan.parents_at, plan.weights_at, columns_at, out_at,
                address, batch, int(not plan.unbunched), start, stop,
            )  # fmt: skip

        self._run(call, batch, threads)

    def backward(
        self, columns_at: int, grad_at: int, out_at: int, batch: int, threads: int = 1
    ) -> None:
        """Fill out, the gradient of columns, from grad (2, batch, states)."""
        plan = self.plan
        amplitudes_backward = entry_point("amplitude_kernels.amplitudes_backward", self.itemsize)
        children_at = plan.children_at

        def call(start: int, stop: int) -> None:
            _held, address = scratch(self._backward_need, self.itemsize)
            amplitudes_backward(
                plan.layout_at, plan.parents_at, children_at, plan.weights_at,
                columns_at, grad_at, out_at, address, batch, int(not plan.unbunched), start, stop,
            )  # fmt: skip

        self._run(call, batch, threads)
