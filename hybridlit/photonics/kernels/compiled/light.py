"""The compiled kernel of light of imperfect photons: a table of steps on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.photonics.kernels.compiled import layout
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.plans import Plan, plan_for
from hybridlit.photonics.kernels.compiled.threads import run_tiles, scratch, worthwhile

__all__ = ["Table", "light_backward", "light_forward"]


@dataclass(frozen=True, eq=False)
class Table:
    """What the kernel does.

    Attributes:
        steps: Fields of each step, shape (steps, layout.STEP_FIELDS).
        factors: Of each step, shape (steps,).
        places: Vectors of lanes that the values of a tile take.
        modes: Number of modes.
        photons: Most photons of any state.
        unbunched: Whether states hold at most one photon a mode.
        columns: Columns of the unitary that are read.
        weights: How many weights there are.
        given: States whose probabilities are read; 0: photons are followed through the columns.
        size: States whose probabilities come out.
        gaps: Whether some of them are in no step, so that they stay 0.
        multiply_adds: Of real numbers, for one sample.
    """

    steps: npt.NDArray[np.int64]
    factors: npt.NDArray[np.float64]
    places: int
    modes: int
    photons: int
    unbunched: bool
    columns: int
    weights: int
    given: int
    size: int
    gaps: bool
    multiply_adds: int

    def scratch(self, itemsize: int, backward: bool) -> int:
        """Return how many numbers a thread needs as memory.

        Args:
            itemsize: Bytes of a number.
            backward: For the gradient.
        """
        width = 64 // itemsize
        columns = self.columns * self.modes
        tile = width + 3 * columns + self.modes + self.places
        return width * (2 * tile + self.weights + self.modes if backward else tile)

    @cached_property
    def links(self) -> Plan:
        """Links between the states of 0 to the most photons."""
        return plan_for(self.modes, (0,) * self.photons, self.unbunched)

    @cached_property
    def factorials(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Factorials t! of all states, and where those of each number of photons begin."""
        if self.unbunched:
            return np.ones(1), np.zeros(self.photons + 1, dtype=np.int64)
        sizes = self.links.layout[layout.ARRAYS :].reshape(layout.PLAN_ARRAYS, -1)
        starts = np.concatenate(([0], np.cumsum(sizes[layout.LAYER_STATES])))
        values = np.ones(starts[-1])
        single = np.array([float(np.prod(np.arange(1.0, k + 1))) for k in range(self.photons + 1)])
        work = np.zeros(self.modes + 1, dtype=np.int64)
        fill = entry_point("tables.factorial_products")
        for number in range(1, self.photons + 1):
            own = values[starts[number] : starts[number + 1]]
            fill(
                self.modes, number, len(own), single.ctypes.data, own.ctypes.data, work.ctypes.data
            )
        return values, starts[:-1].astype(np.int64)

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """Where the tables lie, which this object keeps alive."""
        plan, (values, starts) = self.links, self.factorials
        return (
            plan.layout_at, plan.parents_at, plan.children_at or plan.build_children(),
            values.ctypes.data, starts.ctypes.data, self.steps.ctypes.data, len(self.steps),
            self.factors.ctypes.data,
        )  # fmt: skip


def light_forward(table: Table, columns: Tensor, given: Tensor | None, weights: Tensor) -> Tensor:
    """Return the probabilities of the states of light.

    Args:
        table: What to do.
        columns: Real and imaginary parts of the columns of each circuit's unitaries, shape
            (circuits, 2, modes, columns, batch), contiguous.
        given: Probabilities to begin with, shape (batch, table.given), for one circuit; or None.
        weights: Shape (table.weights,), contiguous.

    Returns:
        Shape (circuits, batch, table.size).
    """
    circuits, *_, batch = columns.shape
    item = columns.element_size()
    make = columns.new_zeros if table.gaps else columns.new_empty
    out = make(circuits, batch, table.size)
    run = entry_point("light_forward.light_forward", item)
    need = table.scratch(item, backward=False)
    source = _source(given)
    for of, result in zip(columns, out, strict=True):
        ends = of.data_ptr(), result.data_ptr()

        def call(worker: int, start: int, stop: int, ends: tuple[int, int] = ends) -> None:
            _held, address = scratch(need, item)
            run(
                *table.addresses, ends[0], table.columns, *source, weights.data_ptr(), ends[1],
                table.size, address, batch, start, stop,
            )  # fmt: skip

        _run(call, table, batch, item, 1)
    return out


def light_backward(
    table: Table, columns: Tensor, given: Tensor | None, weights: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the gradients of columns, of what is given, and of weights.

    Args:
        table: As for `light_forward`, and so are the next three.
        columns: See there.
        given: See there.
        weights: See there.
        grad: Gradient of what it returned, any strides.

    Returns:
        Tensors of their shapes.
    """
    circuits, *_, batch = columns.shape
    item = columns.element_size()
    grad = grad.resolve_neg()
    of_columns = torch.empty_like(columns)
    of_given = None if given is None else given.new_empty(given.shape)
    of_weights = weights.new_empty(circuits, -(-batch // (64 // item)), table.weights)
    run = entry_point("light_backward.light_backward", item)
    need = table.scratch(item, backward=True)
    source = _source(given)
    of_source = (0, 0) if of_given is None else (of_given.data_ptr(), table.given)
    for of, slope, *results in zip(columns, grad, of_columns, of_weights, strict=True):
        ends = [of.data_ptr(), slope.data_ptr(), *(result.data_ptr() for result in results)]

        def call(worker: int, start: int, stop: int, ends: list[int] = ends) -> None:
            _held, address = scratch(need, item)
            run(
                *table.addresses, ends[0], table.columns, *source, weights.data_ptr(),
                table.weights, ends[1], *grad.stride()[1:], ends[2], *of_source, ends[3], address,
                table.places, batch, start, stop,
            )  # fmt: skip

        _run(call, table, batch, item, 3)
    # Summed tile by tile, so that the number of threads does not matter.
    return of_columns, of_given, of_weights.sum((0, 1))


def _source(given: Tensor | None) -> tuple[int, int, int]:
    """Address and strides of what is given."""
    return (0, 0, 0) if given is None else (given.data_ptr(), *given.stride())  # type: ignore[return-value]


def _run(
    call: Callable[[int, int, int], None], table: Table, batch: int, item: int, passes: int
) -> None:
    tiles = -(-batch // (64 // item))
    # A complex multiply-add, which `worthwhile` counts in, is four of real numbers.
    work = passes * batch * table.multiply_adds // 4
    run_tiles(call, tiles, worthwhile(work, tiles, torch.get_num_threads()))
