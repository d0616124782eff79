"""Circuits of components against a brute-force product of matrices, and permanents."""

import json

import numpy as np
import pytest
import torch
from permanents import all_amplitudes
from random_circuits import brute_force, random_circuit

from hybridlit import (
    Circuit,
    Experiment,
    Interferometer,
    PhaseShifter,
    QuantumLayer,
    Trainable,
)


def layer_of(circuit, photons, features=None, **options):
    dtype = options.pop("dtype", torch.float64)
    mapping = options.pop("output_mapping_strategy", "none")
    experiment = Experiment(circuit=circuit, n_photons=photons, **options)
    size = circuit.input_size if features is None else features
    return QuantumLayer(size, experiment=experiment, output_mapping_strategy=mapping, dtype=dtype)


def drawn_layer(draw, modes, photons, features=2, **options):
    """A layer of a random circuit whose features all reach the output."""
    while True:
        circuit = random_circuit(draw, modes, features)
        try:
            return circuit, layer_of(circuit, photons, **options)
        except ValueError as error:
            assert "reach" in str(error), error


ROUNDS = [pytest.param(0, 5), pytest.param(1, 20, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("seed", "circuits"), ROUNDS)  # 225 in all
@pytest.mark.parametrize("modes", range(2, 11))
def test_random_components_equal_a_product_of_matrices(modes, seed, circuits):
    draw = np.random.default_rng([modes, seed])
    for _ in range(circuits):
        photons = int(draw.integers(1, 3 if modes > 6 else 4))
        circuit, layer = drawn_layer(draw, modes, photons, features=int(draw.integers(4)))
        x = torch.randn(2, layer.input_size, dtype=torch.float64)
        numbers = layer.phases.detach().numpy()
        expected = np.array([brute_force(circuit, numbers, row) for row in x.numpy()])
        with torch.no_grad():
            found, probabilities = layer.unitary(x).numpy(), layer.probabilities(x).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        for row, unitary in zip(probabilities, expected, strict=True):
            amplitudes = all_amplitudes(unitary, layer.input_state)
            np.testing.assert_allclose(row, np.abs(amplitudes) ** 2, rtol=0, atol=1e-10)
        again = Circuit(**json.loads(json.dumps(circuit.plain())))
        assert again == circuit and again.plain() == circuit.plain()
        assert repr(again) == repr(circuit)


@pytest.mark.parametrize(
    "text", ["pi/2", "pi", "PI", "-pi", "1e-3", "0.5", "nan", ".inf", "2*a", ""]
)
def test_a_number_as_text_is_no_name_of_an_angle(text):
    """Nobody means to train what reads as a number."""
    for make in (
        lambda: PhaseShifter(text),
        lambda: Circuit(2, [dict(component="phase_shifter", modes=0, phi=text)]),
        lambda: Interferometer(2, angles=text),
    ):
        with pytest.raises(ValueError, match="must be a number of radians, or the name"):
            make()


@pytest.mark.parametrize("name", ["theta", "φ_1", "a.b", "1e-3", "pi", "two words"])
def test_angles_of_any_name_come_back_from_their_plain_form(name):
    circuit = Circuit(2).add(PhaseShifter(Trainable(name)), 0)
    again = Circuit(**json.loads(json.dumps(circuit.plain())))
    assert again == circuit
    short = again.plain()["components"][0]["phi"] == name
    assert short == (name in ("theta", "φ_1"))
