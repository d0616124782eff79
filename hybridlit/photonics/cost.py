"""Memory and time of a circuit before anything of it is built."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from hybridlit.checks import integer, precision
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.choice import compiled_refuses
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.sizes import multiply_adds, peak_bytes, states_up_to
from hybridlit.words import in_bytes, in_digits

__all__ = ["Cost", "estimate"]


@dataclass(frozen=True)
class Cost:
    """What one training step of a layer's probabilities takes.

    Attributes:
        states: Number of outcomes D.
        parameters: Trainable photonic parameters; a readout's weights come on top.
        multiply_adds: Complex multiply-adds of the amplitude recursion for one sample.
        peak_bytes: Memory at the peak of a forward and backward pass, above what was in use before.
        kernel: `"compiled"` or `"torch"`.
        seconds: Time of a forward and backward pass on one thread, or None if not calibrated.
    """

    states: int
    parameters: int
    multiply_adds: int
    peak_bytes: int
    kernel: str
    seconds: float | None = None

    def __str__(self) -> str:
        taken = "not calibrated" if self.seconds is None else _in_seconds(self.seconds)
        return (
            f"states             {in_digits(self.states)}\n"
            f"photonic phases    {self.parameters:,}\n"
            f"multiply-adds      {in_digits(self.multiply_adds)} a sample, complex, forward\n"
            f"peak memory        {in_bytes(self.peak_bytes)}, forward and backward\n"
            f"time of a step     {taken}, forward and backward, one thread\n"
            f"kernel             {self.kernel}"
        )


def estimate(
    experiment: Experiment,
    input_size: int,
    batch_size: int,
    dtype: torch.dtype = torch.float32,
    *,
    device: str = "cpu",
    calibrate: bool = True,
    circuits: int = 1,
) -> Cost:
    """Estimate a forward and backward pass through a layer's probabilities.

    Args:
        experiment: The circuit.
        input_size: Number of features, at least 1.
        batch_size: Samples in a step, at least 1.
        dtype: `torch.float32` or `torch.float64`.
        device: Where it would run.
        calibrate: Measure this machine for about a second, once a process, to estimate time; only
            for the compiled kernel.
        circuits: Circuits simulated as one, as those of a stack, which share their tables; only
            the memory is that of all of them.

    Returns:
        The estimate.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If a number is out of range, or the dtype another one.

    Example:
        >>> cost = estimate(Experiment("series", 24, 12), 23, 16, calibrate=False)
        >>> f"{cost.states:,}"
        '834,451,800'
    """
    features = integer(input_size, "input_size", 1)
    batch = integer(batch_size, "batch_size", 1)
    precision(dtype, "dtype")
    space = experiment.fock_space
    columns = len(experiment.encoding_for(features))
    kernel = "torch" if compiled_refuses(space, device, dtype) else "compiled"
    adds = multiply_adds(space)
    phases = (columns + 1) * space.modes * (space.modes - 1)
    peak = peak_bytes(
        space,
        batch * integer(circuits, "circuits", 1),
        dtype,
        kernel,
        columns=columns,
        inputs=sum(1 for photons in experiment.occupation if photons),
        circuits=circuits,
        meshes_in_torch=device != "cpu",
    )
    seconds = None
    if calibrate and kernel == "compiled":
        seconds = _seconds(space, batch, columns, dtype)
    trainable = 0 if experiment.reservoir_mode else phases
    return Cost(space.size, trainable, adds, peak, kernel, seconds)


def _in_seconds(value: float) -> str:
    for factor, unit in [(1.0, "s"), (1e3, "ms"), (1e6, "us")]:
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.2g} us"


# --- time -----------------------------------------------------------------------------------------

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


def _seconds(space: FockSpace, batch: int, columns: int, dtype: torch.dtype) -> float:
    """Overhead, work at a rate that falls with a tile's memory, and large outputs' fresh memory."""
    overhead, working_sets, rates = _calibration(dtype)
    item = torch.finfo(dtype).bits // 8
    outputs = batch * space.size * item
    if outputs > _REUSED:  # the probabilities, their gradient and one product of a loss
        overhead += 3 * outputs * _fresh_seconds()
    width = 64 // item
    padded = -(-batch // width) * width
    rate = np.interp(math.log(_working_set(space)), np.log(working_sets), np.log(rates))
    mesh = columns * space.modes**2 * min(space.photons, space.modes)
    return overhead + math.exp(float(rate)) * padded * (multiply_adds(space) + mesh)


@lru_cache(maxsize=1)
def _fresh_seconds() -> float:
    """Seconds for each byte of memory that is new to the process when it is written."""
    taken = []
    for _ in range(3):
        start = _clock()
        torch.ones(2 * _REUSED, dtype=torch.uint8)
        taken.append(_clock() - start)
    return min(taken) / (2 * _REUSED)


def _working_set(space: FockSpace) -> int:
    return 128 * states_up_to(space)


@lru_cache(maxsize=2)
def _calibration(dtype: torch.dtype) -> tuple[float, list[int], list[float]]:
    """Overhead of a step in seconds, and seconds for each multiply-add at some working sets."""
    times, spaces = [], []
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for modes, photons, batch, kind in _PROBES:
            experiment = Experiment("series", modes, photons, computation_space=kind)
            layer = QuantumLayer(
                modes - 1, experiment=experiment, output_mapping_strategy="none", dtype=dtype
            )
            x = torch.rand(batch, modes - 1, dtype=dtype)
            weights = torch.rand(batch, layer.output_size, dtype=dtype)
            times.append(_median_step(layer, x, weights))
            spaces.append((layer.fock_space, batch))
    finally:
        torch.set_num_threads(threads)
    overhead = times[0]
    sets = [_working_set(space) for space, _ in spaces[1:]]
    rates = []
    for (space, batch), taken in zip(spaces[1:], times[1:], strict=True):
        mesh = space.modes**2 * space.photons
        work = batch * (multiply_adds(space) + mesh)
        rates.append(max(taken - overhead, 0.1 * taken) / work)
    return overhead, sets, rates


def _median_step(layer: QuantumLayer, x: torch.Tensor, weights: torch.Tensor) -> float:
    taken = []
    for _ in range(7):
        start = _clock()
        (layer(x) * weights).sum().backward()
        taken.append(_clock() - start)
    return float(np.median(taken[2:]))
