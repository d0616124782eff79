"""What is fixed by (modes, input state, output space): sizes, links and weights."""

from __future__ import annotations

from functools import lru_cache
from math import comb, factorial
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hybridlit.photonics.fock import states_before
from hybridlit.photonics.kernels.compiled import layout
from hybridlit.photonics.kernels.compiled.layout import CHUNK, LINK
from hybridlit.photonics.kernels.compiled.machine_code import entry_point

#: Photons up to which unnormalised amplitudes stay in range, by real dtype.
MOST_PHOTONS = {torch.float32: 33, torch.float64: 150}
#: States beyond which a plan's tables take more than some tens of megabytes.
LARGE_STATES = 300_000


class Plan:
    """Sizes and link tables of one simulation; immutable once built, shared by threads.

    `modes`, `photons`, `states` (of the output space), `sizes` (those of 0, 1, ... photons),
    `multiply_adds` (complex multiplications of the photon recursion a sample).  Photons that enter
    the same mode share a column of U(x) unless `separate` gives every photon its own.
    """

    def __init__(
        self, modes: int, occupied: tuple[int, ...], unbunched: bool, separate: bool = False
    ) -> None:
        photons = len(occupied)
        if photons < 1 or modes < 1 or min(occupied) < 0 or max(occupied) >= modes:
            raise ValueError("occupied must list at least one input mode, each below modes")
        if unbunched and photons > modes:
            raise ValueError(f"{photons} photons do not fit one by one into {modes} modes")
        self.modes, self.photons, self.unbunched = modes, photons, unbunched
        self.occupied = occupied
        # The number of states of each layer; states, rows and links are counted from it.
        sizes = [
            comb(modes, k) if unbunched else comb(modes + k - 1, k) for k in range(photons + 1)
        ]
        self.sizes = sizes
        self.states = sizes[photons]
        self.rows = sum(sizes)
        self.multiply_adds = sum(
            size * (modes - k if unbunched else modes) for k, size in enumerate(sizes[:-1])
        )
        if max(sizes) > most_states(modes):
            raise ValueError(f"{max(sizes)} states of {modes} modes are beyond 32-bit links")
        columns = list(range(photons)) if separate else sorted(set(occupied))
        self.columns = len(columns)
        #: The input mode of each column.
        self.inputs = sorted(set(occupied)) if not separate else list(occupied)
        starts = np.concatenate(([0], np.cumsum(sizes)))[:-1]
        children = [modes - k if unbunched else modes for k in range(photons + 1)]
        parents = [self._parent_links(k, sizes) for k in range(photons + 1)]
        arrays = np.zeros((layout.PLAN_ARRAYS, photons + 1), dtype=np.int64)
        arrays[layout.OCCUPIED, : len(columns)] = columns
        arrays[layout.COLUMN_OF, :photons] = (
            columns if separate else [columns.index(mode) for mode in occupied]
        )
        arrays[layout.LAYER_STATES] = sizes
        arrays[layout.LAYER_START] = starts
        arrays[layout.PARENTS, 1:] = np.cumsum([0, *parents[1:]])[:-1]
        child_links = [size * count for size, count in zip(sizes, children, strict=True)]
        arrays[layout.CHILDREN, 1:] = np.cumsum(child_links)[:-1]
        self._link_bits = _mode_bits(modes)
        head = [modes, photons, self.columns, unbunched, self.states, self._link_bits]
        self.layout = np.concatenate((np.array(head, dtype=np.int64), arrays.reshape(-1)))
        self._arrays = arrays
        self._parent_total = sum(parents[1:])
        self._child_total = sum(child_links[:-1])
        self._lock = Lock()
        self._chunks: list[npt.NDArray[np.int64]] = []
        #: Kernel calls made for this plan, by depth, bytes of a number, and way through meshes.
        self.layers: dict[tuple[int, int, bool], Any] = {}
        #: The address of the child links once a backward pass has needed them, until then 0.
        self.children_at = 0
        self._rank_weights = states_before(modes, photons + 1, unbunched)
        self.parents = self._links(-1, self._parent_total)
        self.weights = self._output_weights()
        # Addresses are looked up once; the arrays above keep the memory alive.
        self.layout_at = self.layout.ctypes.data
        self.parents_at = self.parents.ctypes.data
        self.weights_at = self.weights.ctypes.data

    def _parent_links(self, k: int, sizes: list[int]) -> int:
        """Return how many integers describe the parents of layer `k`."""
        if k == 0:
            return 0
        links = sizes[k - 1] * (self.modes - k + 1 if self.unbunched else self.modes)
        return -(-sizes[k] // CHUNK) * k + sizes[k] + links

    def _links(self, step: int, total: int) -> npt.NDArray[np.int32]:
        fill_links = entry_point("tables.fill_links")
        links = np.empty(total, dtype=np.int32)
        work = np.zeros((CHUNK + 1) * (self.modes + 1), dtype=np.int64)
        layers = range(1, self.photons + 1) if step < 0 else range(self.photons)
        starts = self._arrays[layout.PARENTS if step < 0 else layout.CHILDREN]
        for k in layers:
            fill_links(
                self._rank_weights.ctypes.data, self.photons + 2, self.modes, k, step,
                self.unbunched, self.sizes[k], self._link_bits,
                links.ctypes.data + 4 * int(starts[k]), work.ctypes.data,
            )  # fmt: skip
        return links

    def _output_weights(self) -> npt.NDArray[np.float64]:
        """Return t! / s! of every output state t for the input state s (one if unbunched)."""
        factorials = np.array([float(factorial(k)) for k in range(self.photons + 1)])
        weights = np.ones(1 if self.unbunched else self.states)
        if not self.unbunched:
            factorial_products = entry_point("tables.factorial_products")
            work = np.zeros(self.modes + 1, dtype=np.int64)
            factorial_products(
                self.modes, self.photons, self.states, factorials.ctypes.data,
                weights.ctypes.data, work.ctypes.data,
            )  # fmt: skip
        bunched = np.unique(self.occupied, return_counts=True)[1]
        weights /= np.prod(factorials[bunched])
        return weights

    @property
    def chunks(self) -> list[npt.NDArray[np.int64]]:
        """Where the links to parents of each chunk of states begin, for each number of photons.

        Built once: threads hold addresses in them.
        """
        with self._lock:
            if not self._chunks:
                fill = entry_point("tables.chunk_positions")
                found = [np.zeros(-(-size // CHUNK), dtype=np.int64) for size in self.sizes]
                for k in range(1, self.photons + 1):
                    start = int(self._arrays[layout.PARENTS, k])
                    fill(self.parents_at, start, k, self.sizes[k], found[k].ctypes.data)
                self._chunks = found
        return self._chunks

    def build_children(self) -> int:
        """Build the child links, once, and return their address."""
        with self._lock:
            if not self.children_at:
                self._children = self._links(1, self._child_total)
                self.children_at = self._children.ctypes.data
        return self.children_at


def _mode_bits(modes: int) -> int:
    """Return how many bits of a link hold the mode."""
    return (modes - 1).bit_length()


def most_states(modes: int) -> int:
    """Return how many states of as many photons links can tell apart, each beside a mode."""
    return 1 << max(0, LINK - _mode_bits(modes))


def goes_by_cells(
    meshes: bool, columns: int, modes: int, batch: int, itemsize: int, circuits: int = 1
) -> bool:
    """Return whether meshes are applied to columns cell by cell, instead of made into unitaries.

    That costs less where the columns of all samples of a circuit are fewer vectors than a unitary's
    own.

    Args:
        meshes: Whether interferometers are meshes, not given as matrices.
        columns: Columns that are followed: input modes with photons, or photons.
        modes: Number of modes.
        batch: Samples of all circuits.
        itemsize: Bytes of a number.
        circuits: Circuits simulated as one.
    """
    return meshes and -(-batch // circuits) <= most_rows(columns, modes, itemsize)


def most_rows(columns: int, modes: int, itemsize: int) -> int:
    """Return the largest batch of a circuit of which `goes_by_cells` is true; 0: none."""
    width = 64 // itemsize
    return width * ((-(-modes // width) - 1) // max(1, columns))


def refuse_overflow(plan: Plan, itemsize: int) -> None:
    """Raise ValueError if float32 cannot hold the amplitudes."""
    if itemsize == 4 and plan.photons > MOST_PHOTONS[torch.float32]:
        raise ValueError(f"float32 overflows beyond {MOST_PHOTONS[torch.float32]} photons")


def plan_for(
    modes: int, occupied: tuple[int, ...], unbunched: bool, separate: bool = False
) -> Plan:
    """Return the shared plan of these settings; only two large ones are kept in memory."""
    states = comb(modes, len(occupied)) if unbunched else comb(modes + len(occupied) - 1, modes - 1)
    kept = _large_plan if states > LARGE_STATES else _plan
    return kept(modes, occupied, unbunched, separate)


_plan = lru_cache(maxsize=64)(Plan)
_large_plan = lru_cache(maxsize=2)(Plan)
