"""Random circuits under every kind of noise, against Perceval at its own exact precision."""

import numpy as np
import pytest
import torch
from noisy_light import fixed, unitary_of

pcvl = pytest.importorskip("perceval")

SOURCES = [
    {"indistinguishability": 0.75},
    {"transmittance": 0.4},
    {"brightness": 0.7},
    {"g2": 0.06},
    {"g2": 0.06, "g2_distinguishable": False},
    {"brightness": 0.8, "transmittance": 0.5, "indistinguishability": 0.85, "g2": 0.03},
]
DETECTORS = [None, "threshold", "ppnr:3"]


def there(detector):
    if detector == "threshold":
        return pcvl.Detector.threshold()
    return pcvl.Detector.ppnr(int(detector.removeprefix("ppnr:")))


def perceval(unitary, state, noise, detectors, least, unbunched):
    """Its probabilities, and how much of all light it keeps."""
    processor = pcvl.Processor(
        "SLOS", pcvl.Unitary(pcvl.Matrix(unitary)), noise=pcvl.NoiseModel(**noise)
    )
    if detectors is not None:
        for mode in range(len(state)):
            processor.add(mode, there(detectors))
    processor.min_detected_photons_filter(least)
    processor.with_input(pcvl.BasicState(list(state)))
    answer = processor.probs(precision=1e-15)
    found = {tuple(shown): chance for shown, chance in answer["results"].items()}
    if unbunched:
        found = {shown: chance for shown, chance in found.items() if max(shown) <= 1}
    share = sum(found.values())
    return {shown: chance / share for shown, chance in found.items()}, answer["global_perf"] * share


def equal(seed, noise, modes, photons):
    """One random circuit and input, with detectors, a filter and a space drawn as well."""
    random = np.random.default_rng(seed)
    state = [0] * modes
    for mode in random.integers(0, modes, photons):
        state[mode] += 1
    detectors, least = DETECTORS[seed % 3], int(random.integers(0, 2))
    space = "unbunched" if seed % 2 and modes > photons else "fock"
    unitary = unitary_of(seed, modes)
    layer = fixed(
        unitary, tuple(state), noise=noise, detectors=detectors, min_detected_photons=least,
        computation_space=space,
    )  # fmt: skip
    expected, kept = perceval(unitary, state, noise, detectors, least, space == "unbunched")
    found = dict(zip(layer.outcomes, layer.probabilities(1)[0].tolist(), strict=True))
    assert set(expected) <= set(found)
    worst = max(abs(chance - expected.get(shown, 0.0)) for shown, chance in found.items())
    assert worst < 1e-9, (noise, state, detectors, least, space)
    assert abs(layer.success_probability(1).item() - kept) < 1e-9


@pytest.mark.parametrize("seed", range(9))
def test_small_circuits(seed):
    equal(seed, SOURCES[seed % len(SOURCES)], 3 + seed % 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("noise", SOURCES, ids=str)
@pytest.mark.parametrize("seed", range(50))
def test_fifty_circuits_under_every_source(seed, noise):
    modes = 3 + seed % 4
    equal(seed, noise, modes, min(1 + seed // 4 % 4, modes))


def test_the_largest_with_every_source_at_once():
    noise = {"transmittance": 0.5, "indistinguishability": 0.85, "brightness": 0.9}
    equal(4, noise, 6, 4)


def test_layers_with_data_are_what_perceval_gives_for_each_sample():
    import hybridlit as ML

    torch.manual_seed(0)
    noise = {"indistinguishability": 0.8, "transmittance": 0.6}
    layer = ML.QuantumLayer(3, n_modes=4, n_photons=3, noise=noise, dtype=torch.float64)
    x = torch.rand(2, 3, dtype=torch.float64)
    for unitary, found in zip(layer.unitary(x), layer.probabilities(x), strict=True):
        expected, _ = perceval(unitary.detach().numpy(), layer.input_state, noise, None, 0, False)
        for shown, chance in zip(layer.outcomes, found.tolist(), strict=True):
            assert abs(chance - expected.get(shown, 0.0)) < 1e-9
