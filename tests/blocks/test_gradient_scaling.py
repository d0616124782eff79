"""Outputs unchanged, gradients scaled once; and who feels it."""

import copy
import math

import pytest
import torch
from torch import nn

from hybridlit import Experiment, QuantumLayer, photonic_modules, split_parameters
from hybridlit.blocks.wrappers import GradientScaledQuantumLayer
from hybridlit.templates import SequentialHybrid


def quantum_layer():
    torch.manual_seed(4)
    circuit = Experiment("series", n_modes=4, n_photons=2, use_bandwidth_tuning=True)
    return QuantumLayer(3, 4, experiment=circuit)


def gradients(layer):
    """Gradients of a chain around the layer, by name."""
    torch.manual_seed(5)
    model = nn.ModuleDict({"pre": nn.Linear(3, 3), "layer": layer, "post": nn.Linear(4, 2)})
    x = torch.randn(6, 3)
    model["post"](layer(torch.sigmoid(model["pre"](x)))).square().sum().backward()
    inner = {
        id(p): f"layer.{name}"
        for name, p in getattr(layer, "quantum_layer", layer).named_parameters()
    }
    return {inner.get(id(p), name): p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scale", [0.1, 0.0, 1 / 3, 7.0])
def test_outputs_are_those_of_the_layer_to_the_bit(training, scale):
    layer = quantum_layer().train(training)
    scaled = GradientScaledQuantumLayer(layer, scale).train(training)
    x = torch.rand(50, 3)
    assert torch.equal(scaled(x), layer(x))


@pytest.mark.parametrize("scale", [0.1, 0.0, 2.5])
def test_gradients_are_scaled_once_in_and_before_the_layer_only(scale):
    plain = gradients(quantum_layer())
    scaled = gradients(GradientScaledQuantumLayer(quantum_layer(), scale))
    assert set(plain) == set(scaled) and "layer.phases" in plain
    for name, gradient in plain.items():
        assert gradient.norm() > 0
        factor = 1.0 if name.startswith("post") else scale
        torch.testing.assert_close(scaled[name], factor * gradient)


def test_evaluation_leaves_gradients_alone():
    plain = gradients(quantum_layer().eval())
    scaled = gradients(GradientScaledQuantumLayer(quantum_layer(), 0.1).eval())
    for name, gradient in plain.items():
        torch.testing.assert_close(scaled[name], gradient)


def steps(optimizer_class, scale, count=20):
    """The phases after some steps, relative to where they were."""
    layer = GradientScaledQuantumLayer(quantum_layer(), scale)
    start = layer.quantum_layer.phases.detach().clone()
    optimizer = optimizer_class(layer.parameters(), lr=1e-2)
    x = torch.rand(16, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(count):
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()
    return layer.quantum_layer.phases.detach() - start


def test_sgd_feels_the_factor_and_adam_hardly():
    sgd = steps(torch.optim.SGD, 0.1, 1).norm() / steps(torch.optim.SGD, 1.0, 1).norm()
    assert sgd.item() == pytest.approx(0.1, rel=1e-3)
    free, scaled = (steps(torch.optim.Adam, scale) for scale in (1.0, 0.1))
    assert (scaled - free).norm() < 1e-3 * free.norm()


def test_it_stands_in_a_template_and_counts_as_photonic_by_its_content(tmp_path):
    class Scaled(SequentialHybrid):
        def build_quantum(self):
            return GradientScaledQuantumLayer(super().build_quantum(), scale_factor=0.5)

    model = Scaled(5, 3, 2, n_modes=4, n_photons=2)
    assert set(photonic_modules(model)) == {"quantum_layer.quantum_layer"}
    assert set(split_parameters(model)["photonic"]) == {
        "quantum_layer.quantum_layer.phases",
        "quantum_layer.quantum_layer.bandwidth",
    }
    assert model.quantum_layer.output_size == model.quantum_layer.quantum_layer.output_size == 6
    assert model(torch.randn(4, 5)).shape == (4, 2)


def test_any_layer_can_be_wrapped_copied_and_saved():
    scaled = GradientScaledQuantumLayer(nn.Linear(3, 4), 0.5)
    x = torch.randn(2, 3)
    assert torch.equal(copy.deepcopy(scaled)(x), scaled(x))
    assert list(scaled.state_dict()) == ["quantum_layer.weight", "quantum_layer.bias"]
    assert "scale_factor=0.5" in repr(scaled)
    assert not hasattr(scaled, "output_size")


def test_function_transforms_see_the_scaled_gradient():
    layer = GradientScaledQuantumLayer(nn.Linear(3, 1, bias=False), 0.5)
    gradient = torch.func.vmap(torch.func.grad(lambda row: layer(row).sum()))(torch.randn(4, 3))
    torch.testing.assert_close(gradient, (0.5 * layer.quantum_layer.weight).expand(4, 3))


@pytest.mark.parametrize(
    ("layer", "scale", "error", "message"),
    [
        (nn.Identity(), -0.1, ValueError, "scale_factor must be at least 0, got -0.1"),
        (nn.Identity(), math.nan, ValueError, "scale_factor must be at least 0"),
        (nn.Identity(), "0.1", TypeError, "scale_factor must be a number"),
        (lambda x: x, 0.1, TypeError, "quantum_layer must be an nn.Module, got function"),
    ],
)
def test_bad_arguments(layer, scale, error, message):
    with pytest.raises(error, match=message):
        GradientScaledQuantumLayer(layer, scale)
