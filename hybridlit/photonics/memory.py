"""How much memory a simulation takes, and the refusal of one that cannot fit."""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path

import torch

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.choice import compiled_refuses

__all__ = [
    "available_memory",
    "in_bytes",
    "in_digits",
    "layer_sizes",
    "multiply_adds",
    "peak_bytes",
    "require_memory",
]


def layer_sizes(space: FockSpace) -> list[int]:
    """Return the numbers of states of 0, 1, ... n photons.

    Args:
        space: the outcomes.

    Returns:
        n + 1 numbers.
    """
    sizes = [1]
    for k in range(1, space.photons + 1):  # each binomial from the one before: n can be hundreds
        choices = space.modes - k + 1 if space.unbunched else space.modes + k - 1
        sizes.append(sizes[-1] * choices // k)
    return sizes


def multiply_adds(space: FockSpace) -> int:
    """Return the complex multiply-adds of the amplitude recursion for one sample.

    Args:
        space: the outcomes.

    Returns:
        The sum over photons k of modes that can take one more, times states of k photons.
    """
    sizes = layer_sizes(space)[:-1]
    if space.unbunched:
        return sum(size * (space.modes - k) for k, size in enumerate(sizes))
    return space.modes * sum(sizes)


def peak_bytes(space: FockSpace, batch: int, dtype: torch.dtype, kernel: str) -> int:
    """Return the memory of a forward and backward pass at its peak.

    Args:
        space: the outcomes.
        batch: samples.
        dtype: real dtype.
        kernel: ``"compiled"`` or ``"torch"``.

    Returns:
        Bytes above what was in use before.
    """
    item = torch.finfo(dtype).bits // 8
    outputs = 2 * batch * space.size * item  # probabilities and their gradient
    sizes = layer_sizes(space)
    if kernel == "torch":
        # All layers, complex, the gradient of the last two, and the terms of a step in flight.
        step = min(space.modes * sizes[-2] * batch, max(2**24, sizes[-2] * batch))
        return outputs + 2 * item * (batch * (sum(sizes) + 2 * sizes[-1]) + 3 * step)
    links = 4 * (2 * multiply_adds(space) + sum(sizes))
    weights = 0 if space.unbunched else 8 * space.size
    width = 64 // item
    tiles = -(-batch // width)
    workers = min(torch.get_num_threads(), tiles)
    rows = 2 * width * item * sum(sizes)
    return outputs + links + weights + workers * rows


def require_memory(
    space: FockSpace, batch: int, dtype: torch.dtype, device: str, more: int = 0
) -> None:
    """Refuse a simulation that cannot fit into the memory of this machine.

    Args:
        space: the outcomes.
        batch: samples.
        dtype: real dtype.
        device: where it would run; only the CPU's memory is known beforehand.
        more: bytes needed beside the simulation.

    Raises:
        MemoryError: with the estimate and what would fit.
    """
    if device != "cpu":
        return
    kernel = "torch" if compiled_refuses(space, device, dtype) else "compiled"
    needed = peak_bytes(space, batch, dtype, kernel) + more
    free = available_memory()
    if needed <= free:
        return
    fitting = batch
    while fitting and peak_bytes(space, fitting, dtype, kernel) + more > free:
        fitting //= 2
    advice = [f"a batch of {fitting}"] if fitting else []
    if not fitting:
        fewer = 0
        while fewer + 1 < space.photons:
            smaller = FockSpace(space.modes, fewer + 1, space.space)
            if peak_bytes(smaller, batch, dtype, "compiled") > free:
                break
            fewer += 1
        if fewer:
            advice.append(f"{fewer} photons")
        if not space.unbunched and space.photons < space.modes:
            unbunched = FockSpace(space.modes, space.photons, ComputationSpace.UNBUNCHED)
            if peak_bytes(unbunched, batch, dtype, "compiled") <= free:
                advice.append(f"computation_space='unbunched' ({in_digits(unbunched.size)} states)")
    advice.append("output_mapping_strategy='mode_expectations', which needs no states at all")
    raise MemoryError(
        f"{space.modes} modes and {space.photons} photons have {in_digits(space.size)} states: "
        f"a batch of {batch} needs about {in_bytes(needed)} of the {in_bytes(free)} free; "
        "what would fit: " + ", or ".join(advice)
    )


def available_memory() -> int:
    """Return the memory that a process may still take, from the system and its control group.

    Returns:
        Bytes; what the machine has in all where neither can be read.
    """
    if not hasattr(os, "sysconf"):  # Windows: nothing is known, so nothing is refused
        return sys.maxsize
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    group = Path("/sys/fs/cgroup")
    limit, used, kinds = (group / f"memory.{name}" for name in ("max", "current", "stat"))
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        taken = int(used.read_text())
        if kinds.exists():  # cached files count as used but make room when it is needed
            rows = (line.split() for line in kinds.read_text().splitlines())
            taken -= sum(int(n) for kind, n in rows if kind in ("active_file", "inactive_file"))
        found.append(max(0, int(limit.read_text()) - taken))
    return min(found)


def in_digits(number: int) -> str:
    """Return a count for people: all digits, or three of them and an exponent."""
    return f"{number:,}" if number < 10**12 else f"{Decimal(number):.3g}"


def in_bytes(number: int) -> str:
    """Return a number of bytes for people."""
    value, unit = Decimal(number), 0  # states of hundreds of photons are beyond a float
    while value >= 1024 and unit < 5:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"
