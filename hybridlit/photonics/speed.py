"""How fast one thread of this machine is: a few numbers, measured once a process.

Estimates of time are made of them and of counts alone. So estimates in other processes are the same
if these numbers are: `Speed.to_dict` writes them down, and `assume_speed` takes them over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from typing_extensions import Self

from hybridlit.checks import precision
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.compiled import goes_by_cells
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.sizes import multiply_adds, states_up_to
from hybridlit.precisions import CORES
from hybridlit.undisturbed import undisturbed

__all__ = ["Speed", "assume_speed", "speed"]


@dataclass(frozen=True)
class Speed:
    """What estimates of time are made of, all in seconds on one thread.

    Attributes:
        dtype: Precision that it was measured in, `"float32"` or `"float64"`.
        layer: Step of a photonic layer with next to no states.
        working_sets: Bytes of a tile of the compiled kernel, ascending.
        multiply_adds: A complex multiply-add of the kernel at each of these.
        fresh_byte: A byte of memory that is new to the process when it is written.
        operation: An operation of torch on small tensors, with its share of autograd's work.
        flop: A floating-point operation of a matrix product.
        byte: A byte that an operation of torch writes.
    """

    dtype: str
    layer: float
    working_sets: tuple[int, ...]
    multiply_adds: tuple[float, ...]
    fresh_byte: float
    operation: float
    flop: float
    byte: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, lists for tuples."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Make one of what `to_dict` returned."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in plain.items()
        }
        return cls(**values)

    def of_simulation(
        self,
        space: FockSpace,
        batch: int,
        columns: int,
        inputs: int,
        circuits: int = 1,
        meshes: bool = True,
    ) -> float:
        """Return the seconds of a forward and backward pass of the compiled kernel.

        Overhead, work at a rate that falls with a tile's memory, and large outputs' fresh memory.

        Args:
            space: The outcomes.
            batch: Samples of all circuits.
            columns: Columns of data phases.
            inputs: Occupied input modes.
            circuits: Circuits simulated as one.
            meshes: Whether interferometers are meshes, not given as matrices.
        """
        seconds = self.layer
        item = torch.finfo(CORES[self.dtype]).bits // 8
        outputs = batch * space.size * item
        if outputs > _REUSED:  # the probabilities, their gradient and one product of a loss
            seconds += 3 * outputs * self.fresh_byte
        width = 64 // item
        padded = -(-batch // width) * width
        work = padded * multiply_adds(space)
        modes = space.modes
        by_cells = goes_by_cells(meshes, inputs, modes, batch, item, circuits)
        if not by_cells:
            work += padded * columns * modes**2 * inputs
        if meshes:
            # Of a cell four, for each column that it changes: of the first mesh those of the
            # inputs, of others those of all samples or of a unitary.
            first, others = (-(-count // width) * width for count in (inputs, modes))
            others = padded * inputs if by_cells else circuits * others
            work += 2 * modes * (modes - 1) * (circuits * first + columns * others)
        return seconds + self._rate(_working_set(space)) * work

    def of_light(self, multiply_adds: int, tile: int, batch: int) -> float:
        """Return the seconds that light takes beside the columns or photons that it is made of.

        Args:
            multiply_adds: Of real numbers, for one sample.
            tile: Bytes of the values of a tile of the compiled kernel.
            batch: Samples of all circuits.
        """
        width = 64 // (torch.finfo(CORES[self.dtype]).bits // 8)
        padded = -(-batch // width) * width
        # A complex multiply-add is four, and the way back begins with another way there.
        work = padded * multiply_adds / 3
        return _OF_LIGHT * self.operation + self._rate(2 * tile) * work

    def _rate(self, working_set: int) -> float:
        """Seconds of a complex multiply-add of the kernel, forward and backward."""
        logs = np.log(self.working_sets), np.log(self.multiply_adds)
        return math.exp(float(np.interp(math.log(working_set), *logs)))

    def of_operations(self, count: int, flops: int, written: int) -> float:
        """Return the seconds of operations of torch, by what they compute and write (bytes)."""
        return count * self.operation + flops * self.flop + written * self.byte


_known: dict[str, Speed] = {}


def speed(dtype: torch.dtype = torch.float32) -> Speed:
    """Return how fast this machine is, which takes a second or two, once a process.

    Random number generators stay as they are.

    Args:
        dtype: `torch.float32` or `torch.float64`.
    """
    name = str(precision(dtype, "dtype")).removeprefix("torch.")
    if name not in _known:
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            with undisturbed(), torch.enable_grad(), torch.device("cpu"):
                _known[name] = _measured(name, dtype)
        finally:
            torch.set_num_threads(threads)
    return _known[name]


def assume_speed(known: Speed | None) -> None:
    """Let this process go by a speed that another one has measured, or None: by its own, anew."""
    if known is None:
        _known.clear()
    else:
        _known[known.dtype] = known


# --- measuring ------------------------------------------------------------------------------------

# A busy machine lets a step wait, but its CPU time stays. Windows counts that in 16 ms only.
_fine = time.get_clock_info("thread_time").resolution < 1e-5
_clock = time.thread_time if _fine else time.perf_counter

_REUSED = 2**24
"""Bytes up to which memory that is given back is usually handed out again, already in place."""

_PROBES = [
    # modes, photons, batch, space: from all in the first-level cache to none in any
    (4, 2, 64, ComputationSpace.FOCK),
    (8, 4, 256, ComputationSpace.FOCK),
    (12, 6, 32, ComputationSpace.FOCK),
    (16, 8, 32, ComputationSpace.UNBUNCHED),
    (20, 10, 16, ComputationSpace.UNBUNCHED),
]


def _working_set(space: FockSpace) -> int:
    return 128 * states_up_to(space)


def _measured(name: str, dtype: torch.dtype) -> Speed:
    steps = [_layer_step(*probe, dtype) for probe in _PROBES]
    layer, *others = [_least(step) for step, _ in steps]
    sets, rates = [], []
    for (_, space), (*_, batch, _), taken in zip(steps[1:], _PROBES[1:], others, strict=True):
        work = batch * (multiply_adds(space) + space.modes**2 * space.photons)
        sets.append(_working_set(space))
        rates.append(max(taken - layer, 0.1 * taken) / work)
    operation, flop, byte = _of_torch(dtype)
    fresh = _least(lambda: torch.ones(2 * _REUSED, dtype=torch.uint8)) / (2 * _REUSED)
    return Speed(name, layer, tuple(sets), tuple(rates), fresh, operation, flop, byte)


def _layer_step(
    modes: int, photons: int, batch: int, kind: ComputationSpace, dtype: torch.dtype
) -> tuple[Callable[[], object], FockSpace]:
    experiment = Experiment("series", modes, photons, computation_space=kind)
    layer = QuantumLayer(
        modes - 1, experiment=experiment, output_mapping_strategy="none", dtype=dtype
    )
    x = torch.rand(batch, modes - 1, dtype=dtype)
    weights = torch.rand(batch, layer.output_size, dtype=dtype)
    return lambda: (layer(x) * weights).sum().backward(), layer.fock_space


def _of_torch(dtype: torch.dtype) -> tuple[float, float, float]:
    """Seconds of a small operation, of a flop and of a byte written, forward and backward."""
    narrow, wide = _network(16, dtype), _network(1024, dtype)
    x, y = torch.rand(64, 16, dtype=dtype), torch.rand(64, 1024, dtype=dtype)
    large = torch.rand(2**20, dtype=dtype, requires_grad=True)
    operation = _least(lambda: narrow(x).sum().backward(), 30) / _OPERATIONS
    per_byte = _least(lambda: large.tanh().square().sum().backward()) / (7 * large.nbytes)
    flops = 6 * 3 * 64 * 1024**2  # of three products, each of them forward and twice backward
    taken = _least(lambda: wide(y).sum().backward()) - _OPERATIONS * operation
    return operation, max(taken, 0.0) / flops, per_byte


_OF_LIGHT = 20
"""Operations of torch that make weights and detections, forward and backward."""

_OPERATIONS = 49
"""Operations of a step of `_network`, as torch dispatches them."""


def _network(width: int, dtype: torch.dtype) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(width, width, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*layers)


def _least(step: Callable[[], object], times: int = 7) -> float:
    """Return the shortest time of a step, since whatever else the machine does only adds to it."""
    return min(_times(step, times + 2)[2:])


def _times(step: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        start = _clock()
        step()
        taken.append(_clock() - start)
    return taken
