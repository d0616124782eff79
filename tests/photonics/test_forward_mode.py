"""Derivatives of forward mode are those of reverse mode."""

import pytest
import torch
from torch.autograd import forward_ad

from hybridlit.photonics import (
    DistinguishableLayer,
    Experiment,
    QuantumLayer,
    QuantumLayerStack,
    amplitudes,
    use_kernel,
)

LAYERS = {
    "linear": ("linear", 4, {}),
    "tuned": ("linear", 4, dict(use_bandwidth_tuning=True)),
    "unbunched": ("none", None, dict(computation_space="unbunched")),
    "pairs": ("pair_correlations", None, {}),
}


def made(kind, layer=QuantumLayer, **options):
    mapping, outputs, circuit = LAYERS[kind]
    experiment = Experiment("series", 4, 2, **circuit)
    options |= dict(experiment=experiment, output_mapping_strategy=mapping)
    return layer(input_size=3, output_size=outputs, **options).double()


@pytest.mark.parametrize("kernel", ["auto", "torch"])
@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind, kernel):
    layer, x, v = made(kind), *torch.rand(2, 5, 3, dtype=torch.float64)
    with use_kernel(kernel):
        value, slope = torch.func.jvp(layer, (x,), (v,))
        torch.testing.assert_close(value, layer(x))
        expected = torch.einsum("bof,bf->bo", torch.func.vmap(torch.func.jacrev(layer))(x), v)
        torch.testing.assert_close(slope, expected)
        with forward_ad.dual_level():
            dual = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, v)))
        torch.testing.assert_close(dual.tangent, expected)
        forward = torch.func.jacfwd(layer)(x[0])
        torch.testing.assert_close(forward, torch.func.jacrev(layer)(x[0]))

        def square(x):
            return layer(x).square().sum()

        curvature = torch.func.jacrev(torch.func.jacrev(square))(x[0])
        torch.testing.assert_close(torch.func.hessian(square)(x[0]), curvature)
        torch.testing.assert_close(torch.func.jacrev(torch.func.jacfwd(square))(x[0]), curvature)


@pytest.mark.parametrize("name", ["phases", "bandwidth"])
def test_parameters(name):
    layer, x = made("tuned"), torch.rand(2, 3, dtype=torch.float64)

    def function(values):
        return torch.func.functional_call(layer, {name: values}, x)

    values = layer.get_parameter(name).detach()
    torch.testing.assert_close(
        torch.func.jacfwd(function)(values), torch.func.jacrev(function)(values)
    )


def test_stacks_and_distinguishable_photons():
    x = torch.rand(3, dtype=torch.float64)
    for layer in (made("linear", QuantumLayerStack, count=2), made("linear", DistinguishableLayer)):
        torch.testing.assert_close(torch.func.jacfwd(layer)(x), torch.func.jacrev(layer)(x))


def test_large_features():
    layer, x = made("linear"), torch.tensor([1e6 + 0.25, -3e5, 0.5], dtype=torch.float64)
    torch.testing.assert_close(torch.func.jacfwd(layer)(x), torch.func.jacrev(layer)(x))


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_amplitudes(space):
    """Photon by photon an amplitude is linear: two of them make a polynomial of degree 2."""
    unitary, v = torch.randn(2, 3, 3, 3, dtype=torch.complex128)

    def function(value):
        return amplitudes(value, (1, 0, 1), space=space)

    _, slope = torch.func.jvp(function, (unitary,), (v,))
    torch.testing.assert_close(slope, (function(unitary + v) - function(unitary - v)) / 2)
