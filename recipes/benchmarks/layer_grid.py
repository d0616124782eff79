"""Time hybridlit's layer against other simulators of the same circuit.

    python recipes/benchmarks/layer_grid.py --peers merlin perceval

Every point is timed only after probabilities and gradients have been found equal. Writes
``<peer>.json`` for each peer that is installed, and ``layer_grid.png`` of all that are there.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from circuit import Point, Task, task
from figures import draw_layer_grid
from peers import PEERS, Peer, Simulation, hybridlit
from timing import alternate, circumstances, threads
from torch import Tensor

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-4  # float32: total variation distance, and relative error of gradients

MERLIN_GRID = """6,3,64 6,3,512 8,4,64 10,5,64 12,6,16 20,3,64 40,2,64
    8,4,64,unbunched 10,5,64,unbunched 16,8,16,unbunched"""
GRIDS: dict[str, dict[str, str]] = {
    "issue": {
        "merlin": MERLIN_GRID,
        "perceval": "12,6,16",
        "piquasso": "4,2,64 6,3,64",
        "deepquantum": "4,2,64 6,3,64",
        "pennylane": "4,2,64 6,3,64",
        "pennylane-jax": "4,2,64 6,3,64",
    },
    "small": dict.fromkeys(PEERS, "4,2,16 4,2,16,unbunched"),
}
# Here MerLin's time is that of its mesh alone, and the ratio would dominate the mean.
OUTSIDE_MEAN = {Point(40, 2, 64)}


class Disagreement(Exception):
    """Two simulators of one circuit differ."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparisons.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status: 1 if some simulator disagreed and so was not timed, else 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    absent, wrong = [], []
    with threads(options.threads):
        for name in options.peers:
            peer = PEERS[name]
            missing = [package for package in peer.distributions if not _installed(package)]
            if missing:
                absent.append(f"{peer.label}: absent; pip install {' '.join(missing)}")
                continue
            texts = options.points or GRIDS[options.grid][name].split()
            points = [Point.parse(text) for text in texts]
            result: dict[str, Any] = {
                "command": shlex.join(["python", "recipes/benchmarks/layer_grid.py", *arguments]),
                "peer": name,
                "label": peer.label,
                "note": peer.note,
                "same_circuit": peer.comparable,
                "dtype": {"ours": "float32 / complex64", "peer": peer.dtype},
                "repeats": options.repeats,
                "min_seconds": options.min_seconds,
                **circumstances(*peer.distributions),
            }
            print(f"\n{peer.label}, {options.threads or 'all'} thread(s)\n{_HEADER}", flush=True)
            result["points"] = []
            for point in points:
                if point.space not in peer.spaces:
                    print(f"{point!s:>22}  has no {point.space} space")
                    continue
                try:
                    entry = compare(peer, point, options.repeats, options.min_seconds)
                except Disagreement as error:
                    wrong.append(f"{peer.label} {point}: {error}")
                    print(f"{point!s:>22}  NOT TIMED: {error}", flush=True)
                    continue
                result["points"].append(entry)
                for direction in entry["times"]:
                    print(_row(point, direction, entry["times"][direction]), flush=True)
            result["geometric_means"] = geometric_means(result["points"])
            for direction, mean in result["geometric_means"].items():
                print(f"{'geometric mean':>22}  {direction:<17}{'':24}{mean:9.2f}")
            (options.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    draw_layer_grid(options.out, PEERS)
    for line in absent + wrong:
        print(line)
    return 1 if wrong else 0


def compare(peer: Peer, point: Point, repeats: int, min_seconds: float) -> dict[str, Any]:
    """Check that a peer agrees with hybridlit at a point, then time both.

    Args:
        peer: the other simulator.
        point: the sizes.
        repeats: number of pairs of runs.
        min_seconds: least length of a run.

    Returns:
        Sizes, agreement and times, for JSON.

    Raises:
        Disagreement: if probabilities or gradients differ by more than the tolerance.
    """
    work = task(point)
    setup: dict[str, float] = {}
    ours = _set_up(hybridlit, work, setup, "ours")
    theirs = _set_up(peer.build, work, setup, "peer")
    entry: dict[str, Any] = {
        "modes": point.modes,
        "photons": point.photons,
        "batch": point.batch,
        "space": point.space,
        "outcomes": work.layer.output_size,
        "agreement": agreement(work, ours, theirs) if peer.comparable else None,
        "setup_and_first_call_s": setup,
        "times": {},
    }
    directions: dict[str, tuple[Callable[[], Any] | None, Callable[[], Any] | None]] = {
        "forward": (ours.forward, theirs.forward),
        "forward+backward": (ours.gradients, theirs.gradients),
    }
    for direction, (call, other) in directions.items():
        if call is not None and other is not None:
            timed = alternate(call, other, repeats=repeats, min_seconds=min_seconds)
            entry["times"][direction] = timed.summary()
    return entry


def agreement(work: Task, ours: Simulation, theirs: Simulation) -> dict[str, float]:
    """Return how much two simulations of a task differ.

    Args:
        work: the task.
        ours: one simulation.
        theirs: the other.

    Returns:
        The largest total variation distance of a sample, and, where there is a backward, the
        relative errors of the two gradients.

    Raises:
        Disagreement: if any of them exceeds the tolerance.
    """
    difference = ours.probabilities(work) - theirs.probabilities(work)
    found = {"total_variation_distance": float(difference.abs().sum(1).max() / 2)}
    if ours.gradients is not None and theirs.gradients is not None:
        pairs = zip(ours.gradients_in_order(), theirs.gradients_in_order(), strict=True)
        for name, (mine, other) in zip(("x", "phases"), pairs, strict=True):
            found[f"relative_error_of_gradient_of_{name}"] = _relative_error(mine, other)
    if not all(value <= TOLERANCE for value in found.values()):  # NaN is not
        raise Disagreement(", ".join(f"{name} {value:.1e}" for name, value in found.items()))
    return found


def geometric_means(points: list[dict[str, Any]]) -> dict[str, float]:
    """Return the geometric mean of the ratios of all points but those in ``OUTSIDE_MEAN``.

    Args:
        points: what :func:`compare` returned.

    Returns:
        A mean for each direction that was timed.
    """
    ratios: dict[str, list[float]] = {}
    for point in points:
        sizes = Point(point["modes"], point["photons"], point["batch"], point["space"])
        if sizes not in OUTSIDE_MEAN:
            for direction, times in point["times"].items():
                ratios.setdefault(direction, []).append(times["ratio"])
    return {direction: statistics.geometric_mean(values) for direction, values in ratios.items()}


_HEADER = f"{'(m, n, batch)':>22}  {'':<17}{'ours ms':>12}{'peer ms':>12}{'ratio':>9}  quartiles"


def _row(point: Point, direction: str, times: dict[str, Any]) -> str:
    quartiles = " to ".join(f"{ratio:.2f}" for ratio in times["ratio_quartiles"])
    return (
        f"{point!s:>22}  {direction:<17}{times['ours_ms']:12.3f}{times['peer_ms']:12.3f}"
        f"{times['ratio']:9.2f}  {quartiles}"
    )


def _set_up(
    build: Callable[[Task], Simulation], work: Task, setup: dict[str, float], name: str
) -> Simulation:
    """Build a simulation and call it once, so that every compilation is done; note the time."""
    start = time.perf_counter()
    simulation = build(work)
    simulation.forward()
    if simulation.gradients is not None:
        simulation.gradients()
    setup[name] = time.perf_counter() - start
    return simulation


def _relative_error(mine: Tensor, other: Tensor) -> float:
    scale = max(float(mine.norm()), math.sqrt(mine.numel()) * torch.finfo(mine.dtype).eps)
    return float((mine - other).norm()) / scale


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Time hybridlit's layer against its peers.")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--grid", choices=GRIDS, default="issue", help="points for each peer")
    parser.add_argument(
        "--points", nargs="+", help="instead of a grid: modes,photons,batch[,unbunched] ..."
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="cores that all may use; 0: all, unconfined"
    )
    parser.add_argument("--repeats", type=int, default=20, help="pairs of runs")
    parser.add_argument("--min-seconds", type=float, default=0.02, help="least length of a run")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
