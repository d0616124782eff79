"""Alternating timings of two callables, and the circumstances under which they were taken."""

from __future__ import annotations

import gc
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import torch

import hybridlit

Call = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """Timings of ours and the peer in turns, in milliseconds a call.

    Args:
        ours: one entry for each run.
        peer: one entry for each run, each taken right after the one of ``ours``.
        calls: calls in each run, of ours and of the peer; a run's time is their mean.
    """

    ours: list[float]
    peer: list[float]
    calls: tuple[int, int]

    @property
    def ratios(self) -> list[float]:
        """Time of the peer over ours, pair by pair."""
        return [peer / ours for ours, peer in zip(self.ours, self.peer, strict=True)]

    def summary(self) -> dict[str, Any]:
        """Return medians, the quartiles of the ratios and the runs themselves, for JSON."""
        quartiles = statistics.quantiles(self.ratios, n=4) if len(self.ours) > 1 else []
        return {
            "ours_ms": statistics.median(self.ours),
            "peer_ms": statistics.median(self.peer),
            "ratio": statistics.median(self.ratios),
            "ratio_quartiles": quartiles[::2],
            **asdict(self),
        }


def alternate(
    ours: Call,
    peer: Call,
    *,
    repeats: int,
    min_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Time two callables in turns: ours, peer, ours, peer, ...

    A slow drift of the machine then cancels in the ratios of the pairs. Before that both are
    warmed up. A run repeats its callable until it lasts about ``min_seconds``.

    Args:
        ours: what the ratio's denominator times.
        peer: what the ratio's numerator times.
        repeats: number of pairs.
        min_seconds: least length of a run.
        clock: returns seconds.

    Returns:
        The times.
    """
    calls = tuple(warm_up(call, min_seconds, clock) for call in (ours, peer))
    gc.collect()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, count, taken in zip((ours, peer), calls, times, strict=True):
            taken.append(run(call, count, clock))
    return Comparison(*times, calls)


def run(call: Call, count: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the mean time in milliseconds of ``count`` calls in a row."""
    start = clock()
    for _ in range(count):
        call()
    return 1e3 * (clock() - start) / count


def warm_up(call: Call, min_seconds: float, clock: Callable[[], float] = time.perf_counter) -> int:
    """Call three times; return how many calls last about ``min_seconds``."""
    fastest = min(run(call, 1, clock) for _ in range(3))
    return max(1, math.ceil(1e3 * min_seconds / max(fastest, 1e-6)))


def median_ms(call: Call, *, repeats: int, min_seconds: float) -> float:
    """Return the median time in milliseconds of a call, warmed up."""
    count = warm_up(call, min_seconds)
    return statistics.median(run(call, count) for _ in range(repeats))


def rounded(number: float) -> str:
    """Return three significant digits without an exponent: 1085.2 -> 1,090, 0.0958 -> 0.0958."""
    return f"{float(f'{number:.3g}'):,.12g}"


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Confine this process to ``count`` cores and torch to as many threads.

    Cores are what every simulator obeys, whatever its own setting is called; where the system
    cannot confine a process, torch's setting alone holds.

    Args:
        count: number of threads; 0 leaves everything as it is.
    """
    if count == 0:
        yield
        return
    before = torch.get_num_threads()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    torch.set_num_threads(count)
    if allowed is not None:
        os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if allowed is not None:
            os.sched_setaffinity(0, allowed)


def circumstances(*distributions: str) -> dict[str, Any]:
    """Return machine, threads, versions and date, for JSON.

    Args:
        distributions: installed packages to name besides torch, numpy and hybridlit.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "cores_used": cores,
            "vector_instructions": torch.backends.cpu.get_cpu_capability(),
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "system": platform.platform(),
        },
        "torch_threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "hybridlit": hybridlit.__version__,  # of the tree, not of an installation of before
            **{name: metadata.version(name) for name in ("torch", "numpy")},
            **{name: metadata.version(name) for name in distributions},
        },
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
