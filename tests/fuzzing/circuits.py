"""Cases of photonic layers, stacks of them and their ansatz."""

from __future__ import annotations

from random import Random
from typing import Any, get_args

import torch
from permanents import all_states
from postselection_rules import random_rule
from torch import Tensor

from fuzzing.judging import Case
from fuzzing.oracles import (
    check_close,
    check_distribution,
    check_features_count,
    check_finite,
    check_gradients,
    check_state_dict,
    exact_probabilities,
    in_float64,
    require,
)
from fuzzing.values import Values, drawn, flag, one_of, or_none, whole
from hybridlit import (
    Ansatz,
    DistinguishableLayer,
    DistinguishableLayerStack,
    Experiment,
    QuantumLayer,
    QuantumLayerStack,
    use_kernel,
)
from hybridlit.photonics import (
    CircuitTypeName,
    OutputMappingStrategy,
    ReadoutName,
    SpaceName,
    StatePatternName,
)

__all__ = [
    "CIRCUIT_TYPES",
    "KINDS",
    "ONE_SIZE",
    "PARAMETERS",
    "PATTERNS",
    "SPACES",
    "STRATEGIES",
    "TOLERANCES",
    "experiment_arguments",
]

CIRCUIT_TYPES = one_of(*get_args(CircuitTypeName), "SERIES")
SPACES = one_of(*get_args(SpaceName))
PATTERNS = one_of(*get_args(StatePatternName))
STRATEGIES = one_of(*get_args(ReadoutName))
ONE_SIZE = [s.value for s in OutputMappingStrategy if s.readout.only_size is not None]

EXPERIMENT = {
    "circuit_type": CIRCUIT_TYPES,
    "n_modes": whole(2, 6),
    "n_photons": whole(1, 4, (12, 30, 60, 100, 151), least=1),
    "state_pattern": PATTERNS,
    "use_bandwidth_tuning": flag(),
    "reservoir_mode": flag(),
    "computation_space": SPACES,
}
LAYER = {
    "input_size": whole(1, 6, least=0),
    "output_size": or_none(whole(1, 6, least=1)),
    "output_mapping_strategy": STRATEGIES,
}
PARAMETERS = (
    *EXPERIMENT,
    *LAYER,
    "input_state",
    "postselect",
    "encoding",
    "recompute",
    "count",
    "batch_size",
)
RECOMPUTE = Values(lambda rng: rng.choice([None, True, False]), ("no", 2, 0))

TOLERANCES = {torch.float32: 2e-4, torch.float64: 1e-8}


def features(rng: Random, size: int, dtype: torch.dtype) -> tuple[Any, str | None]:
    """Draw what a layer is given, and say what is wrong with it, if anything is."""
    rows = rng.choice([0, 1, 1, 2, 3, 5])
    x = torch.rand(rows, size, dtype=dtype)
    kind = rng.random()
    if kind < 0.55:
        return x, None
    if kind < 0.66:
        return (x - 0.5) * 20, None
    if kind < 0.77:
        return x.sub(0.5).mul(2).mul(rng.choice([1e3, 1e6])).round(), None
    if kind < 0.82:
        return x.reshape(rows, 1, size).expand(rows, 2, size), None
    if kind < 0.88:
        return x.to(rng.choice([torch.float16, torch.bfloat16])), None
    bad = torch.rand(3, size, dtype=dtype)
    what = rng.choice(["nan", "inf", "-inf", "width", "integers", "numpy", "precision", "number"])
    if what in ("nan", "inf", "-inf"):
        bad[rng.randrange(3), rng.randrange(size)] = float(what)
    elif what == "width":
        bad = torch.rand(3, size + rng.choice([1, 2, -1]), dtype=dtype)
    elif what == "integers":
        bad = torch.ones(3, size, dtype=rng.choice([torch.int64, torch.bool, torch.complex64]))
    elif what == "numpy":
        return bad.numpy(), "x of numpy"
    elif what == "number":
        return torch.tensor(0.5, dtype=dtype), "x without features"
    elif dtype == torch.float64:
        return bad, None
    else:
        bad = bad.double()
    return bad, f"x with {what}"


def experiment_arguments(rng: Random) -> tuple[dict[str, Any], str | None]:
    """Draw the arguments of an `Experiment`, and the name of one that is wrong."""
    given, wrong = drawn(rng, EXPERIMENT, ("circuit_type", "n_modes", "n_photons"), 0.08)
    sizes = wrong not in ("n_modes", "n_photons")
    if sizes and given["n_photons"] > 4 and given["n_modes"] > 3:
        given["n_modes"] = rng.randint(2, 3)  # many photons in many modes have too many outcomes
    if sizes and rng.random() < 0.15:
        occupation = [0] * given["n_modes"]
        for _ in range(min(int(given["n_photons"]), 30)):
            occupation[rng.randrange(len(occupation))] += 1
        given["input_state"] = occupation
        if rng.random() < 0.2 and wrong is None:
            wrong = "input_state"
            given[wrong] = rng.choice([[*occupation, 0], occupation[1:], "11", 3, [0.5, 0.5]])
    if sizes and wrong is None and given["n_photons"] < 10 and rng.random() < 0.15:
        given["postselect"], kept = random_rule(rng, given["n_modes"], given["n_photons"])
        unbunched = given.get("computation_space") == "unbunched"
        if unbunched and given["n_photons"] >= given["n_modes"]:
            pass  # refused for another reason
        elif sum(map(kept, all_states(given["n_modes"], given["n_photons"], unbunched))) < 2:
            wrong = "postselect"
        elif rng.random() < 0.1:
            wrong = "postselect"
            given[wrong] = rng.choice(["[0]=1", "[99]==0", 1, "", "[0]==1 & [1]==0 | [0]==0"])
    return given, wrong


def explicit_encoding(rng: Random, modes: int, size: int) -> list[Any]:
    """Draw an encoding in which most features reach something."""
    factors = [0.0, 0.0, 0.5, 1.0, 2.0, -1.0, 0.3]
    return [
        [[rng.choice(factors) for _ in range(size)] for _ in range(modes)]
        for _ in range(rng.randint(1, 3))
    ]


def layer(rng: Random) -> Case:
    """A layer or a stack, forward and backward."""
    circuit, wrong_circuit = experiment_arguments(rng)
    own, wrong = drawn(rng, LAYER | {"recompute": RECOMPUTE}, ("input_size",), 0.08)
    count = rng.choice([None, None, None, 1, 2, 3])
    if wrong in ("output_size", "output_mapping_strategy"):
        pass
    elif own.get("output_mapping_strategy", "linear") in ONE_SIZE and rng.random() < 0.9:
        own.pop("output_size", None)
    elif own.get("output_size") is None and rng.random() < 0.9:
        own["output_size"] = rng.randint(2, 5)
    if rng.random() < 0.1 and not {wrong, wrong_circuit} & {"n_modes", "input_size"}:
        circuit["encoding"] = explicit_encoding(rng, int(circuit["n_modes"]), own["input_size"])
        if rng.random() < 0.95:
            circuit.pop("circuit_type")
            wrong_circuit = None if wrong_circuit == "circuit_type" else wrong_circuit
        else:
            wrong_circuit = "both circuit_type and encoding"
    dtype = rng.choice([torch.float32, torch.float32, torch.float64])
    kernel = rng.choice(["auto", "auto", "torch"])
    distinguishable = rng.random() < 0.08
    refused = wrong_circuit or wrong
    x, fault = (None, None) if wrong == "input_size" else features(rng, own["input_size"], dtype)
    refused = refused or fault

    def fresh() -> Any:
        made = Experiment(**circuit)
        if count is None:
            kind = DistinguishableLayer if distinguishable else QuantumLayer
            return kind(experiment=made, **own).to(dtype)
        kind = DistinguishableLayerStack if distinguishable else QuantumLayerStack
        return kind(count, experiment=made, **own).to(dtype)

    def call() -> tuple[Any, Tensor]:
        with use_kernel(kernel):
            made = fresh()
            if made.bandwidth is not None:
                torch.nn.init.uniform_(made.bandwidth, 0.5, 1.5)
            outputs = made(x)
            weights = torch.randn(outputs.shape).to(outputs.dtype)
            if outputs.requires_grad:
                (outputs * weights).sum().backward()
        return made, outputs

    def check(result: tuple[Any, Tensor]) -> None:
        made, outputs = result
        with use_kernel(kernel):
            check_layer(made, fresh, x, outputs)

    arguments = {**circuit, **own, "count": count, "dtype": dtype, "kernel": kernel}
    arguments |= {"distinguishable": distinguishable, "x": x}
    return Case("layer", arguments, PARAMETERS, call, check, refused)


def check_layer(made: Any, fresh: Any, x: Tensor, outputs: Tensor) -> None:
    """Check everything that must hold of a layer and what it gave for fitting features."""
    stack = () if made.count is None else (made.count,)
    require(outputs.shape == (*x.shape[:-1], *stack, made.output_size), "shape of the outputs")
    require(outputs.dtype == x.dtype, f"outputs are {outputs.dtype}")
    check_finite(outputs, "outputs")
    check_gradients(made)
    made.eval()
    with torch.no_grad():
        require(torch.equal(made(x), outputs), "evaluation computes something else")
    check_state_dict(made, fresh, lambda module: module(x))

    tolerance = TOLERANCES[made.phases.dtype]
    before = x.shape[:-1].numel()
    rows = x.detach().reshape(before, made.input_size).to(made.phases.dtype)
    exact = in_float64(made)
    distinguishable = isinstance(made, (DistinguishableLayer, DistinguishableLayerStack))
    if stack and len(rows):
        for index, one in enumerate(made.layers()):
            check_close(one(rows), made(rows)[:, index], tolerance, "layers of a stack")
    if not made._has_expectations and not distinguishable and len(rows) <= 5:
        expected = exact_probabilities(made, rows)
        with torch.no_grad():
            found = made._probabilities(rows)[0]
        found = found.transpose(0, 1) if stack else found
        check_distribution(expected, 1e-6)
        check_distribution(found, tolerance)
        check_close(found, expected, tolerance, "probabilities and those in float64")
    if float(rows.abs().max()) <= 20 if rows.numel() else False:
        with use_kernel("torch"), torch.no_grad():
            close = 50 * tolerance  # a readout adds up errors
            check_close(made(rows), exact(rows.double()), close, "outputs and those in float64")
    generic = torch.rand(1, made.input_size, dtype=torch.float64)
    if made.input_size:
        check_features_count(exact, generic)


def ansatz(rng: Random) -> Case:
    """Ansatz and sizes that contradict one another."""
    circuit, wrong = experiment_arguments(rng)
    own, wrong_size = drawn(rng, LAYER, ("input_size",))

    def call() -> tuple[Ansatz, QuantumLayer]:
        made = Ansatz(Experiment(**circuit), **own)
        return made, QuantumLayer(made.input_size, ansatz=made)

    def check(result: tuple[Ansatz, QuantumLayer]) -> None:
        made, one = result
        require(one.output_size == made.output_size, "the layer has another number of outputs")

    return Case("Ansatz", {**circuit, **own}, PARAMETERS, call, check, wrong or wrong_size)


KINDS = {layer: 40, ansatz: 4}
