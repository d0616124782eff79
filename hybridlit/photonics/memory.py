"""How much memory a simulation takes, and the refusal of one that cannot fit."""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path

import torch

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.choice import compiled_refuses
from hybridlit.photonics.kernels.compiled.dispatch import KEEP_BYTES

__all__ = [
    "available_memory",
    "in_bytes",
    "in_digits",
    "kept_bytes",
    "layer_sizes",
    "multiply_adds",
    "peak_bytes",
    "require_memory",
    "scratch_bytes",
    "table_bytes",
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


def peak_bytes(
    space: FockSpace, batch: int, dtype: torch.dtype, kernel: str, recompute: bool | None = None
) -> int:
    """Return the memory of a forward and backward pass at its peak.

    Args:
        space: the outcomes.
        batch: samples.
        dtype: real dtype.
        kernel: ``"compiled"`` or ``"torch"``.
        recompute: as for the layer: False keeps the intermediate states of the whole batch, None at
            most 5 MiB of them, which are left out here.

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
    width = 64 // item
    tiles = -(-batch // width)
    workers = min(torch.get_num_threads(), tiles)
    rows = 2 * width * item * sum(sizes)
    held = tiles if recompute is False else 0
    return outputs + table_bytes(space) + (workers + held) * rows


def table_bytes(space: FockSpace) -> int:
    """Return the memory of the compiled kernel's tables, which all layers of a shape share.

    Args:
        space: the outcomes.

    Returns:
        Bytes.
    """
    links = 4 * (2 * multiply_adds(space) + sum(layer_sizes(space)))
    return links + (0 if space.unbunched else 8 * space.size)


def kept_bytes(
    space: FockSpace,
    batch: int,
    dtype: torch.dtype,
    columns: int,
    inputs: int,
    recompute: bool | None = None,
    circuits: int = 1,
) -> int:
    """Return what the compiled kernel keeps of its intermediate states for the backward pass.

    Args:
        space: the outcomes.
        batch: samples of each circuit.
        dtype: real dtype.
        columns: columns of data phases.
        inputs: occupied input modes.
        recompute: as for the layer; None keeps the states while all of them fit into 5 MiB.
        circuits: circuits simulated as one.

    Returns:
        Bytes.
    """
    if recompute:
        return 0
    width = _width(dtype)

    def of(rows: int) -> int:
        return -(-rows // width) * _tile_bytes(space, columns, inputs)

    if recompute is None and of(circuits * batch) > KEEP_BYTES:
        return 0
    return circuits * of(batch)


def scratch_bytes(space: FockSpace, dtype: torch.dtype, columns: int, inputs: int) -> int:
    """Return the compiled kernel's working memory in a backward pass that simulates again.

    Args:
        space: the outcomes.
        dtype: real dtype.
        columns: columns of data phases.
        inputs: occupied input modes.

    Returns:
        Bytes for each thread.
    """
    width, modes = _width(dtype), space.modes
    pitch = -(-modes // width) * width
    vectors = 4 * inputs * modes + 2 * (columns + 1) * modes**2
    numbers = width**2 + width * vectors + 4 * modes * pitch
    return _tile_bytes(space, columns, inputs) + numbers * (64 // width)


def _width(dtype: torch.dtype) -> int:
    """Samples in a tile of the compiled kernel: as many as numbers in 64 bytes."""
    return 512 // torch.finfo(dtype).bits


def _tile_bytes(space: FockSpace, columns: int, inputs: int) -> int:
    """Bytes of a tile: phase factors, columns before and after each interferometer, states."""
    rows = columns * space.modes + (columns + 1) * inputs * space.modes + sum(layer_sizes(space))
    return 128 * rows  # 64 bytes each of real and imaginary parts


def require_memory(
    space: FockSpace,
    batch: int,
    dtype: torch.dtype,
    device: str,
    more: int = 0,
    recompute: bool | None = None,
) -> None:
    """Refuse a simulation that cannot fit into the memory of this machine.

    Args:
        space: the outcomes.
        batch: samples.
        dtype: real dtype.
        device: where it would run; only the CPU's memory is known beforehand.
        more: bytes needed beside the simulation.
        recompute: as for :func:`peak_bytes`.

    Raises:
        MemoryError: with the estimate and what would fit.
    """
    if device != "cpu":
        return
    kernel = "torch" if compiled_refuses(space, device, dtype) else "compiled"
    needed = peak_bytes(space, batch, dtype, kernel, recompute) + more
    free = available_memory()
    if needed <= free:
        return
    fitting = batch
    while fitting and peak_bytes(space, fitting, dtype, kernel, recompute) + more > free:
        fitting //= 2
    advice = [f"a batch of {fitting}"] if fitting else []
    if recompute is False:
        advice.append("recompute=True or None, which keeps no intermediate states")
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
    return min(found + _left_by_control_groups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")))


def _left_by_control_groups(root: Path, membership: Path) -> list[int]:
    """Return what the limits of this process's control groups, of version 1 and 2, leave."""
    places = {root, root / "memory"}  # the own group is the root where a container hides the rest
    if membership.exists():
        for line in membership.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "" or "memory" in kinds.split(","):
                own = (root / "memory" if kinds else root) / path.lstrip("/")
                places.update([own, *own.parents])
    left = []
    for place in places:
        for limit, used, cached in _CONTROL_FILES:
            if not (place / limit).exists() or not (place / used).exists():
                continue
            allowed = (place / limit).read_text().strip()
            if allowed == "max":
                continue
            taken = int((place / used).read_text())
            if (place / "memory.stat").exists():  # cached files make room when it is needed
                rows = map(str.split, (place / "memory.stat").read_text().splitlines())
                taken -= sum(int(amount) for kind, amount in rows if kind in cached)
            left.append(max(0, int(allowed) - taken))
    return left


_CONTROL_FILES = [
    ("memory.max", "memory.current", ("active_file", "inactive_file")),
    (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
]
"""Limit, use, and the statistics of cached files, of control groups of version 2 and 1."""


def in_digits(number: int) -> str:
    """Return a count for people: all digits, or three of them and an exponent."""
    return f"{number:,}" if number < 10**12 else f"{Decimal(number):.3g}"


def in_bytes(number: int) -> str:
    """Return a number of bytes for people."""
    value, unit = Decimal(number), 0  # states of hundreds of photons are beyond a float
    while value >= 1024 and unit < 5:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"
