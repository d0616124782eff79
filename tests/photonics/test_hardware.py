"""Trained layers under other light and detectors: against layers that are made so."""

import numpy as np
import pytest
import torch

from hybridlit import Noise, QuantumLayer, QuantumLayerStack
from hybridlit.photonics import DistinguishableLayer

READOUTS = [("linear", 3), ("none", None), ("modgrouping", 3), ("lexgrouping", 2)]
EVERYWHERE = "[0,1,2,3]<=2"


def layer(mapping="linear", outputs=3, **circuit):
    circuit = {"n_modes": 4, "n_photons": 2, "dtype": torch.float64} | circuit
    return QuantumLayer(2, outputs, output_mapping_strategy=mapping, **circuit)


def rows(count=5):
    return torch.rand(count, 2, dtype=torch.float64)


@pytest.mark.parametrize(("mapping", "outputs"), READOUTS)
def test_a_readout_keeps_the_outcomes_that_it_was_made_for(mapping, outputs):
    noise = Noise(transmittance=0.3, indistinguishability=0.6, g2=0.05)
    one = layer(mapping, outputs)
    other = one.with_noise(noise)
    made = layer(mapping, outputs, noise=noise, min_detected_photons=2, postselect=EVERYWHERE)
    made.load_state_dict(dict(one.state_dict()))
    x = rows()
    assert other.outcomes.states.tolist() == one.outcomes.states.tolist()
    assert torch.equal(other(x), made(x)) and not torch.allclose(other(x), one(x))
    assert torch.equal(other.success_probability(x), made.success_probability(x))
    assert one.experiment.noise is None  # and it is as it was


@pytest.mark.parametrize("mapping", ["mode_expectations", "pair_correlations"])
def test_means_are_of_all_that_is_shown_or_of_what_is_asked_for(mapping):
    one, x = layer(mapping, None), rows()
    power = 1 if mapping == "mode_expectations" else 2
    lossy = one.with_noise({"transmittance": 0.3})
    assert torch.allclose(lossy(x), 0.3**power * one(x), atol=1e-12)
    kept = one.with_noise({"transmittance": 0.3}, min_detected_photons=2)
    assert torch.allclose(kept(x), one(x), atol=1e-12)
    assert torch.allclose(kept.success_probability(x), torch.tensor(0.09).double(), atol=1e-8)


def test_without_noise_it_is_the_layer_again():
    noisy = layer(noise="ascella", min_detected_photons=2, postselect=EVERYWHERE)
    x, ideal = rows(), noisy.with_noise(None)
    assert ideal.experiment.noise is None
    assert torch.equal(ideal.phases, noisy.phases)
    assert torch.allclose(ideal(x), layer_like(noisy)(x), atol=1e-12)


def layer_like(noisy):
    made = layer()
    made.load_state_dict(dict(noisy.state_dict()))
    return made


def test_copies_are_of_the_same_kind_mode_and_trainable_parameters():
    one = QuantumLayer(2, 3, n_modes=4, n_photons=2, use_bandwidth_tuning=True).eval()
    one.phases.requires_grad_(False)
    one.set_unitary(0, np.eye(4))
    before = torch.get_rng_state()
    copy = one.with_noise("belenos")
    assert torch.equal(torch.get_rng_state(), before)
    assert not copy.training and not copy.phases.requires_grad and copy.bandwidth.requires_grad
    assert copy.phases.data_ptr() != one.phases.data_ptr()
    assert torch.equal(copy.frozen, one.frozen)
    apart = DistinguishableLayer.from_layer(one).with_noise({"transmittance": 0.5})
    assert isinstance(apart, DistinguishableLayer)
    x = torch.rand(3, 2)
    assert torch.allclose(apart(x), DistinguishableLayer.from_layer(one)(x), atol=1e-6)


def test_stacks_and_learned_noise():
    stack = QuantumLayerStack(2, 2, 3, n_modes=4, n_photons=2)
    noisy = stack.with_noise(Noise(indistinguishability=0.5, trainable=["indistinguishability"]))
    assert [n for n, _ in noisy.noise.named_parameters()] == ["learned.indistinguishability"]
    x = torch.rand(4, 2)
    for index, one in enumerate(stack.layers()):
        alone = one.with_noise({"indistinguishability": 0.5})(x)
        assert torch.allclose(noisy(x)[:, index], alone, atol=1e-5)
    again = noisy.with_noise("ascella")  # what was learned is not taken along
    assert not list(again.noise.parameters())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"detectors": "threshold"}, r"'linear' was made for 10 outcomes.*there are 6 others"),
        ({"min_detected_photons": 1}, r"min_detected_photons=1 there are 69 others: leave min_det"),
        ({"min_detected_photons": 5}, "min_detected_photons must be at most 4"),
        ({"detectors": "threshhold"}, "a detector must be 'pnr', 'threshold' or"),
    ],
)
def test_readouts_of_other_outcomes_are_refused_with_what_to_do(asked, said):
    with pytest.raises(ValueError, match=said):
        layer().with_noise("ascella", **asked)


def test_noise_of_a_source_is_refused_for_superpositions():
    state = {(1, 1, 0, 0): 1.0, (0, 0, 1, 1): 1.0}
    superposed = layer(input_state=state)
    with pytest.raises(ValueError, match="noise of a source needs photons in each mode"):
        superposed.with_noise({"indistinguishability": 0.5})
    x = rows()
    assert torch.allclose(superposed.with_noise({"transmittance": 0.4})(x), superposed(x))


@pytest.mark.parametrize(
    "circuit",
    [
        {},
        {"computation_space": "unbunched"},
        {"postselect": "[0]<=1 & [1]<=1", "noise": {"transmittance": 0.6}},
        {"noise": {"transmittance": 0.5}, "detectors": "threshold", "min_detected_photons": 2},
        {"computation_space": "unbunched", "detectors": "ppnr:3", "min_detected_photons": 1},
    ],
)
def test_the_mean_share_of_what_is_kept_is_that_of_random_circuits(circuit):
    one = layer("none", None, **circuit)
    found = []
    for seed in range(60):
        torch.manual_seed(seed)
        one.reset_parameters()
        found.append(float(one.success_probability(rows(1))))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - one.outcomes.mean_kept) <= 4 * error + 1e-9
