"""Time and peak memory of hybridlit's layer against batch, modes and photons.

    python recipes/benchmarks/scaling.py

Writes ``scaling.json`` and ``scaling.png``. Memory is measured in a fresh process for each point:
the high-water mark of the resident set after forward and backward, less that before.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from circuit import Point, task
from figures import draw_scaling
from peers import hybridlit
from timing import circumstances, median_ms, threads

RESULTS = Path(__file__).parent / "results"

# Swept quantity -> points; all other sizes stay fixed.
SWEEPS: dict[str, dict[str, list[Point]]] = {
    "issue": {
        "batch": [Point(8, 4, batch) for batch in (1, 4, 16, 64, 256, 1024)],
        "modes": [Point(modes, 3, 64) for modes in (4, 6, 8, 12, 16, 24, 32)],
        "photons": [Point(12, photons, 16) for photons in (1, 2, 3, 4, 5, 6, 7)],
    },
    "small": {
        "batch": [Point(3, 1, 1), Point(3, 1, 4)],
        "modes": [Point(3, 1, 4), Point(4, 1, 4)],
        "photons": [Point(3, 1, 4), Point(3, 2, 4)],
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all sweeps.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    if options.memory_of:
        print(memory(Point.parse(options.memory_of)))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    with threads(options.threads):
        result: dict[str, Any] = {
            "command": shlex.join(["python", "recipes/benchmarks/scaling.py", *arguments]),
            "dtype": "float32 / complex64",
            "repeats": options.repeats,
            **circumstances(),
            "sweeps": {},
        }
        for swept, points in SWEEPS[options.grid].items():
            print(
                f"\n{swept:>22}  outcomes  forward ms  forward+backward ms  memory MiB  of states"
            )
            result["sweeps"][swept] = []
            for point in points:
                entry = measure(point, options.repeats, options.min_seconds)
                result["sweeps"][swept].append(entry)
                print(
                    f"{point!s:>22}{entry['outcomes']:10}{entry['forward_ms']:12.3f}"
                    f"{entry['forward+backward_ms']:21.3f}{entry['memory_mib']:12.1f}"
                    f"{entry['states_mib']:11.1f}",
                    flush=True,
                )
    (options.out / "scaling.json").write_text(json.dumps(result, indent=1) + "\n")
    draw_scaling(options.out)
    return 0


_HEADER = "  outcomes  forward ms  forward+backward ms  memory MiB  of states"


def measure(point: Point, repeats: int, min_seconds: float) -> dict[str, Any]:
    """Return times and memory of a point.

    Args:
        point: the sizes.
        repeats: number of runs.
        min_seconds: least length of a run.

    Returns:
        For JSON. ``states_mib`` is what the amplitudes after 1, 2, ... n photons take together,
        for comparison with ``memory_mib``.
    """
    work = task(point)
    ours = hybridlit(work)
    assert ours.gradients is not None
    modes, photons = point.modes, point.photons
    states = sum(math.comb(modes + k - 1, k) for k in range(1, photons + 1))
    return {
        **asdict(point),
        "outcomes": work.layer.output_size,
        "forward_ms": median_ms(ours.forward, repeats=repeats, min_seconds=min_seconds),
        "forward+backward_ms": median_ms(ours.gradients, repeats=repeats, min_seconds=min_seconds),
        "memory_mib": _memory_in_fresh_process(point),
        "states_mib": 8 * states * point.batch / 2**20,
    }


def memory(point: Point) -> float:
    """Return by how many MiB forward and backward raise this process' peak resident set.

    A first pass on one sample of the smallest circuit is left out, as is all that it loads.

    Args:
        point: the sizes.
    """
    warm = hybridlit(task(Point(2, 1, 1, point.space)))
    assert warm.gradients is not None
    warm.gradients()
    ours = hybridlit(task(point))
    assert ours.gradients is not None
    before = _reset_peak_mib()
    ours.gradients()
    return _peak_mib() - before


def _memory_in_fresh_process(point: Point) -> float:
    text = ",".join(str(size) for size in asdict(point).values())
    command = [sys.executable, __file__, "--memory-of", text]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _reset_peak_mib() -> float:
    """Lower the high-water mark to what is resident now, where the system can, and return it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # the mark of loading and compiling stays, and memory below it goes unseen
    return _peak_mib()


def _peak_mib() -> float:
    """The high-water mark of the resident set.

    Linux's getrusage also counts the process that started this one, so there /proc is read.
    """
    try:
        with open("/proc/self/status") as lines:
            peak = next(line for line in lines if line.startswith("VmHWM"))
        return float(peak.split()[1]) / 2**10
    except (OSError, StopIteration):
        import resource

        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak_bytes / (2**20 if sys.platform == "darwin" else 2**10)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Time and memory of hybridlit's layer alone.")
    parser.add_argument("--grid", choices=SWEEPS, default="issue")
    parser.add_argument("--threads", type=int, default=1, help="cores to use; 0: all, unconfined")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--min-seconds", type=float, default=0.02, help="least length of a run")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--memory-of", metavar="POINT", help="print the memory of one point only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
