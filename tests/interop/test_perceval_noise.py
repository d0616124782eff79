"""Noise, losses and detectors to and from Perceval, by its own answers."""

import numpy as np
import pytest
import torch

import hybridlit as ML

pcvl = pytest.importorskip("perceval")

from perceval_circuits import run  # noqa: E402
from permanents import haar  # noqa: E402

ALL = {"brightness": 0.9, "transmittance": 0.6, "indistinguishability": 0.8, "g2": 0.04}
LAYERS = [
    {"noise": {"transmittance": 0.6}},
    {"noise": {**ALL, "g2_distinguishable": False}},
    {"noise": ALL, "detectors": "threshold", "min_detected_photons": 1},
    {"noise": ALL, "detectors": ["pnr", "threshold", "ppnr:2", "ppnr:5"]},
    {"noise": ALL, "min_detected_photons": 2, "postselect": "[0]<2 | [1,2]==1"},
    {"noise": {"transmittance": 0.6}, "computation_space": "unbunched"},
    {"noise": {**ALL, "transmittance": [0.25, 1, 0.75, 0.5]}},
    {"noise": {**ALL, "transmittance": [0.25, 1, 0.75, 0.5]}, "detectors": "ppnr:3"},
    {"detectors": "threshold"},
    {"detectors": "ppnr:2", "min_detected_photons": 3, "computation_space": "unbunched"},
    {"noise": {"transmittance": 0.5}, "state": {(1, 0, 1, 1): 1, (0, 1, 2, 0): 1j}},
]


def layer_of(state=(1, 0, 1, 1), kind=ML.QuantumLayer, **others):
    torch.manual_seed(1)
    return kind(2, n_modes=4, input_state=state, dtype=torch.float64, **others)


@pytest.mark.parametrize("others", LAYERS, ids=str)
def test_perceval_answers_as_the_noisy_layer_and_back(others):
    layer, x = layer_of(**others), torch.tensor([0.3, 0.8], dtype=torch.float64)
    there = ML.to_perceval(layer, x)
    expected, kept = run(there, layer.outcomes)
    assert np.abs(layer.probabilities(x).detach().numpy() - expected).max() < 1e-9
    assert abs(layer.success_probability(x).item() - kept) < 1e-9
    again = ML.QuantumLayer(0, experiment=ML.from_perceval(there), dtype=torch.float64)
    assert list(again.outcomes) == list(layer.outcomes)
    found, expected = again.probabilities(1)[0], layer.probabilities(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    found, expected = again.success_probability(1)[0], layer.success_probability(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    if "state" not in others:  # whose losses are all behind the circuit there
        assert (again.experiment.noise or ML.Noise()) == (layer.experiment.noise or ML.Noise())


def test_phase_noise_goes_both_ways():
    noise = ML.Noise(phase_imprecision=0.1, phase_error=0.02, transmittance=0.5)
    there = ML.to_perceval(layer_of(noise=noise))
    assert (there.noise.phase_imprecision, there.noise.phase_error) == (0.1, 0.02)
    assert ML.from_perceval(there).noise == noise
    ideal_light = ML.Noise(phase_error=0.02)
    there = ML.to_perceval(layer_of(noise=ideal_light))
    assert there.noise.phase_error == 0.02 and there.min_photons_filter == 3
    assert ML.from_perceval(there).noise == ideal_light


def test_learned_noise_goes_there_as_it_is_now():
    layer = layer_of(noise={"transmittance": 0.5, "g2": 0.1, "trainable": ["transmittance"]})
    with torch.no_grad():
        layer.noise.learned["transmittance"].fill_(2.0)
    there = ML.to_perceval(layer)
    assert there.noise.transmittance == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-15)
    assert there.noise.g2 == 0.1


def test_distinguishable_photons_stay_so_under_noise():
    layer = layer_of(kind=ML.DistinguishableLayer, noise={"transmittance": 0.5, "g2": 0.1})
    x = torch.tensor([0.3, 0.8], dtype=torch.float64)
    there = ML.to_perceval(layer, x)
    assert there.noise.indistinguishability == 0
    expected, _ = run(there, layer.outcomes)
    assert np.abs(layer.probabilities(x).detach().numpy() - expected).max() < 1e-9


def experiment(state=(1, 1, 0, 1), least=None, **noise):
    unitary = haar(4, np.random.default_rng(0))
    made = pcvl.Experiment(pcvl.Unitary(pcvl.Matrix(unitary)))
    made.with_input(pcvl.BasicState(list(state)))
    made.noise = pcvl.NoiseModel(**noise)
    if least is not None:
        made.min_detected_photons_filter(least)
    return made


def same(given):
    layer = ML.QuantumLayer(0, experiment=ML.from_perceval(given), dtype=torch.float64)
    expected, kept = run(given, layer.outcomes)
    assert np.abs(layer.probabilities(1)[0].numpy() - expected).max() < 1e-9
    assert abs(layer.success_probability(1).item() - kept) < 1e-9
    return layer.experiment


def test_a_filter_above_the_photons_that_are_asked_for_counts_second_ones():
    found = same(experiment(least=4, g2=0.1, transmittance=0.7))
    assert found.min_detected_photons == 4
    with pytest.raises(ValueError, match=r"must be at most 6, .* got 7: no outcome"):
        ML.from_perceval(experiment(least=7, g2=0.1))


def test_without_a_filter_noisy_light_is_kept_whole():
    given = experiment(transmittance=0.7)
    assert ML.from_perceval(given).min_detected_photons is None
    assert ML.from_perceval(experiment()).outcomes.size == 20  # all three photons, as Perceval


@pytest.mark.parametrize("detector", ["wires", "layers", "threshold", "many"])
def test_detectors_that_show_fewer_photons_than_there_are(detector):
    given = experiment((2, 1, 0, 0), 1)
    kinds = {
        "wires": pcvl.Detector.ppnr(3),
        "layers": pcvl.BSLayeredPPNR(2),
        "threshold": pcvl.Detector.threshold(),
        "many": pcvl.Detector.ppnr(None, 5),
    }
    given.add(1, kinds[detector])
    name = {"wires": "ppnr:3", "layers": "ppnr:4", "threshold": "threshold"}.get(detector)
    found = same(given).detectors
    assert found == (("pnr", name, "pnr", "pnr") if name else None)


def test_heralds_and_losses_behind_the_circuit():
    given = pcvl.catalog["heralded cnot"].build_experiment()
    given.with_input(pcvl.BasicState([1, 0, 1, 0]))
    given.noise = pcvl.NoiseModel(transmittance=0.7, indistinguishability=0.9)
    given.add(0, pcvl.LC(0.2))
    given.add(0, pcvl.LC(0.5))
    given.min_detected_photons_filter(1)
    found = same(given)
    assert found.min_detected_photons == 3 and "[4]==1 & [5]==1" in found.postselect
    assert found.noise.transmittance == pytest.approx((0.28, *[0.7] * 5))
