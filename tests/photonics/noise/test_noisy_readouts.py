"""Readouts of noisy light are plain sums over what detectors show, with probabilities."""

import numpy as np
import pytest
import torch
from noisy_light import truth

from hybridlit import Noise, QuantumLayer

NOISE = {"brightness": 0.9, "transmittance": 0.7, "indistinguishability": 0.8, "g2": 0.05}
KEPT = {
    "everything": {},
    "some photons": {"min_detected_photons": 2},
    "clicks": {"detectors": "threshold", "min_detected_photons": 1},
    "a rule": {"detectors": "ppnr:2", "postselect": "[0,1]==1"},
    "unbunched": {"computation_space": "unbunched"},
}
SIZES = {"linear": 3, "lexgrouping": 4, "modgrouping": 4, "mode_expectations": None}


def by_hand(layer, strategy, size, shown):
    """Outputs of a mapping from outcomes to probabilities, one summand after the other."""
    outcomes, count = list(layer.outcomes), len(layer.outcomes)
    found = [0.0] * (4 if size is None else size)
    if strategy == "linear":
        weight, bias = layer.readout.weight.tolist(), layer.readout.bias.tolist()
    for place, outcome in enumerate(outcomes):
        chance = shown.get(tuple(outcome), 0.0)
        if strategy == "mode_expectations":
            for mode, number in enumerate(outcome):
                found[mode] += number * chance
        elif strategy == "linear":
            for row in range(size):
                found[row] += weight[row][place] * (count * chance - 1)
        elif strategy == "modgrouping":
            found[place % size] += chance
        else:
            sizes = [count // size + (group < count % size) for group in range(size)]
            found[int(np.searchsorted(np.cumsum(sizes), place, side="right"))] += chance
    return np.add(found, bias) if strategy == "linear" else np.array(found)


@pytest.mark.parametrize("kept", KEPT)
def test_outputs_are_sums_over_outcomes(kept):
    """By brute force: given that they are kept, and of all there is."""
    for strategy, size in SIZES.items():
        torch.manual_seed(0)
        layer = QuantumLayer(
            2, size, n_modes=4, n_photons=2, noise=NOISE, output_mapping_strategy=strategy,
            dtype=torch.float64, **KEPT[kept],
        )  # fmt: skip
        x = torch.rand(1, 2, dtype=torch.float64)
        given = {"detectors": KEPT[kept].get("detectors")}
        given["least"] = KEPT[kept].get("min_detected_photons", 0)
        given["unbunched"] = kept == "unbunched"
        if kept == "a rule":
            given["rule"] = lambda outcome: outcome[0] + outcome[1] == 1
        unitary = layer.unitary(x)[0].detach().numpy()
        shown, whole = truth(unitary, layer.input_state, NOISE, **given)
        assert set(shown) <= {tuple(outcome) for outcome in layer.outcomes}
        found = layer(x)[0].detach().numpy()
        np.testing.assert_allclose(found, by_hand(layer, strategy, size, shown), rtol=0, atol=1e-12)
        chance = layer.success_probability(x).item()
        assert chance == pytest.approx(whole, abs=1e-12)
        probabilities = layer.probabilities(x)[0].detach().numpy()
        exact = [shown.get(tuple(outcome), 0.0) * whole for outcome in layer.outcomes]
        np.testing.assert_allclose(probabilities * chance, exact, rtol=0, atol=1e-13)
        if kept != "everything":
            assert 0.05 < chance < 0.99


@pytest.mark.parametrize("strategy", ["mode_expectations", "pair_correlations"])
def test_means_in_polynomial_time_are_those_of_shown_photons(strategy):
    """Where nothing is dropped and all is resolved there is another way, by columns alone."""
    noises = [
        NOISE,
        {**NOISE, "transmittance": [0.7, 0.2, 1.0, 0.5], "g2_distinguishable": False},
        {"indistinguishability": 0.3},
    ]
    for noise in noises:
        torch.manual_seed(0)
        layer = QuantumLayer(
            2, n_modes=4, n_photons=3, noise=Noise(**noise), output_mapping_strategy=strategy,
            dtype=torch.float64,
        )  # fmt: skip
        x = torch.rand(3, 2, dtype=torch.float64)
        photons = torch.tensor(layer.outcomes.states.astype(float))
        pairs = photons[:, :, None] * photons[:, None] - torch.diag_embed(photons)
        first, second = np.triu_indices(4)
        averaged = photons if strategy == "mode_expectations" else pairs[:, first, second]
        by_sums = layer.probabilities(x) @ averaged
        torch.testing.assert_close(layer(x), by_sums, rtol=0, atol=1e-12)
