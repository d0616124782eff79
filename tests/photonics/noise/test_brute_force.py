"""Noise in every combination, against every history of every photon, one after the other."""

import numpy as np
import pytest
from noisy_light import fixed, in_order, truth, unitary_of

SOURCES = [
    {"indistinguishability": 0.7},
    {"indistinguishability": 0.0},
    {"brightness": 0.6},
    {"transmittance": 0.3},
    {"g2": 0.08},
    {"g2": 0.08, "g2_distinguishable": False},
    {"g2": 0.2, "brightness": 0.5},
    {"brightness": 0.8, "transmittance": 0.4, "indistinguishability": 0.6},
    {"g2": 0.1, "indistinguishability": 0.6},
    {"g2": 0.1, "transmittance": 0.4},
    {"g2": 0.1, "indistinguishability": 0.0, "transmittance": 0.4},
    {"g2": 0.1, "indistinguishability": 0.0, "g2_distinguishable": False, "brightness": 0.7},
    {"g2": 0.1, "indistinguishability": 0.6, "transmittance": 0.4, "brightness": 0.7},
    {
        "g2": 0.1,
        "indistinguishability": 0.6,
        "transmittance": 0.4,
        "brightness": 0.7,
        "g2_distinguishable": False,
    },
]


def same(layer, unitary, state, noise=None, **others):
    expected, whole = truth(unitary, state, noise, **others)
    found = layer.probabilities(1)[0].numpy()
    assert np.abs(found - in_order(expected, layer.outcomes)).max() < 1e-14
    assert abs(float(layer.success_probability(1)) - whole) < 1e-14


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


STATES = [(1, 1, 0), (2, 0, 1), (0, 0, 1), slow((0, 3)), slow((0, 1, 1, 1))]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("noise", SOURCES, ids=str)
def test_sources(noise, state):
    unitary = unitary_of(sum(state), len(state))
    same(fixed(unitary, state, noise=noise), unitary, state, noise)


UNBUNCHED = [SOURCES[0], *SOURCES[2:6], *SOURCES[-3:]]


@pytest.mark.parametrize("noise", UNBUNCHED, ids=str)
@pytest.mark.parametrize("state", [(1, 1, 0), slow((1, 0, 2, 0))])
def test_unbunched_outcomes(noise, state):
    unitary = unitary_of(3, len(state))
    layer = fixed(unitary, state, noise=noise, computation_space="unbunched")
    assert layer.outcomes.states.max() == 1
    same(layer, unitary, state, noise, unbunched=True)


BY_MODE = [0.3, 1.0, 0.0, 0.8]


@pytest.mark.parametrize(
    "noise", [{}, {"g2": 0.1}, {"indistinguishability": 0.5, "brightness": 0.7}, SOURCES[-1]]
)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_loss_by_output_mode(noise, space):
    noise = {**noise, "transmittance": BY_MODE}
    unitary, state = unitary_of(5, 4), (1, 0, 1, 0)
    layer = fixed(unitary, state, noise=noise, computation_space=space)
    same(layer, unitary, state, noise, unbunched=space == "unbunched")


DETECTORS = ["threshold", "ppnr:2", "ppnr:3", ["pnr", "threshold", "ppnr:2", "ppnr:4"]]


@pytest.mark.parametrize("detectors", DETECTORS, ids=str)
@pytest.mark.parametrize("noise", [None, {"transmittance": 0.6}, SOURCES[-2]])
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_detectors(detectors, noise, space):
    unitary, state = unitary_of(6, 4), (1, 0, 1, 0)
    layer = fixed(unitary, state, noise=noise, detectors=detectors, computation_space=space)
    same(layer, unitary, state, noise, detectors=detectors, unbunched=space == "unbunched")


@pytest.mark.parametrize("least", [1, 2, 3, 4])
@pytest.mark.parametrize("detectors", [None, "threshold", "ppnr:2"])
def test_what_is_kept_is_what_detectors_show(least, detectors):
    noise = {"g2": 0.1, "transmittance": 0.6, "indistinguishability": 0.8}
    unitary, state = unitary_of(7, 5), (1, 1, 0, 0, 0)
    layer = fixed(
        unitary,
        state,
        noise=noise,
        detectors=detectors,
        min_detected_photons=least,
    )
    assert layer.outcomes.states.sum(1).min() == least
    same(layer, unitary, state, noise, detectors=detectors, least=least)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("detectors", [None, "threshold"])
def test_every_kind_of_post_selection_together(space, detectors):
    noise = {"g2": 0.1, "transmittance": 0.6, "indistinguishability": 0.8}
    unitary, state = unitary_of(8, 4), (1, 0, 1, 0)
    layer = fixed(
        unitary, state, noise=noise, detectors=detectors, min_detected_photons=1,
        computation_space=space, postselect="[0,1]==1 & [3]<2",
    )  # fmt: skip
    same(
        layer, unitary, state, noise, detectors=detectors, least=1, unbunched=space == "unbunched",
        rule=lambda shown: shown[0] + shown[1] == 1 and shown[3] < 2,
    )  # fmt: skip
