"""Inputs, detectors, heralds and post-selection to and from Perceval, by its own answers."""

import itertools

import numpy as np
import pytest
import torch

import hybridlit as ML

pcvl = pytest.importorskip("perceval")

from perceval_circuits import between, random_circuit, run  # noqa: E402

DOUBLE = {"dtype": torch.float64}


def layer_of(experiment, kind=ML.QuantumLayer):
    features = experiment.input_size
    return kind(features, experiment=experiment, output_mapping_strategy="none", **DOUBLE)


def random_layer(seed, kind=ML.QuantumLayer, state=(1, 0, 1, 1), **others):
    random = np.random.default_rng(seed)
    inner = random_circuit(random, 4, 2, 4).add(ML.PhaseShifter(ML.Data([0.5, 1.5])), 0)
    circuit = between(random, inner)
    layer = layer_of(ML.Experiment(circuit=circuit, input_state=state, **others), kind)
    return layer, torch.tensor(random.uniform(0, 6, 2))


def same_answers(layer, there, x):
    expected, kept = run(there, layer.outcomes)
    assert np.abs(layer.probabilities(x).detach().numpy() - expected).max() < 1e-10
    assert abs(layer.success_probability(x).item() - kept) < 1e-10


SURROUNDINGS = [
    {},
    {"computation_space": "unbunched"},
    {"postselect": "[0,1]==1 & [2]<2"},
    {"postselect": "[0]==0 | ([1]==1 & [3]>0)", "computation_space": "unbunched"},
    {"postselect": "dual_rail", "state": (1, 0, 0, 1)},
    {"state": (2, 0, 1, 0), "postselect": "!([3]==0)"},
    {"state": {(1, 0, 1, 0): 1, (0, 1, 0, 1): 1j, (2, 0, 0, 0): -0.5}},
    {"state": {(1, 0, 1, 0): 3, (0, 1, 0, 1): 4j}, "computation_space": "unbunched"},
]


@pytest.mark.parametrize("others", SURROUNDINGS)
def test_perceval_answers_as_the_layer(others):
    layer, x = random_layer(1, **others)
    same_answers(layer, ML.to_perceval(layer, x), x)
    symbolic = ML.to_perceval(layer)
    again = layer_of(ML.from_perceval(symbolic))
    assert again.experiment.rule == layer.experiment.rule
    assert again.fock_space == layer.fock_space and again.input_state == layer.input_state
    torch.testing.assert_close(again.probabilities(x), layer.probabilities(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(again.success_probability(x), layer.success_probability(x))
    for feature, value in enumerate(x.tolist()):
        symbolic.get_circuit_parameters()[f"x{feature}"].set_value(value)
    same_answers(layer, symbolic, x)


@pytest.mark.parametrize("others", SURROUNDINGS[:3])
def test_distinguishable_photons_are_those_of_perceval(others):
    layer, x = random_layer(2, ML.DistinguishableLayer, **others)
    there = ML.to_perceval(layer, x)
    same_answers(layer, there, x)
    again = layer_of(ML.from_perceval(there))
    assert again.experiment.noise == ML.Noise(indistinguishability=0)
    assert list(again.outcomes) == list(layer.outcomes)
    found, expected = again.probabilities(1), layer.probabilities(x[None])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


GATES = ["klm cnot", "heralded cnot", "postprocessed cnot", "heralded cz", "postprocessed cz"]
GATES += ["postprocessed ccz", "toffoli"]


@pytest.mark.parametrize("name", GATES)
def test_gates_of_the_catalog_do_what_they_do_there(name):
    qubits = 3 if name in GATES[5:] else 2
    for rails in itertools.product([(1, 0), (0, 1)], repeat=qubits):
        given = pcvl.catalog[name].build_experiment()
        given.with_input(pcvl.BasicState([photons for rail in rails for photons in rail]))
        layer = layer_of(ML.from_perceval(given))
        expected, kept = run(given, layer.outcomes)
        found = layer.probabilities(1)[0]
        assert np.abs(found.numpy() - expected).max() < 1e-10
        assert abs(float(layer.success_probability(1)) - kept) < 1e-10
        if name.endswith(("cnot", "toffoli")):  # the last qubit is turned if the others are 1
            (one,) = (state for state, p in zip(layer.outcomes, found, strict=True) if p > 0.5)
            *controls, last = rails
            flipped = last[::-1] if set(controls) == {(0, 1)} else last
            assert one[2 * qubits - 2 : 2 * qubits] == flipped


def test_a_composed_processor_with_heralds_in_the_middle():
    given = pcvl.Processor("SLOS", 4)
    given.add(0, pcvl.catalog["h"].build_experiment())
    given.add(0, pcvl.catalog["heralded cnot"].build_experiment())
    given.with_input(pcvl.BasicState([1, 0, 1, 0]))
    layer = layer_of(ML.from_perceval(given))
    expected, kept = run(given.experiment, layer.outcomes)
    assert np.abs(layer.probabilities(1)[0].numpy() - expected).max() < 1e-10
    assert abs(float(layer.success_probability(1)) - kept) < 1e-10


def experiment(state=(1, 1, 0), **noise):
    made = pcvl.Experiment(pcvl.Circuit(3).add(0, pcvl.Unitary.fourier(3)))
    made.with_input(pcvl.BasicState(list(state)))
    if noise:
        made.noise = pcvl.NoiseModel(**noise)
    return made


def test_a_detector_that_counts_up_to_a_number_selects():
    given = experiment((2, 1, 0))
    given.add(1, pcvl.Detector.threshold())
    given.add(2, pcvl.Detector.ppnr(None, 2))
    given.min_detected_photons_filter(3)
    layer = layer_of(ML.from_perceval(given))
    assert layer.experiment.rule == "[1]<=1 & [2]<=2"
    expected, kept = run(given, layer.outcomes)
    assert np.abs(layer.probabilities(1)[0].numpy() - expected).max() < 1e-10
    assert abs(float(layer.success_probability(1)) - kept) < 1e-10


def test_photons_that_are_heralded_count_among_those_asked_for():
    given = pcvl.catalog["heralded cnot"].build_experiment()
    for mode in range(4):
        given.add(mode, pcvl.Detector.threshold())
    given.with_input(pcvl.BasicState([1, 0, 1, 0]))
    given.min_detected_photons_filter(2)
    layer = layer_of(ML.from_perceval(given))
    assert layer.experiment.rule.startswith("[4]==1 & [5]==1 & [0]<=1")
    expected, kept = run(given, layer.outcomes)
    assert np.abs(layer.probabilities(1)[0].numpy() - expected).max() < 1e-10
    assert abs(layer.success_probability(1).item() - kept) < 1e-10


def test_detectors_that_see_all_there_can_be_change_nothing():
    given = experiment()
    for mode in range(3):
        given.add(mode, pcvl.Detector.ppnr(None, 2))
    assert ML.from_perceval(given) == ML.from_perceval(experiment())


# --- what is refused ------------------------------------------------------------------------------


def without_input():
    return pcvl.Experiment(pcvl.Circuit(2) // pcvl.BS())


def with_component(component):
    made = experiment()
    made.add(0, component)
    return made


def with_loss_inside():
    made = with_component(pcvl.LC(0.1))
    made.add(0, pcvl.BS())
    return made


def with_source(state):
    made = with_state(state)
    made.noise = pcvl.NoiseModel(transmittance=0.5)
    return made


def with_detector(detector, asked=None):
    made = experiment()
    made.add(1, detector)
    if asked is not None:
        made.min_detected_photons_filter(asked)
    return made


def with_rule(rule):
    made = experiment()
    made.set_postselection(pcvl.PostSelect(rule))
    return made


def with_state(state):
    made = experiment()
    made.with_input(state)
    return made


REFUSED = [
    (
        lambda: with_state(pcvl.StateVector([1, 1, 0]) + pcvl.StateVector([1, 0, 0])),
        "one number of",
    ),
    (
        lambda: with_state(
            pcvl.SVDistribution(
                {pcvl.StateVector([1, 1, 0]): 0.5, pcvl.StateVector([1, 0, 1]): 0.5}
            )
        ),
        "must be a Fock state or a superposition of some",
    ),
    (without_input, "must have an input state, got none"),
    (lambda: experiment((0, 0, 0)), "n_photons must be at least 1, got 0"),
    (lambda: with_component(pcvl.TD(1)), "got a component 'TD'"),
    (lambda: with_loss_inside(), "got a component 'LC'"),
    (lambda: with_detector(pcvl.BSLayeredPPNR(1, 0.2)), "must count photons, or have wires .* 1"),
    (lambda: with_detector(pcvl.Detector.ppnr(2, None, 0.9)), "all and for sure, got 'PPNR'"),
    (lambda: with_source(pcvl.StateVector([1, 1, 0]) + pcvl.StateVector([0, 1, 1])), "Fock state"),
    (lambda: with_detector(pcvl.BSLayeredPPNR(2, 0.4)), "got 'BS-PPNR2' on mode 1"),
    (lambda: with_detector(pcvl.Detector.pnr(), 3), "must be at most 2, .* got 3: no outcome"),
    (lambda: with_rule("[0]==1 & (![1]==0) & [2]==0"), "takes its own .* for another rule"),
]


@pytest.mark.parametrize("make, words", REFUSED)
def test_what_is_not_simulated_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        ML.from_perceval(make())
