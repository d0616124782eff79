"""Memory and time of a circuit before anything of it is built."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from hybridlit.checks import integer, precision
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.noise.sizes import light_work
from hybridlit.photonics.sizes import multiply_adds, product_bytes
from hybridlit.photonics.speed import speed
from hybridlit.photonics.step_sizes import Step
from hybridlit.words import in_bytes, in_digits, in_seconds

__all__ = ["Cost", "estimate"]


@dataclass(frozen=True)
class Cost:
    """What one training step of a layer's probabilities takes.

    Attributes:
        states: Number of states D that are simulated.
        parameters: Trainable photonic parameters; a readout's weights come on top.
        multiply_adds: Complex multiply-adds of the recursion over photons for one sample; four of
            real numbers count as one.
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
        taken = "not calibrated" if self.seconds is None else in_seconds(self.seconds)
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
    recompute: bool | None = None,
) -> Cost:
    """Estimate a forward and backward pass through a layer's probabilities.

    Args:
        experiment: The circuit.
        input_size: Number of features; 0 for a circuit without data, simulated once a step.
        batch_size: Samples in a step, at least 1.
        dtype: `torch.float32` or `torch.float64`.
        device: Where it would run.
        calibrate: Measure this machine for about a second, once a process, to estimate time; only
            for the compiled kernel.
        circuits: Circuits simulated as one, as those of a stack, which share their tables; only
            the memory is that of all of them.
        recompute: As for the layer.

    Returns:
        The estimate.

    Raises:
        MemoryError: If a source is so noisy that not even the plan of its light fits.
        TypeError: If a number is no integer.
        ValueError: If a number is out of range, or the dtype another one.

    Example:
        >>> cost = estimate(Experiment("series", 24, 12), 23, 16, calibrate=False)
        >>> f"{cost.states:,}"
        '834,451,800'
    """
    features = integer(input_size, "input_size", 0)
    batch = integer(batch_size, "batch_size", 1)
    precision(dtype, "dtype")
    space, program = experiment.fock_space, experiment.program
    several: dict[str, Any] = dict(circuits=integer(circuits, "circuits", 1), recompute=recompute)
    step = Step.of(experiment, features, batch, dtype, device=device, **several)
    batch, columns, slots = (batch if features else 1), step.columns, step.slots
    adds = multiply_adds(space)
    if program is not None:
        adds = light_work(program)[0] // 4 + (adds if program.behind_photons else 0)
    seconds = None
    if calibrate and step.kernel == "compiled":
        own = speed(dtype)
        seconds = replace(step, samples=batch).seconds(own)
        if (
            slots and seconds is not None
        ):  # products up to each of them, by doubling, and one more backward
            made = product_bytes(space.modes, columns, slots, torch.finfo(dtype).bits // 8)
            levels = slots.bit_length()
            flops = 8 * (columns + 1) * slots * (levels + 1) * space.modes**3
            seconds += own.of_operations(45 + 15 * levels, flops, (2 * levels + 5) * made)
    trainable = math.prod(experiment.lowering(features).phases_shape)
    trainable *= not experiment.reservoir_mode
    return Cost(step.states, trainable, adds, step.peak, step.kernel, seconds)
