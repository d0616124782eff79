"""How much faster a layer's step is on several threads than on one.

    python recipes/benchmarks/threads.py                     # two threads, on a machine at rest
    python recipes/benchmarks/threads.py --threads 4 --points 12,6,64 --rounds 9

A step is forward and backward of the circuit of `circuit.py`. Each number of threads runs in a
process of its own; processes take turns, and each reports the fastest of its steps, by the clock on
the wall, and whether outputs and gradients are the same to the last digit. What the machine has to
give is measured beside it: as many processes of one thread each, at once, against one alone.
Writes ``threads.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from circuit import Point, task
from timing import circumstances, rounded

RESULTS = Path(__file__).parent / "results"
POINTS = """6,3,64 6,3,512 8,4,64 10,5,64 12,6,16 12,6,64 16,8,16,unbunched 16,8,64,unbunched
    20,10,8,unbunched 24,12,1,unbunched 8,4,1024 8,4,4096 20,3,64 40,2,256"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    if options.one:
        print(json.dumps(one(Point.parse(options.points[0]), options.threads, options.min_seconds)))
        return 0
    content: dict[str, Any] = {
        "command": shlex.join(["python", "recipes/benchmarks/threads.py", *arguments]),
        **circumstances(),
        "torch_threads": options.threads,
        "points": [],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for text in options.points:
        found = compare(text, options.threads, options.rounds, options.min_seconds)
        content["points"].append({"point": str(Point.parse(text)), **found})
        print(table(content["points"][-1:]).splitlines()[-1], flush=True)
        (options.out / "threads.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0


def compare(text: str, threads: int, rounds: int, min_seconds: float) -> dict[str, Any]:
    """Time a point on one thread and on several, in turns.

    Args:
        text: the point.
        threads: how many.
        rounds: processes of each.
        min_seconds: length of the steps of a process.

    Returns:
        Milliseconds of each process, the fastest of each number of threads, their ratio, whether
        outputs and gradients are the same to the last digit, and how much more steps as many
        processes of one thread take at once than one alone.
    """
    taken: dict[int, list[float]] = {1: [], threads: []}
    digests, shares = set(), []
    for turn in range(rounds):
        alone = 0.0
        for count in sorted(taken, reverse=turn % 2 == 1):
            [found] = at_once(1, text, count, min_seconds)
            taken[count].append(found["ms"])
            digests.add(found["digest"])
            alone = found["median_ms"] if count == 1 else alone
        found = at_once(threads, text, 1, min_seconds)
        shares.append(sum(alone / each["median_ms"] for each in found))
    fastest = {count: min(times) for count, times in taken.items()}
    return {
        "ms": {str(count): times for count, times in taken.items()},
        "one_ms": fastest[1],
        "several_ms": fastest[threads],
        "ratio": fastest[1] / fastest[threads],
        "same": len(digests) == 1,
        "median_ratio": statistics.median(
            a / b for a, b in zip(taken[1], taken[threads], strict=True)
        ),
        "processes_ratio": statistics.median(shares),
    }


def at_once(processes: int, text: str, threads: int, min_seconds: float) -> list[dict[str, Any]]:
    """Time a point in several processes at the same time.

    Args:
        processes: how many.
        text: the point.
        threads: of each process.
        min_seconds: length of its steps.

    Returns:
        What `one` finds in each.
    """
    step = [sys.executable, __file__, "--one", "--points", text, "--threads", str(threads)]
    # Without a setting for all libraries, that of torch holds.
    settings = {name: value for name, value in os.environ.items() if "_THREADS" not in name}
    running = [
        subprocess.Popen(
            [*step, "--min-seconds", str(min_seconds)],
            stdout=subprocess.PIPE,
            text=True,
            env=settings,
        )
        for _ in range(processes)
    ]
    found = [json.loads(process.communicate()[0]) for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError(f"a process of {text} failed")
    return found


def one(point: Point, threads: int, min_seconds: float) -> dict[str, Any]:
    """Return the fastest step on so many threads, in milliseconds, and what it computes."""
    torch.set_num_threads(threads)
    work = task(point)
    inputs = [work.x.requires_grad_(), work.layer.phases]
    found: list[torch.Tensor] = []

    def step() -> None:
        output = work.layer(work.x)
        grads = torch.autograd.grad(output, inputs, work.weights.expand_as(output))
        found[:] = output, *grads

    step()
    times: list[float] = []
    end = time.perf_counter() + min_seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    digest = hashlib.sha256()
    for values in found:
        digest.update(values.detach().numpy().tobytes())
    middle = statistics.median(times)
    return {"ms": min(times), "median_ms": middle, "digest": digest.hexdigest()}


def table(points: list[dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| modes, photons, batch | one thread, ms | several, ms | ratio | median | processes "
        "| same |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {point['point']} | {rounded(point['one_ms'])} | {rounded(point['several_ms'])} | "
        f"**{point['ratio']:.2f}** | {point['median_ratio']:.2f} | "
        f"{rounded(point['processes_ratio']) if 'processes_ratio' in point else '-'} | "
        f"{'to the last digit' if point['same'] else 'to rounding errors'} |"
        for point in points
    ]
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", nargs="+", default=POINTS.split(), help='such as "12,6,64"')
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="processes of each number of threads")
    parser.add_argument("--min-seconds", type=float, default=1.0, help="steps of a process")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", action="store_true", help="time one point in this process")
    return parser


if __name__ == "__main__":
    sys.exit(main())
