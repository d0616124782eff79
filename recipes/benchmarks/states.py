"""Time lists of components, amplitudes as input and the fidelity kernel against MerLin.

    python recipes/benchmarks/states.py

Every point is timed only after values and gradients have been found equal. Writes ``states.json``.
MerLin's kernel is that of another order of operators, in which the interferometer in front of the
data cancels; its values are compared with what that order gives for our unitaries. Unbunched
superpositions cannot be compared: MerLin normalises what each occupation gives before it adds them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from circuit import Point, elements, phase_order, task
from peers import MerLin
from timing import alternate, circumstances, rounded, threads
from torch import Tensor

from hybridlit.photonics import (
    BeamSplitter,
    Circuit,
    Data,
    Experiment,
    FidelityKernel,
    PhaseShifter,
    QuantumLayer,
    Trainable,
    amplitudes,
)

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-4  # float32


class Case(NamedTuple):
    """Two simulators of one thing.

    Args:
        values: of both, to be compared first; shape and order are the same.
        calls: of both, by what is timed.
    """

    values: tuple[Tensor, Tensor]
    calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]]


def components(point: Point) -> Case:
    """A circuit given component by component: probabilities, and gradients in x and all phases."""
    work = task(point)
    circuit = Circuit(point.modes)
    for kind, mode, index in elements(point.modes):
        if kind == "splitter":
            circuit.add(BeamSplitter(), mode)
        else:
            angle = Trainable() if kind == "phase" else Data(index, scale=torch.pi)
            circuit.add(PhaseShifter(angle), mode)
    experiment = Experiment(circuit=circuit, n_photons=point.photons, computation_space=point.space)
    layer = QuantumLayer(point.modes - 1, experiment=experiment, output_mapping_strategy="none")
    with torch.no_grad():
        layer.phases.copy_(work.layer.phases.flatten()[phase_order(point.modes)])
    peer = MerLin().build(work)

    def forward() -> Tensor:
        with torch.no_grad():
            return layer(work.x)

    def gradients() -> tuple[Tensor, ...]:
        x = work.x.detach().requires_grad_()
        return torch.autograd.grad((layer(x) * work.weights).sum(), [x, layer.phases])

    assert peer.gradients is not None
    # both have the phases in the order of the circuit
    ours, theirs = [
        torch.cat([part.flatten() for part in call()]) for call in (gradients, peer.gradients)
    ]
    scale = theirs.abs().max()
    values = (
        torch.cat([forward().flatten(), ours / scale]),
        torch.cat([peer.probabilities(work).flatten(), theirs / scale]),
    )
    calls = {"forward": (forward, peer.forward), "forward+backward": (gradients, peer.gradients)}
    return Case(values, calls)


def states(point: Point) -> Case:
    """Amplitudes through a mesh without data: probabilities, and gradients in all phases."""
    import merlin
    import perceval as pcvl

    torch.manual_seed(0)
    ours, theirs, order = Circuit(point.modes), pcvl.Circuit(point.modes), []
    for kind, mode, index in elements(point.modes):
        if kind == "data":
            break
        if kind == "splitter":
            ours.add(BeamSplitter(), mode)
            theirs.add(mode, pcvl.BS())
        else:
            ours.add(PhaseShifter(Trainable()), mode)
            theirs.add(mode, pcvl.PS(pcvl.P(f"phi{index}")))
            order.append(index)
    experiment = Experiment(circuit=ours, n_photons=point.photons, computation_space=point.space)
    layer = QuantumLayer(0, experiment=experiment, output_mapping_strategy="none")
    space = merlin.ComputationSpace[point.space.upper()]
    peer = merlin.QuantumLayer(
        circuit=theirs,
        n_photons=point.photons,
        trainable_parameters=["phi"],
        measurement_strategy=merlin.MeasurementStrategy.probs(space),
        dtype=torch.float32,
    )
    (phases,) = peer.parameters()
    with torch.no_grad():
        phases.copy_(layer.phases)
    state = torch.randn(point.batch, layer.input_space.size, dtype=torch.complex64)
    state = state / state.norm(dim=1, keepdim=True)
    ranks = layer.fock_space.rank(np.array([tuple(key) for key in peer.output_keys]))
    if not np.array_equal(ranks, np.arange(len(ranks))):
        raise SystemExit("MerLin's outcomes are not in the usual order")
    weights = torch.rand(layer.output_size)
    sides = ((lambda: layer(state=state), layer.phases), (lambda: peer(state), phases))

    def forward(run: Callable[[], Tensor]) -> Tensor:
        with torch.no_grad():
            return run()

    def gradient(run: Callable[[], Tensor], angles: Tensor) -> Tensor:
        return torch.autograd.grad((run() * weights).sum(), angles)[0]

    calls = {
        "forward": tuple(lambda run=run: forward(run) for run, _ in sides),
        "forward+backward": tuple(lambda side=side: gradient(*side) for side in sides),
    }
    found = [torch.cat([forward(run).flatten(), gradient(run, angles)]) for run, angles in sides]
    return Case(tuple(found), calls)  # type: ignore[arg-type]


def kernel(point: Point) -> Case:
    """The Gram matrix of ``batch`` rows."""
    import merlin
    import perceval as pcvl

    work = task(point)
    circuit = pcvl.Circuit(point.modes)
    angles = work.layer.phases.detach().flatten().tolist()
    for kind, mode, index in elements(point.modes):
        if kind == "splitter":
            circuit.add(mode, pcvl.BS())
        else:
            data = kind == "data"
            circuit.add(mode, pcvl.PS(pcvl.P(f"x{index}") if data else angles[index]))
    features = merlin.FeatureMap(circuit, point.modes - 1, input_parameters="x")
    state = work.layer.input_state
    peer = merlin.FidelityKernel(features, list(state), force_psd=False)
    ours = FidelityKernel(work.layer)
    radians = torch.pi * work.x

    def forward() -> Tensor:
        with torch.no_grad():
            return ours(work.x)

    def theirs() -> Tensor:
        with torch.no_grad():
            return peer(radians)

    with torch.no_grad():
        unitaries = work.layer.unitary(work.x)
        other = unitaries[:, None] @ unitaries.mH[None]
        at = work.layer.fock_space.index(state)
        swapped = amplitudes(other, state)[..., at].abs().square()
        own = amplitudes(unitaries.mH[None] @ unitaries[:, None], state)[..., at].abs().square()
    values = (
        torch.cat([swapped.flatten(), own.flatten()]),
        torch.cat([theirs().flatten(), forward().flatten()]),
    )
    return Case(values, {"forward": (forward, theirs)})


CASES: dict[str, tuple[Callable[[Point], Case], str]] = {
    "components": (components, "6,3,64 8,4,64 10,5,64 8,4,64,unbunched"),
    "amplitudes in": (states, "6,3,64 8,4,64"),
    "fidelity kernel": (kernel, "6,3,60"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparisons.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status: 1 if the two simulators differed anywhere, else 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--points", nargs="+", help="m,n,batch[,unbunched] instead of the usual")
    parser.add_argument("--threads", type=int, default=1, help="cores; 0: as they are")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--min-seconds", type=float, default=0.02)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    status = 0
    with threads(options.threads):
        result: dict[str, Any] = {
            "command": shlex.join(["python", "recipes/benchmarks/states.py", *arguments]),
            **circumstances(*MerLin.distributions),
            "points": [],
        }
        for name in options.cases:
            make, points = CASES[name]
            for text in options.points or points.split():
                point = Point.parse(text)
                case = make(point)
                difference = float((case.values[0] - case.values[1]).abs().max())
                if not difference <= TOLERANCE:
                    print(f"{name} {point}: NOT TIMED, values differ by {difference:.1e}")
                    status = 1
                    continue
                times = {
                    direction: alternate(
                        *calls, repeats=options.repeats, min_seconds=options.min_seconds
                    ).summary()
                    for direction, calls in case.calls.items()
                }
                entry = {"case": name, "point": text, "difference": difference, "times": times}
                result["points"].append(entry)
                for direction, taken in times.items():
                    ours, peer, ratio = (
                        rounded(taken[key]) for key in ("ours_ms", "peer_ms", "ratio")
                    )
                    print(f"{name} {point} {direction}: {ours} ms, {peer} ms, ratio {ratio}")
    (options.out / "states.json").write_text(json.dumps(result, indent=1) + "\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
