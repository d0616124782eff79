"""Whole layers of a few tiles, of which several threads share the states.

Where there are fewer tiles than threads, or little more, tiles are done one after another, each by
all threads: photon layer by photon layer, forward and backward. Numbers are those of the kernels
that do whole tiles, to the last digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridlit.photonics.kernels.compiled.layout import BLOCK, CHUNK
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.threads import Cut, scratch, together

if TYPE_CHECKING:
    from hybridlit.photonics.kernels.compiled.calls import Layer

__all__ = ["StateCuts", "cuts_states"]

#: Forward multiply-adds of a tile from which its states are worth sharing: a step of each photon
#: layer is some 20 us.
STATE_WORK = 2_500_000
#: Tasks for each thread, so that none waits long for another.
PIECES = 4


def cuts_states(layer: Layer, tiles: int, threads: int) -> bool:
    """Return whether threads had better share the states of a tile than tiles of the batch."""
    plan = layer.plan
    if layer.width * plan.multiply_adds < STATE_WORK or plan.sizes[-2] < 2 * BLOCK:
        return False
    turns = -(-tiles // threads)
    return 5 * tiles < 4 * turns * threads  # else hardly any thread has to wait for another


class StateCuts:
    """The kernels of whole layers, cut along states. Holds sizes only, as a `Layer` does.

    Args:
        layer: Whose `forward` and `backward` these do.
        threads: How many share.
    """

    def __init__(self, layer: Layer, threads: int) -> None:
        self.layer, self.threads = layer, threads
        plan = self._plan = layer.plan
        self._chunks = [-(-size // CHUNK) for size in plan.sizes]
        self._blocks = [-(-size // BLOCK) for size in plan.sizes]
        #: The first photon layer that is shared, forward.
        self._first = next(k for k, blocks in enumerate(self._blocks) if blocks > 1)
        self._block = layer.width**2 + CHUNK * 2 * layer.width
        self._sums = self._chunks[-1] * layer.width
        columns = max(self._blocks[:-1]) * plan.modes * 2 * layer.width
        self._backward_sums = max(self._sums, columns)

    def _call(self, name: str, *arguments: int) -> int:
        return entry_point(f"state_kernels.{name}", self.layer.itemsize)(*arguments)

    def _shared(self, name: str, pieces: int, *arguments: int | Cut) -> None:
        """Call a step, the last arguments of which are a range of so many chunks or blocks."""
        piece = max(1, pieces // (PIECES * self.threads))
        ends = Cut(0, piece), Cut(piece, piece, most=pieces)
        tasks, size = -(-pieces // piece), self.layer.itemsize
        together(f"state_kernels.{name}", size, tasks, self.threads, (*arguments, *ends))

    def _fill(self, addresses: tuple[int, int, int], batch: int, index: int) -> int:
        """Fill all photon layers of a tile but the last; return whether a phase is unusable."""
        plan, depth = self._plan, self.layer.depth
        unitaries_at, phases_at, tile_at = addresses
        unusable = self._call(
            "begin", plan.layout_at, plan.parents_at, unitaries_at, phases_at, tile_at, depth,
            self.layer.by_cells, batch, index, self._first,
        )  # fmt: skip
        for k in range(self._first, plan.photons):
            self._shared(
                "fill", self._chunks[k], plan.layout_at, plan.parents_at,
                plan.chunks[k].ctypes.data, tile_at, depth, k,
            )  # fmt: skip
        return unusable

    def forward(self, addresses: list[int], batch: int, tiles: int, keep: bool) -> bool:
        """Do what that of the layer does behind unitaries; return whether a phase is unusable."""
        layer, plan = self.layer, self._plan
        _, phases_at, probs_at, mass_at, unitaries_at, tiles_at = addresses
        size, depth, chunks = layer.itemsize, layer.depth, self._chunks[-1]
        workspace = self.threads * self._block + self._sums
        tile = 0 if keep else layer.tile_scalars
        _held, address = scratch(workspace + tile, size, self.threads)
        own, sums_at = Cut(address, worker=self._block * size), address
        sums_at += self.threads * self._block * size
        unusable = 0
        for index in range(tiles):
            tile_at = address + workspace * size
            if keep:
                tile_at = tiles_at + index * layer.tile_scalars * size
            unusable |= self._fill((unitaries_at, phases_at, tile_at), batch, index)
            self._shared(
                "write", chunks, plan.layout_at, plan.parents_at, plan.chunks[-1].ctypes.data,
                plan.weights_at, probs_at, tile_at, sums_at, own, depth, batch, index, keep,
            )  # fmt: skip
            if plan.unbunched:
                self._call("weigh", plan.layout_at, mass_at, sums_at, batch, index)
                self._shared(
                    "scale", chunks, plan.layout_at, probs_at, mass_at, own, batch, index
                )  # fmt: skip
        return bool(unusable)

    def backward_need(self, keep: bool) -> int:
        """Return how many numbers `backward` needs as memory."""
        tile = self.layer.rows if keep else self.layer.tile_scalars
        return self.threads * self._block + self._backward_sums + tile

    def backward(
        self,
        addresses: list[int],
        strides: tuple[int, int],
        batch: int,
        keep: bool,
        group: int,
        memory: tuple[int, int, int],
    ) -> None:
        """Do what that of the layer does before the meshes.

        Args:
            addresses: As for that of the layer, and so are the next ones.
            strides: See there.
            batch: See there.
            keep: See there.
            group: Tiles of a group.
            memory: Addresses of gradients of columns, with as much behind, of the sums of each
                group, and of as many numbers as `backward_need` says.
        """
        layer, plan = self.layer, self._plan
        phases_at, grad_at, mass_at, grad_mass_at, unitaries_at, tiles_at, *results = addresses
        grad_phases_at, (grad_columns_at, totals_at, address) = results[1], memory
        size, depth, chunks = layer.itemsize, layer.depth, self._chunks[-1]
        own, sums_at = Cut(address, worker=self._block * size), address
        sums_at += self.threads * self._block * size
        free_at = sums_at + self._backward_sums * size
        at = plan.layout_at, plan.parents_at, plan.chunks[-1].ctypes.data
        child_links_at = plan.children_at
        for index in range(layer.tiles(batch)):
            tile_at = tiles_at + index * layer.tile_scalars * size
            grads_at = free_at
            if not keep:
                tile_at, grads_at = free_at, free_at + (layer.tile_scalars - layer.rows) * size
                self._fill((unitaries_at, phases_at, tile_at), batch, index)
            if plan.unbunched:
                self._shared(
                    "slopes", chunks, *at, grad_at, *strides, tile_at, sums_at, own, depth,
                    batch, index, not keep,
                )  # fmt: skip
            self._shared(
                "seed", chunks, *at, plan.weights_at, grad_at, *strides, mass_at, grad_mass_at,
                tile_at, grads_at, sums_at, own, depth, batch, index, not keep,
            )  # fmt: skip
            layers = plan.photons
            while self._blocks[layers - 1] > 1:
                blocks = self._blocks[layers - 1]
                self._shared(
                    "remove", blocks, plan.layout_at, child_links_at, tile_at, grads_at, sums_at,
                    depth, layers,
                )  # fmt: skip
                self._call(
                    "collect", plan.layout_at, grad_columns_at, sums_at, layers, blocks
                )  # fmt: skip
                layers -= 1
            self._call(
                "end", plan.layout_at, child_links_at, unitaries_at, tile_at, grads_at,
                grad_columns_at, totals_at + index // group * layer.totals * size, grad_phases_at,
                depth, layer.by_cells, batch, index, layers, index % group == 0,
            )  # fmt: skip
