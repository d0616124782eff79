"""Cases of circuits of components: right ones against brute force, and broken ones."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import numpy as np
import torch
from random_circuits import brute_force, random_circuit
from torch import Tensor

from fuzzing.circuits import RECOMPUTE, check_layer, features
from fuzzing.judging import Case
from fuzzing.oracles import in_float64, require
from hybridlit import Circuit, Experiment, QuantumLayer, QuantumLayerStack, use_kernel

__all__ = ["KINDS"]

NAMES = (
    "n_modes", "n_photons", "input_state", "use_bandwidth_tuning", "computation_space", "circuit",
    "component", "components", "modes", "phi", "theta", "convention", "permutation", "matrix",
    "shape", "phases", "angles", "splitters", "feature", "scale", "offset", "init", "recompute",
)  # fmt: skip

BAD_ANGLES = [
    "", True, [1.0], {"fixed": "1"}, {"angle": 1}, {"data": -1}, {"data": 0, "scale": 0.0},
    {"data": []}, {"trainable": 3}, {"trainable": "a", "start": 1.0}, float("nan"),
]  # fmt: skip


def broken(rng: Random, plain: dict[str, Any]) -> str:
    """Break one component of a plain circuit, and say how."""
    modes = plain["n_modes"]
    entry: Any = rng.choice(plain["components"])
    fault = rng.choice(["name", "mode", "twice", "number", "argument", "angle", "matrix", "table"])
    if fault == "name":
        entry["component"] = rng.choice(["splitter", "PhaseShifter", 3, None])
    elif fault == "mode":
        entry["modes"] = rng.choice([modes, -1, [modes], "0", 0.5, [True], []])
    elif fault == "twice":
        entry["modes"] = [0, 0]
    elif fault == "number":
        entry["modes"] = [*range(modes + 1)]
    elif fault == "argument":
        entry["angle"] = 0.5
    elif fault == "angle":
        entry.clear()
        entry |= {"component": "beam_splitter", "modes": [0, 1]}
        entry[rng.choice(["theta", "phi_tl", "phi_br"])] = rng.choice(BAD_ANGLES)
    elif fault == "matrix":
        entry.clear()
        matrix = rng.choice([[[1, 1], [1, 1]], [[1]], [[1, 0]], "eye", [[1, None], [0, 1]], 1.0])
        entry |= {"component": "unitary", "modes": [0, 1], "matrix": matrix}
    else:
        entry.clear()
        angles = rng.choice([[[1.0]], [1.0, 2.0], [[1.0, 2.0]] * 2, [["a", None]], [[1j, 0]]])
        entry |= {"component": "interferometer", "modes": [0, 1], "angles": angles}
    return f"{fault} of a component"


def components(rng: Random) -> Case:
    """A layer or a stack of a random list of components, forward and backward."""
    draw = np.random.default_rng(rng.randrange(2**32))
    modes, photons = rng.randint(2, 5), rng.randint(1, 3)
    circuit = random_circuit(draw, modes, rng.randint(0, 3), length=rng.randint(1, 8))
    given: dict[str, Any] = {"n_photons": photons}
    unbunched = rng.random() < 0.3
    if unbunched:
        given["computation_space"] = "unbunched"
    given["use_bandwidth_tuning"] = rng.random() < 0.2
    given["reservoir_mode"] = rng.random() < 0.1
    if rng.random() < 0.3:
        given["input_state"] = draw.multinomial(photons, np.full(modes, 1 / modes)).tolist()
    refused = "photons of all modes" if unbunched and photons >= modes else None
    if given["use_bandwidth_tuning"] and not circuit.input_size:
        refused = "bandwidths without data"
    plain = copy.deepcopy(circuit.plain())
    form = rng.choice(["circuit", "mapping", "list"])
    fault = broken(rng, plain) if rng.random() < 0.25 else None
    if fault is not None and form == "circuit":
        form = "mapping"
    made_of = {"circuit": circuit, "mapping": plain, "list": plain["components"]}[form]
    if form == "list":
        given["n_modes"] = modes
    dtype = rng.choice([torch.float32, torch.float64])
    kernel, count = rng.choice(["auto", "auto", "torch"]), rng.choice([None, None, 2])
    rows = rng.randint(0, 4)
    x, wrong = torch.rand(rows, circuit.input_size, dtype=dtype), None
    if circuit.input_size:
        x, wrong = features(rng, circuit.input_size, dtype)
    mapping = rng.choice(["none", "none", "mode_expectations", "pair_correlations"])
    own = {"output_mapping_strategy": mapping, "recompute": RECOMPUTE.fitting(rng)}

    def fresh() -> Any:
        experiment = Experiment(circuit=made_of, **given)
        size = circuit.input_size
        if count is None:
            return QuantumLayer(size, experiment=experiment, **own).to(dtype)
        return QuantumLayerStack(count, size, experiment=experiment, **own).to(dtype)

    def call() -> tuple[Any, Tensor]:
        with use_kernel(kernel):
            made = fresh()
            outputs = made(x)
            weights = torch.randn(outputs.shape).to(outputs.dtype)
            if outputs.requires_grad:
                (outputs * weights).sum().backward()
        return made, outputs

    def check(result: tuple[Any, Tensor]) -> None:
        made, outputs = result
        with use_kernel(kernel):
            check_layer(made, fresh, x, outputs)
        exact = in_float64(made)
        if count is not None or exact.bandwidth is not None or exact.lowering.slots is None:
            return
        small = torch.randn(2, circuit.input_size, dtype=torch.float64)
        numbers = exact.phases.detach().numpy()
        for row, found in zip(small.numpy(), exact.unitary(small).detach().numpy(), strict=True):
            expected = brute_force(Circuit(**circuit.plain()), numbers, row)
            require(np.abs(found - expected).max() < 1e-12, "another unitary than that of matrices")

    arguments = {**given, **own, "circuit": made_of, "count": count, "dtype": dtype, "x": x}
    return Case("components", arguments, NAMES, call, check, refused or fault or wrong)


KINDS = {components: 10}
