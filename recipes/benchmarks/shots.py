"""Time shots drawn from the probabilities of a layer against MerLin's sampler.

    python recipes/benchmarks/shots.py

Both get the same probabilities, and are timed only after a chi-square test has found that the
counts of either may be theirs. Writes ``shots.json``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from circuit import Point, task
from peers import MerLin
from scipy import stats
from timing import alternate, circumstances, rounded, threads
from torch import Tensor

from hybridlit.photonics.noise.shots import drawn_counts

RESULTS = Path(__file__).parent / "results"
LEAST = 1e-6
"""Of a p-value, for what is drawn once."""


def p_value(counts: Tensor, probabilities: Tensor) -> float:
    """Return that of counts (rows, D) by a chi-square test of all rows together.

    Outcomes that are expected fewer than 5 times in a row are counted as one.
    """
    shots, statistic, freedom = counts[0].sum(), 0.0, 0
    for found, expected in zip(counts.double(), shots * probabilities.double(), strict=True):
        often = expected >= 5
        found, expected = (
            torch.cat([each[often], each[~often].sum()[None]]) for each in (found, expected)
        )
        kept = expected >= 5
        statistic += float(((found - expected).square() / expected)[kept].sum())
        freedom += int(kept.sum()) - bool(kept.all())
    return float(stats.chi2.sf(statistic, freedom))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status: 1 if counts were not those of the probabilities, else 0.
    """
    from merlin import SamplingProcess  # of another environment

    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", nargs="+", default=["8,4,64"], help="m,n,batch")
    parser.add_argument("--shots", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1, help="cores; 0: as they are")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--min-seconds", type=float, default=0.02)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    status = 0
    with threads(options.threads):
        result: dict[str, Any] = {
            "command": shlex.join(["python", "recipes/benchmarks/shots.py", *arguments]),
            **circumstances(*MerLin.distributions),
            "points": [],
        }
        for text in options.points:
            point = Point.parse(text)
            work = task(point)
            with torch.no_grad():
                given = work.layer.probabilities(work.x)
            peer = SamplingProcess()

            def ours(given: Tensor = given) -> Tensor:
                return drawn_counts(given, options.shots)

            def theirs(given: Tensor = given, peer: Any = peer) -> Tensor:
                return peer.pcvl_sampler(given, options.shots)

            values = {"ours": p_value(ours(), given)}
            values["peer"] = p_value(torch.round(theirs() * options.shots), given)
            if min(values.values()) < LEAST:
                print(f"{point}: NOT TIMED, p-values {values}")
                status = 1
                continue
            taken = alternate(
                ours, theirs, repeats=options.repeats, min_seconds=options.min_seconds
            ).summary()
            entry = {"point": text, "shots": options.shots, "p_values": values, "times": taken}
            result["points"].append(entry)
            mine, other, ratio = (rounded(taken[key]) for key in ("ours_ms", "peer_ms", "ratio"))
            print(f"{point} {options.shots} shots: {mine} ms, {other} ms, ratio {ratio}")
    (options.out / "shots.json").write_text(json.dumps(result, indent=1) + "\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
