"""Noise against closed forms and against numbers that others have published."""

import math

import numpy as np
import pytest
import torch
from noisy_light import fixed, unitary_of
from permanents import fourier

import hybridlit as ML
from hybridlit.photonics.noise.mixture import mixture
from hybridlit.photonics.noise.program import program_for
from hybridlit.photonics.noise.values import NoiseValues, arriving

SPLITTER = np.array([[1, 1j], [1j, 1]]) / math.sqrt(2)
LEVELS = [0.0, 0.3, 0.7, 0.92, 1.0]


def chances(layer, *outcomes):
    found = dict(zip(layer.outcomes, layer.probabilities(1)[0].tolist(), strict=True))
    return [found[outcome] for outcome in outcomes]


@pytest.mark.parametrize("level", LEVELS)
def test_two_photons_at_a_splitter(level):
    layer = fixed(SPLITTER, (1, 1), noise={"indistinguishability": level})
    found = chances(layer, (1, 1), (2, 0), (0, 2))
    expected = [(1 - level) / 2, (1 + level) / 4, (1 + level) / 4]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("level", LEVELS)
def test_three_photons_at_a_tritter(level):
    layer = fixed(fourier(3), (1, 1, 1), noise={"indistinguishability": level})
    three = level**1.5
    expected = {
        (1, 1, 1): 2 / 9 - level / 3 + 4 / 9 * three,
        (3, 0, 0): (1 + 3 * level + 2 * three) / 27,
        (2, 1, 0): (1 - three) / 9,
    }
    for outcome, found in zip(layer.outcomes, layer.probabilities(1)[0].tolist(), strict=True):
        assert abs(found - expected[tuple(sorted(outcome, reverse=True))]) < 1e-12


def test_numbers_of_other_simulators():
    """Those that Perceval and MerLin give at a tritter."""
    outcomes = [(1, 1, 1), (3, 0, 0), (2, 1, 0)]
    layer = fixed(fourier(3), (1, 1, 1), noise={"indistinguishability": 0.92})
    known = [0.307748000129, 0.204624666688, 0.013062999968]
    np.testing.assert_allclose(chances(layer, *outcomes), known, rtol=0, atol=1e-12)
    layer = fixed(fourier(3), (1, 1, 1), noise={"transmittance": 0.3})
    outcomes = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 1, 1), (3, 0, 0)]
    known = [0.343, 0.147, 0.042, 0.021, 0.009, 0.006]
    np.testing.assert_allclose(chances(layer, *outcomes), known, rtol=0, atol=1e-15)
    layer = fixed(fourier(3), (1, 1, 1), noise={"g2": 0.05})
    known = [0.307686689, 0.205124459, 0.008321779]
    found = chances(layer, (1, 1, 1), (3, 0, 0), (2, 1, 1))
    np.testing.assert_allclose(found, known, rtol=0, atol=1e-9)
    two = 1 - (3 * found[0]) ** (1 / 3)
    assert abs(two - 0.026334039) < 1e-9


@pytest.mark.parametrize(
    "noise, two",
    [
        ({"g2": 0.05}, 0.026334039),
        ({"g2": 0.01}, 0.005050634),
        ({"g2": 0.05, "brightness": 0.5}, 0.006411310),
        ({"g2": 0.5}, 1.0),
        ({"g2": 1.0, "brightness": 0.5}, 0.5),
    ],
)
def test_how_often_there_are_two_photons(noise, two):
    layer = fixed(np.eye(2), (0, 1), noise=noise)
    assert abs(chances(layer, (0, 2))[0] - two) < 1e-9


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("brightness, transmittance", [(1.0, 1.0), (0.7, 0.3)])
def test_g2_is_what_a_hanbury_brown_and_twiss_setup_measures(apart, brightness, transmittance):
    """<n (n - 1)> / <n>^2 of one source, which neither loss nor kind of second photon changes."""
    noise = ML.Noise(brightness, transmittance, 0.6, 0.08, apart)
    layer = fixed(unitary_of(0, 3), (0, 1, 0), noise=noise)
    number = layer.outcomes.states.sum(1)
    chance = layer.probabilities(1)[0].numpy()
    mean, pairs = chance @ number, chance @ (number * (number - 1))
    assert abs(pairs / mean**2 - 0.08) < 1e-13
    at_source = brightness + chance_of_two(brightness, 0.08)
    assert abs(mean - transmittance * at_source) < 1e-14


def chance_of_two(brightness, g2):
    return (1 - g2 * brightness - math.sqrt(1 - 2 * g2 * brightness)) / g2


@pytest.mark.parametrize("eta", [0.0, 0.2, 0.75, 1.0])
def test_a_click_alone_behind_a_splitter(eta):
    noise = {"transmittance": eta} if eta else {"transmittance": [1.0, 0.0]}
    layer = fixed(SPLITTER, (1, 1), noise=noise, detectors="threshold")
    alone = eta**2 / 2 + eta * (1 - eta)
    if not eta:  # the second mode shows nothing, the first half of the pairs
        alone = 0.5
    assert abs(chances(layer, (1, 0))[0] - alone) < 1e-15


def test_wires_from_one_to_many():
    """Three photons of one mode: all in one of k wires, or all in different ones."""
    for wires in (1, 2, 3, 10):
        name = "threshold" if wires == 1 else f"ppnr:{wires}"
        layer = fixed(np.eye(2), (3, 1), detectors=[name, "pnr"], noise={"transmittance": 0.5})
        chance = 0.5**3 * 0.5
        one = chance / wires**2 + 3 * 0.5**2 * 0.5 / 2 / wires + 3 * 0.5 * 0.25 / 2
        assert abs(chances(layer, (1, 1))[0] - one) < 1e-15
        if wires >= 3:
            all_three = chance * (wires - 1) * (wires - 2) / wires**2
            assert abs(chances(layer, (3, 1))[0] - all_three) < 1e-15


def light_of(kind, values, state=(1, 1, 1), modes=4):
    """The light that values give by the plan that was made for others."""
    photons = tuple(mode for mode, number in enumerate(state) for _ in range(number))
    program = program_for(kind, photons, modes, ML.ComputationSpace.FOCK)
    columns = torch.from_numpy(unitary_of(1, modes))[:, list(program.inputs), None]
    weights = NoiseValues(values, dtype=torch.float64).weights(program, columns.real)
    found = mixture(columns, weights, program)[0]
    return program.light, found


@pytest.mark.parametrize("alike", [0.0, 1.0])
@pytest.mark.parametrize("state", [(1, 1, 1, 0), (2, 0, 1, 0)])
def test_ends_of_indistinguishability_are_exact(alike, state):
    """The plan of partly distinguishable photons, at both ends, is that of the ends."""
    between = light_of(
        ML.Noise(indistinguishability=0.5), ML.Noise(indistinguishability=alike), state
    )
    end = ML.Noise(indistinguishability=alike)
    torch.testing.assert_close(between[1], light_of(end, end, state)[1], rtol=0, atol=1e-16)


@pytest.mark.parametrize("others", [{}, {"indistinguishability": 0.5}, {"g2": 0.1}])
def test_ends_of_transmittance_are_exact(others):
    kind = ML.Noise(transmittance=0.5, **others)
    light, found = light_of(kind, ML.Noise(**others))
    whole, expected = light_of(ML.Noise(**others), ML.Noise(**others))
    kept = [place for place, state in enumerate(light.states) if state.sum() >= whole.least]
    torch.testing.assert_close(found[kept], expected, rtol=0, atol=1e-16)
    assert not found.sum() - found[kept].sum()
    light, found = light_of(kind, ML.Noise(transmittance=0.0, **others))
    vacuum = torch.zeros_like(found)
    vacuum[light.index((0, 0, 0, 0))] = 1
    torch.testing.assert_close(found, vacuum, rtol=0, atol=1e-15)


def test_ends_of_the_layer_are_ideal_and_distinguishable():
    unitary, state = unitary_of(2, 4), (1, 1, 0, 1)
    ideal = fixed(unitary, state)
    for noise in ({}, "none", {"indistinguishability": 1, "transmittance": 1.0, "g2": 0}):
        given = None if noise == "none" else noise
        assert torch.equal(
            fixed(unitary, state, noise=given).probabilities(1), ideal.probabilities(1)
        )
    apart = ML.DistinguishableLayer.from_layer(ideal).probabilities(1)
    assert torch.equal(
        fixed(unitary, state, noise={"indistinguishability": 0}).probabilities(1), apart
    )


def test_loss_commutes_with_the_circuit():
    """Lost at each output alike is lost at the source, whatever the light."""
    unitary, state = unitary_of(3, 4), (1, 0, 2, 0)
    for others in ({}, {"indistinguishability": 0.4}, {"g2": 0.1}):
        source = fixed(unitary, state, noise={"transmittance": 0.6, **others})
        output = fixed(unitary, state, noise={"transmittance": [0.6] * 4, **others})
        assert source.outcomes.states.tolist() == output.outcomes.states.tolist()
        torch.testing.assert_close(
            source.probabilities(1), output.probabilities(1), rtol=0, atol=1e-15
        )


def test_as_many_photons_as_asked_for_are_the_ideal_outcomes_in_their_order():
    unitary, state = unitary_of(4, 4), (1, 0, 1, 0)
    ideal = fixed(unitary, state)
    lossy = fixed(unitary, state, noise={"transmittance": 0.3}, min_detected_photons=2)
    assert list(lossy.outcomes) == list(ideal.outcomes)
    torch.testing.assert_close(lossy.probabilities(1), ideal.probabilities(1), rtol=0, atol=1e-15)
    assert abs(float(lossy.success_probability(1)) - 0.09) < 1e-15


def test_how_many_photons_arrive():
    for noise in (
        ML.Noise(0.7, 0.3, 0.9, 0.1),
        ML.Noise(transmittance=0.3),
        ML.Noise(g2=0.1),
        ML.Noise(0.7, 0.4, 0.5, 0.2, False),
    ):
        layer = fixed(unitary_of(5, 4), (1, 1, 1, 0), noise=noise)
        number = layer.outcomes.states.sum(1)
        found = np.bincount(number, layer.probabilities(1)[0].numpy(), minlength=7)
        expected = np.zeros(7)
        chance = arriving(noise, 3)
        expected[: len(chance)] = chance
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
