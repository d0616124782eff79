"""Time noisy layers against ideal ones and against MerLin on the same noise.

    python recipes/benchmarks/noise.py

A SERIES circuit with one feature fewer than modes, as in ``layer_grid.py``; probabilities, and
gradients in x and all phases. Nothing is timed against MerLin before values and gradients have been
found equal. Without MerLin only the ratios to the ideal layer are measured. Writes ``noise.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from circuit import Point, Task, elements, task
from peers import MerLin
from timing import alternate, circumstances, rounded, threads
from torch import Tensor

from hybridlit.photonics import Experiment, Noise, QuantumLayer

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-4  # float32

NOISES: dict[str, tuple[dict[str, float | bool], str]] = {
    "loss": ({"transmittance": 0.7}, "8,4,16 8,4,256"),
    "indistinguishability": ({"indistinguishability": 0.9}, "8,4,16"),
    "loss and indistinguishability": (
        {"transmittance": 0.7, "indistinguishability": 0.9},
        "8,4,16 8,4,256",
    ),
    # alone, MerLin's second photons interfere whatever g2_distinguishable says; Perceval's do not
    "g2": ({"g2": 0.02, "g2_distinguishable": False}, "6,3,16"),
    "loss, indistinguishability and g2": (
        {"transmittance": 0.7, "indistinguishability": 0.9, "g2": 0.02},
        "6,3,16",
    ),
}


class Run(NamedTuple):
    """A layer with and without a backward pass.

    Args:
        forward: returns the probabilities.
        gradients: returns those of x and of the phases.
    """

    forward: Callable[[], Tensor]
    gradients: Callable[[], tuple[Tensor, ...]]


def run(call: Callable[[Tensor], Tensor], phases: Tensor, x: Tensor, weights: Tensor) -> Run:
    """Return both passes of a layer; the loss is the sum of probabilities times weights."""

    def forward() -> Tensor:
        with torch.no_grad():
            return call(x)

    def gradients() -> tuple[Tensor, ...]:
        features = x.detach().requires_grad_()
        return torch.autograd.grad((call(features) * weights).sum(), [features, phases])

    return Run(forward, gradients)


def noisy(work: Task, noise: dict[str, float | bool]) -> QuantumLayer:
    """Return the layer of a task under noise."""
    layer = work.layer
    space = layer.fock_space
    experiment = Experiment("series", space.modes, space.photons, noise=Noise(**noise))
    made = QuantumLayer(
        space.modes - 1, None, experiment=experiment, output_mapping_strategy="none"
    )
    with torch.no_grad():
        made.phases.copy_(layer.phases)
    return made


def merlin_run(
    work: Task, noise: dict[str, float | bool], ours: QuantumLayer
) -> tuple[Run, list[int]]:
    """Return MerLin's passes, with our weights, and the places of its phases in ours."""
    import merlin
    import perceval as pcvl

    modes = work.layer.fock_space.modes
    circuit = pcvl.Circuit(modes)
    for kind, mode, index in elements(modes):
        if kind == "splitter":
            circuit.add(mode, pcvl.BS())
        else:
            circuit.add(mode, pcvl.PS(pcvl.P(f"{'phi' if kind == 'phase' else 'x'}{index}")))
    peer = merlin.QuantumLayer(
        input_size=modes - 1,
        circuit=circuit,
        trainable_parameters=["phi"],
        input_parameters=["x"],
        input_state=list(work.layer.input_state),
        measurement_strategy=merlin.MeasurementStrategy.probs(merlin.ComputationSpace.FOCK),
        noise=pcvl.NoiseModel(**noise),
        dtype=torch.float32,
    )
    names = [p.name for p in circuit.get_parameters() if p.name.startswith("phi")]
    order = [int(name.removeprefix("phi")) for name in names]
    (phases,) = peer.parameters()
    with torch.no_grad():
        phases.copy_(ours.phases.flatten()[order])
    peer(math.pi * work.x)  # its outcomes are known then
    places = [ours.outcomes.index(tuple(key)) for key in peer.output_keys]
    weights = _weights(ours)[places]

    def call(x: Tensor) -> Tensor:
        found: Tensor = peer(math.pi * x)
        return found

    passes = run(call, phases, work.x, weights)

    def forward() -> Tensor:
        result = torch.zeros(len(work.x), ours.outcomes.size)
        result[:, places] = passes.forward()
        return result

    return Run(forward, passes.gradients), order


def _weights(layer: QuantumLayer) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(layer.output_size, dtype=np.float32))


def difference(ours: Run, theirs: Run, order: list[int]) -> float:
    """Return how far values and gradients are apart, gradients by their largest entry."""
    found = float((ours.forward() - theirs.forward()).abs().max())
    (x, phases), (their_x, their_phases) = ours.gradients(), theirs.gradients()
    for own, other in ((x, their_x), (phases.flatten()[order], their_phases)):
        found = max(found, float((own - other).abs().max() / other.abs().max()))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparisons.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status: 1 if the two simulators differed anywhere, else 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=list(NOISES))
    parser.add_argument("--points", nargs="+", help="m,n,batch instead of the usual")
    parser.add_argument("--threads", type=int, default=1, help="cores; 0: as they are")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--min-seconds", type=float, default=0.02)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    known, status = find_spec("merlin") is not None, 0
    with threads(options.threads):
        result: dict[str, Any] = {
            "command": shlex.join(["python", "recipes/benchmarks/noise.py", *arguments]),
            **circumstances(*(MerLin.distributions if known else ())),
            "points": [],
        }
        for name in options.noises:
            noise, points = NOISES[name]
            for text in options.points or points.split():
                point = Point.parse(text)
                work = task(point)
                layer = noisy(work, noise)
                ours = run(layer, layer.phases, work.x, _weights(layer))
                ideal = run(work.layer, work.layer.phases, work.x, work.weights)
                others: dict[str, Run] = {"ideal": ideal}
                entry: dict[str, Any] = {"noise": name, "point": text, "times": {}}
                if known:
                    theirs, order = merlin_run(work, noise, layer)
                    entry["difference"] = difference(ours, theirs, order)
                    if entry["difference"] <= TOLERANCE:
                        others["merlin"] = theirs
                    else:
                        print(f"{name} {point}: MERLIN NOT TIMED, it differs by {entry}")
                        status = 1
                for peer, other in others.items():
                    for direction in Run._fields:
                        taken = alternate(
                            getattr(ours, direction), getattr(other, direction),
                            repeats=options.repeats, min_seconds=options.min_seconds,
                        ).summary()  # fmt: skip
                        entry["times"][f"{direction}, {peer}"] = taken
                        own, its, ratio = (
                            rounded(taken[key]) for key in ("ours_ms", "peer_ms", "ratio")
                        )
                        print(
                            f"{name} {point} {direction}: {own} ms, {peer} {its} ms, ratio {ratio}"
                        )
                result["points"].append(entry)
    (options.out / "noise.json").write_text(json.dumps(result, indent=1) + "\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
