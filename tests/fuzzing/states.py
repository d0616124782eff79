"""Cases of states: superpositions and amplitudes that enter, fidelities, features in amplitudes."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import torch
from torch import Tensor

from fuzzing.circuits import TOLERANCES
from fuzzing.judging import Case
from fuzzing.oracles import check_close, require
from hybridlit import (
    AmplitudeEncoding,
    Circuit,
    Experiment,
    FidelityKernel,
    FockSpace,
    Interferometer,
    QuantumLayer,
    amplitudes,
)

__all__ = ["KINDS"]


def _layer(rng: Random, features: int, modes: int, photons: int, **fields: Any) -> QuantumLayer:
    space = rng.choice(["fock", "unbunched"]) if photons < modes else "fock"
    kind: dict[str, Any] = {"circuit_type": rng.choice(["series", "parallel", "parallel_columns"])}
    if not features:
        circuit = Circuit(modes)
        for _ in range(rng.randint(1, 2)):
            circuit.add(Interferometer())
        kind = {"circuit": circuit}
    if "input_state" not in fields:
        fields["n_photons"] = photons
    experiment = Experiment(n_modes=modes, computation_space=space, **kind, **fields)
    dtype = rng.choice([torch.float32, torch.float64])
    return QuantumLayer(
        features, experiment=experiment, output_mapping_strategy="none", dtype=dtype
    )


def _by_terms(layer: QuantumLayer, x: Tensor, state: Tensor, states: list[Any]) -> Tensor:
    """Amplitudes as sums over terms, each by the simulator of occupations, in float64."""
    unitaries = layer.unitary(x).to(torch.complex128)
    total = sum(
        state[..., [k]] * amplitudes(unitaries, occupation, space=layer.fock_space.space)
        for k, occupation in enumerate(states)
    )
    assert isinstance(total, Tensor)
    return total / total.norm(dim=-1, keepdim=True) if layer.fock_space.unbunched else total


def superpositions(rng: Random) -> Case:
    """An input state of some terms, against the sum of what each gives."""
    modes, photons = rng.randint(2, 5), rng.randint(1, 3)
    space = FockSpace(modes, photons)
    states = rng.sample(list(space), rng.randint(1, min(6, space.size)))
    given: Any = {state: complex(rng.gauss(0, 1), rng.gauss(0, 1)) for state in states}
    wrong = None
    if rng.random() < 0.25:
        wrong = rng.choice(["nan", "zero", "photons", "modes", "word", "twice", "key"])
        first = states[0]
        if wrong == "nan":
            given[first] = math.nan
        elif wrong == "zero":
            given = dict.fromkeys(given, 0)
        elif wrong == "photons":
            given[(*first[:-1], first[-1] + 1)] = 1
        elif wrong == "modes":
            given = {(*state, 0): value for state, value in given.items()}
        elif wrong == "word":
            given[first] = "1"
        elif wrong == "twice":
            given = [{"state": list(first), "amplitude": 1}] * 2
        else:
            given = {"".join(map(str, state)): value for state, value in given.items()}
    features = rng.choice([0, 1, 2, modes])

    def call() -> QuantumLayer:
        return _layer(rng, features, modes, photons, input_state=given)

    def check(layer: QuantumLayer) -> None:
        x = torch.rand(rng.randint(1, 4), features, dtype=layer.phases.dtype)
        kept = layer.experiment.superposition
        values = torch.ones(1, dtype=torch.complex128)
        occupations = [layer.experiment.input_state]
        if kept is not None:
            values, occupations = torch.from_numpy(kept.amplitudes), list(kept.states)
        require(abs(float(values.norm()) - 1) < 1e-14, "norm of the input state")
        found = layer.amplitudes(x)
        expected = _by_terms(layer, x, values, occupations)
        close = TOLERANCES[layer.phases.dtype]
        check_close(torch.view_as_real(found), torch.view_as_real(expected), close, "amplitudes")
        check_close(found.abs().square(), layer(x), close, "probabilities")

    arguments = {"input_state": given}
    return Case("superposition", arguments, {"terms", "n_photons"}, call, check, wrong)


def states_in(rng: Random) -> Case:
    """Amplitudes that enter a layer, against the sum of what each occupation gives."""
    modes, photons = rng.randint(2, 5), rng.randint(1, 3)
    features, rows = rng.choice([0, 1, 2, modes]), rng.randint(1, 4)
    layer = _layer(rng, features, modes, photons)
    shape = rng.choice([(), (rows,)])
    number = layer.phases.dtype.to_complex()
    state: Any = torch.randn(*shape, layer.input_space.size, dtype=number)
    wrong = None
    if rng.random() < 0.25:
        wrong = rng.choice(["nan", "width", "rows", "int", "list"])
        if wrong == "nan":
            state[..., 0] = math.nan
        elif wrong == "width":
            state = torch.cat([state, state, state], -1)
        elif wrong == "rows":
            state = state.expand(rows + 2, -1) if not shape else torch.cat([state] * 3)
        elif wrong == "int":
            state = state.real.long()
        else:
            state = state.tolist()
    x = torch.rand(rows, features, dtype=layer.phases.dtype)

    def check(found: Tensor) -> None:
        expected = _by_terms(layer, x, state.to(torch.complex128), list(layer.input_space))
        close = 20 * TOLERANCES[layer.phases.dtype]  # states are of any norm
        check_close(torch.view_as_real(found), torch.view_as_real(expected), close, "amplitudes")

    def call() -> Tensor:
        return layer.amplitudes(x, state)

    return Case("state", {"state": state, "layer": layer.experiment}, (), call, check, wrong)


def fidelities(rng: Random) -> Case:
    """A Gram matrix: positive, symmetric, of ones on the diagonal."""
    modes, photons, features = rng.randint(2, 5), rng.randint(1, 3), rng.randint(1, 4)
    layer = _layer(rng, features, modes, photons)
    first = torch.rand(rng.randint(1, 6), features, dtype=layer.phases.dtype)
    given: Any = first.numpy() if rng.random() < 0.5 else first
    wrong = None
    if rng.random() < 0.15:
        wrong, given = "width", given[:, :0]

    def check(gram: Any) -> None:
        gram = torch.as_tensor(gram).detach().double()
        close = 10 * TOLERANCES[layer.phases.dtype]
        check_close(gram, gram.mT, close, "symmetry")
        check_close(gram.diagonal(), torch.ones(len(gram)), close, "fidelity with itself")
        require(float(torch.linalg.eigvalsh(gram).min()) > -close, "negative eigenvalue")

    kernel = FidelityKernel(layer)
    arguments = {"first": given, "layer": layer.experiment}
    return Case("FidelityKernel", arguments, (), lambda: kernel(given), check, wrong)


def amplitude_encodings(rng: Random) -> Case:
    """Features in amplitudes: only their direction is seen, and all of them are."""
    modes, photons = rng.randint(2, 5), rng.randint(1, 3)
    layer = _layer(rng, rng.choice([0, 0, 2]), modes, photons)
    size = layer.input_space.size
    features = rng.choice([1, size, rng.randint(1, size)])
    wrong = None
    if rng.random() < 0.2:
        wrong, features = "features", rng.choice([0, -1, size + 1, 1.5, True, "2"])

    def check(encoded: AmplitudeEncoding) -> None:
        x = torch.randn(3, encoded.input_size, dtype=layer.phases.dtype)
        state = encoded.state(x[:, :features])
        ones = torch.ones(3, dtype=state.dtype)
        close = TOLERANCES[layer.phases.dtype]
        check_close(state.norm(dim=1), ones, close, "norm")
        longer = torch.cat([3 * x[:, :features], x[:, features:]], 1)
        check_close(encoded(longer), encoded(x), close, "length of a row")

    arguments = {"features": features, "layer": layer.experiment}
    call = lambda: AmplitudeEncoding(features, layer)  # noqa: E731
    return Case("AmplitudeEncoding", arguments, (), call, check, wrong)


KINDS = {superpositions: 4, states_in: 4, fidelities: 2, amplitude_encodings: 2}
