"""The compiled kernel of light of imperfect photons: a table of steps on torch tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.photonics.kernels.compiled import layout
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.plans import Plan, plan_for
from hybridlit.photonics.kernels.compiled.threads import Cut, scratch, together, worthwhile

__all__ = ["Table", "light_backward", "light_forward"]


_building = Lock()


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
        with _building:  # threads that meet here must find the same tables
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
    source = _source(given)
    for of, result in zip(columns, out, strict=True):
        before = (
            *table.addresses, of.data_ptr(), table.columns, *source, weights.data_ptr(),
            result.data_ptr(), table.size,
        )  # fmt: skip
        _run("forward", table, before, (), batch, item)
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
    source = _source(given)
    of_source = (0, 0) if of_given is None else (of_given.data_ptr(), table.given)
    for of, slope, *results in zip(columns, grad, of_columns, of_weights, strict=True):
        to_columns, to_weights = (result.data_ptr() for result in results)
        before = (
            *table.addresses, of.data_ptr(), table.columns, *source, weights.data_ptr(),
            table.weights, slope.data_ptr(), *grad.stride()[1:], to_columns, *of_source, to_weights,
        )  # fmt: skip
        _run("backward", table, before, (table.places,), batch, item)
    # Summed tile by tile, so that the number of threads does not matter.
    return of_columns, of_given, of_weights.sum((0, 1))


def _source(given: Tensor | None) -> tuple[int, int, int]:
    """Address and strides of what is given."""
    return (0, 0, 0) if given is None else (given.data_ptr(), *given.stride())  # type: ignore[return-value]


def _run(
    direction: str, table: Table, before: tuple[int, ...], behind: tuple[int, ...], batch: int,
    item: int,
) -> None:  # fmt: skip
    """Call the kernel of a direction, with arguments before and behind that of scratch memory."""
    name, backward = f"light_{direction}.light_{direction}", direction == "backward"
    tiles, need = -(-batch // (64 // item)), table.scratch(item, backward)
    # A complex multiply-add, which `worthwhile` counts in, is four of real numbers.
    work = (3 if backward else 1) * batch * table.multiply_adds // 4
    workers = worthwhile(work, tiles, torch.get_num_threads())
    _held, address = scratch(workers * need, item, workers)
    if workers == 1:
        entry_point(name, item)(*before, address, *behind, batch, 0, tiles)
        return
    own = Cut(address, worker=need * item)
    together(name, item, tiles, workers, (*before, own, *behind, batch, Cut(0, 1), Cut(1, 1)))
