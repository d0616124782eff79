"""Cases of Fock spaces, of amplitudes, and of what a circuit is estimated to take."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
import torch
from permanents import all_amplitudes, haar
from torch import Tensor

from fuzzing.circuits import PARAMETERS, SPACES, TOLERANCES, experiment_arguments
from fuzzing.judging import Case
from fuzzing.oracles import check_close, require
from fuzzing.values import drawn, whole
from hybridlit import Experiment, FockSpace, QuantumLayer, amplitudes
from hybridlit.photonics.cost import estimate

__all__ = ["KINDS"]


def fock(rng: Random) -> Case:
    """A Fock space: its states, their ranks, and the amplitudes of a random interferometer."""
    values = {"modes": whole(1, 5), "photons": whole(0, 4), "space": SPACES}
    given, wrong = drawn(rng, values, ("modes", "photons"))

    def check(space: FockSpace) -> None:
        states = list(space)
        require(len(states) == space.size == len(set(states)), "number of states")
        require(states == sorted(states, reverse=True), "order of the states")
        require(space.rank(space.states).tolist() == list(range(len(states))), "ranks")
        require(all(sum(state) == space.photons for state in states), "photons of the states")

    return Case("FockSpace", given, values, lambda: FockSpace(**given), check, wrong)


def fock_amplitudes(rng: Random) -> Case:
    """Amplitudes against permanents."""
    modes = rng.randint(1, 4)
    state: list[Any] = [rng.choice([0, 1, 1, 2]) for _ in range(modes)]
    while sum(state) > 5:  # permanents of more take long
        state[rng.randrange(modes)] = 0
    space = rng.choice(["fock", "unbunched"])
    matrix = haar(modes, np.random.default_rng(rng.randrange(2**32)))
    dtype = rng.choice([torch.complex64, torch.complex128])
    unitary: Any = torch.tensor(matrix, dtype=dtype)
    wrong = None
    if space == "unbunched" and sum(state) > modes:
        wrong = "more photons than modes"
    elif rng.random() < 0.2:
        wrong = rng.choice(["real", "shape", "numpy", "float state"])
        if wrong == "real":
            unitary = unitary.real
        elif wrong == "shape":
            unitary = unitary[:, :-1]
        elif wrong == "numpy":
            unitary = matrix
        else:
            state = [float(n) for n in state]

    def check(found: Tensor) -> None:
        vacuum = np.ones(1, dtype=complex)  # nothing goes in, nothing comes out
        exact = all_amplitudes(matrix, state, space == "unbunched") if sum(state) else vacuum
        expected = torch.from_numpy(exact)
        close = TOLERANCES[found.real.dtype]
        check_close(torch.view_as_real(found), torch.view_as_real(expected), close, "amplitudes")

    arguments = {"unitary": unitary, "input_state": state, "space": space}
    return Case("amplitudes", arguments, arguments, lambda: amplitudes(**arguments), check, wrong)


def costs(rng: Random) -> Case:
    """What `hybridlit plan` estimates, up to circuits that nobody can simulate."""
    circuit, wrong = experiment_arguments(rng)
    values = {
        "input_size": whole(1, 9, (0,), least=0),
        "batch_size": whole(1, 512, (10**9,), least=1),
    }
    own, wrong_size = drawn(rng, values, ("input_size", "batch_size"))
    sizes = {"n_modes", "n_photons", "input_state", "postselect"}
    if not {wrong, wrong_size} & sizes and rng.random() < 0.5:
        for name in ("input_state", "postselect"):
            circuit.pop(name, None)
        circuit |= {"n_modes": rng.choice([20, 128, 129, 500])}
        circuit |= {"n_photons": rng.choice([1, 10, 100, 10**4, 10**7])}
    elif not {wrong, wrong_size} & {"n_modes", "n_photons", "input_size"} and rng.random() < 0.1:
        own["input_size"] = rng.choice([10**4, 10**6])

    def check(cost: Any) -> None:
        made = Experiment(**circuit)
        modes, photons = made.n_modes, made.n_photons
        unbunched = made.fock_space.unbunched
        size = math.comb(modes if unbunched else modes + photons - 1, photons)
        require(cost.states == size, "number of states")
        samples = int(own["batch_size"]) if own["input_size"] else 1  # which serves all rows
        bytes_of_probabilities = 4 * samples * size
        require(cost.peak_bytes >= bytes_of_probabilities, "less memory than the outputs take")
        require(bool(str(cost)), "text")
        layered = own["input_size"] or not made.use_bandwidth_tuning  # else layers refuse it
        if size < 1000 and own["input_size"] < 10 and modes < 9 and layered:
            one = QuantumLayer(own["input_size"], experiment=made, output_mapping_strategy="none")
            trainable = 0 if made.reservoir_mode else one.phases.numel()
            require(cost.parameters == trainable, "number of parameters")

    def call() -> Any:
        return estimate(Experiment(**circuit), **own, calibrate=False)

    return Case("estimate", {**circuit, **own}, PARAMETERS, call, check, wrong or wrong_size)


KINDS = {fock: 3, fock_amplitudes: 4, costs: 4}
