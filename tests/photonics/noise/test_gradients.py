"""Derivatives in phases, features and every value of the noise, by finite differences."""

import pytest
import torch
from torch.func import functional_call

import hybridlit as ML

LEARNED = {
    "brightness": 0.8,
    "transmittance": 0.6,
    "indistinguishability": 0.7,
    "g2": 0.05,
}
CASES = [
    {"noise": {"indistinguishability": 0.7}},
    {"noise": {"transmittance": 0.6, "brightness": 0.8}},
    {"noise": {"transmittance": [0.6, 0.3, 0.9]}},
    {"noise": {"g2": 0.05}},
    {"noise": LEARNED},
    {"noise": {**LEARNED, "g2_distinguishable": False}, "detectors": "threshold"},
    {
        "noise": {**LEARNED, "transmittance": [0.6, 0.3, 0.9]},
        "detectors": "ppnr:2",
        "min_detected_photons": 1,
        "computation_space": "unbunched",
    },
]


def noisy_layer(case, strategy="none", kind=ML.QuantumLayer, **others):
    torch.manual_seed(0)
    noise = case["noise"]
    learned = [name for name in LEARNED if name in noise and kind is ML.QuantumLayer]
    given = {"n_modes": 3, "input_state": (1, 0, 1), **case, **others}
    given["noise"] = {**noise, "trainable": learned}
    return kind(2, output_mapping_strategy=strategy, dtype=torch.float64, **given)


def function_of(layer):
    """The layer as a function of its features and all of its parameters."""
    names = [name for name, _ in layer.named_parameters()]
    values = [value.detach().clone().requires_grad_() for value in layer.parameters()]

    def outputs(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    x = torch.tensor([[0.2, 0.7], [0.9, 0.4]], dtype=torch.float64, requires_grad=True)
    return outputs, (x, *values)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("strategy", ["none", "mode_expectations", "pair_correlations"])
def test_first_derivatives(case, strategy):
    layer = noisy_layer(case, strategy)
    learned = [name for name, _ in layer.noise.named_parameters()]
    assert sorted(learned) == sorted(f"learned.{n}" for n in case["noise"] if n in LEARNED)
    outputs, inputs = function_of(layer)
    whole = case == {"noise": LEARNED} and strategy == "none"  # else along one random direction
    assert torch.autograd.gradcheck(outputs, inputs, atol=1e-7, rtol=1e-6, fast_mode=not whole)


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[-1]], ids=str)
def test_second_derivatives_and_forward_mode(case):
    outputs, inputs = function_of(noisy_layer(case))
    how = {"atol": 1e-7, "rtol": 1e-6, "fast_mode": True}
    forward = {"check_forward_ad": True, "check_backward_ad": False}
    assert torch.autograd.gradcheck(outputs, inputs, **how, **forward)
    rest = [value.detach() for value in inputs[1:]]
    assert torch.autograd.gradgradcheck(lambda x: outputs(x, *rest), inputs[:1], **how)


def test_values_do_not_leave_their_range():
    """However far a step goes, probabilities stay probabilities."""
    noise = {**LEARNED, "g2": 0.9, "brightness": 0.4, "trainable": ["brightness", "transmittance"]}
    layer = ML.QuantumLayer(2, n_modes=3, input_state=(1, 0, 1), noise=noise, dtype=torch.float64)
    x = torch.rand(2, 2, dtype=torch.float64)
    for far in (-30.0, 30.0):
        with torch.no_grad():
            for value in layer.noise.parameters():
                value.fill_(far)
        found = layer.probabilities(x)
        assert 0 <= (layer.noise.g2 * layer.noise.brightness).item() <= 0.5
        assert (found >= 0).all() and torch.allclose(found.sum(-1), found.new_ones(2))


def test_what_is_learned_is_in_units_of_its_value():
    values = ML.Noise(g2=0.2, transmittance=(0.1, 0.9), brightness=0.6)
    learned = ML.QuantumLayer(
        1, n_modes=2, n_photons=1, noise=values, dtype=torch.float64
    ).noise.learn("g2", "transmittance", "brightness")
    assert torch.allclose(learned.value("g2"), torch.tensor(0.2, dtype=torch.float64), atol=1e-16)
    assert torch.allclose(learned.transmittance, torch.tensor([0.1, 0.9], dtype=torch.float64))
    assert learned.present.brightness == pytest.approx(0.6, abs=1e-15)
    assert sorted(learned.state_dict()) == [
        f"learned.{n}" for n in ("brightness", "g2", "transmittance")
    ]
