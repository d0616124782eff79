"""Losses on derivatives of the outputs: second derivatives in features, and their gradients."""

import math

import pytest
import torch
from torch.autograd import grad, gradgradcheck

from hybridlit.photonics import Experiment, QuantumLayer, QuantumLayerStack, curvature
from hybridlit.photonics.kernels.choice import use_kernel


def series(x, outputs, order):
    """Sums of the outputs and of their derivatives along the first feature, to an order."""
    found = [outputs]
    for _ in range(order):
        (slope,) = grad(found[-1].sum(), x, create_graph=True)
        found.append(slope[..., 0])
    return found


def with_matrices():
    layer = QuantumLayer(2, 2, n_modes=3, n_photons=2)
    layer.set_unitary(0, torch.linalg.qr(torch.randn(3, 3, dtype=torch.complex64))[0])
    return layer


LAYERS = {
    "linear": lambda: QuantumLayer(2, 3, n_modes=4, n_photons=3, input_state=(2, 1, 0, 0)),
    "bare": lambda: QuantumLayer(3, n_modes=4, n_photons=2, circuit_type="parallel_columns"),
    "unbunched": lambda: QuantumLayer(
        9, 2, n_modes=5, n_photons=2, computation_space="unbunched", use_bandwidth_tuning=True
    ),
    "dense": lambda: QuantumLayer(  # layers of fewer photons have more states than the last
        2, 2, n_modes=12, n_photons=10, computation_space="unbunched"
    ),
    "matrices": with_matrices,
    "stack": lambda: QuantumLayerStack(2, 2, 3, experiment=Experiment("series", 4, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_loss_on_second_derivatives_learns_as_in_torch_operations(name, monkeypatch):
    layer = LAYERS[name]().double()
    features = torch.rand(11, layer.input_size, dtype=torch.float64)

    def learned():
        layer.zero_grad()
        x = features.clone().requires_grad_()
        outputs = layer(x)
        outputs = outputs * torch.linspace(1, 2, outputs[0].numel()).view(outputs.shape[1:])
        u, first, second = series(x, outputs, 2)
        if name == "unbunched":
            second = second + layer.success_probability(x) * first
        (first * second + second.square() + u.flatten(1).sum(1) * second).sum().backward()
        return [second, x.grad, *(each.grad for each in layer.parameters())]

    with use_kernel("torch"):
        theirs = learned()
    monkeypatch.setattr(curvature, "_pulled", None)  # nothing falls back
    for ours, other in zip(learned(), theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-10)


def test_derivatives_of_every_gradient_up_to_the_third_order():
    """Also those of gradients of phases, for which torch operations stand in."""
    layer = QuantumLayer(2, 2, n_modes=3, n_photons=2, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    x = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    values = [value.detach().clone().requires_grad_() for value in layer.parameters()]

    def gradients(x, *values):
        state = dict(zip(names, values, strict=True))
        loss = torch.func.functional_call(layer, state, x).pow(2).sum()
        return grad(loss, (x, values[0]), create_graph=True)

    assert gradgradcheck(gradients, (x, *values), fast_mode=True)


def test_photons_on_one_beam_splitter_show_a_cosine_of_twice_the_phase():
    """Hong-Ou-Mandel: (1 + cos 2 x) / 2 of never two photons in a mode, to the fifth derivative."""
    layer = QuantumLayer(1, n_modes=2, n_photons=2, input_state=(1, 1), dtype=torch.float64)
    splitter = torch.tensor([[1, 1j], [1j, 1]]) / math.sqrt(2)
    layer.set_unitary(0, splitter)
    layer.set_unitary(1, splitter)
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None].requires_grad_()
    found = series(x, layer(x)[:, 1], 5)
    for order, each in enumerate(found):
        angle = 2 * math.pi * x[:, 0] + order * math.pi / 2
        expected = (2 * math.pi) ** order * torch.cos(angle) / 2 + (0.5 if order == 0 else 0)
        torch.testing.assert_close(each, expected, rtol=1e-9, atol=1e-9 * 7**order)


def test_batches_of_gradients_are_refused_in_words():
    layer = QuantumLayer(2, 1, n_modes=3, n_photons=2, dtype=torch.float64)
    x = torch.rand(2, dtype=torch.float64)
    with pytest.raises(NotImplementedError, match=r"torch\.func"):
        torch.autograd.functional.hessian(lambda x: layer(x).sum(), x, vectorize=True)
