"""Real features as amplitudes: padded, normalised, and with gradients wherever there are any."""

import copy

import pytest
import torch

from hybridlit.photonics import (
    AmplitudeEncoding,
    Circuit,
    DistinguishableLayer,
    Experiment,
    Interferometer,
    QuantumLayer,
    QuantumLayerStack,
)


def layer(features=0, outputs=3, dtype=torch.float64, kind=QuantumLayer, **options):
    options = {"n_photons": 2, **options}
    if features:
        experiment = Experiment("series", n_modes=4, **options)
    else:
        experiment = Experiment(circuit=Circuit(4).add(Interferometer()), **options)
    count = () if kind is QuantumLayer else (2,)
    return kind(*count, features, outputs, experiment=experiment, dtype=dtype)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_features_are_amplitudes_of_the_first_states(space):
    one = layer(computation_space=space)
    encoded = AmplitudeEncoding(5, one)
    assert (encoded.input_size, encoded.output_size) == (5, 3)
    x = torch.randn(7, 5, dtype=torch.float64)
    state = torch.zeros(7, one.input_space.size, dtype=torch.complex128)
    state[:, :5] = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoded.state(x), state.real)
    torch.testing.assert_close(encoded(x), one(state=state))
    torch.testing.assert_close(encoded(x.view(7, 1, 5)), one(state=state)[:, None])
    torch.testing.assert_close(encoded(x[0]), one(state=state)[0])
    torch.testing.assert_close(encoded(-3 * x), encoded(x))


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30, 3e38])
def test_any_length_of_float32_has_a_direction(scale):
    encoded = AmplitudeEncoding(5, layer(dtype=torch.float32))
    x = torch.tensor([[1.0, -0.5, 0.25, 0.0, 0.125]])
    torch.testing.assert_close(encoded.state(scale * x), encoded.state(x))


def test_gradients_also_where_there_is_no_direction():
    encoded = AmplitudeEncoding(4, layer())
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(encoded, x)
    zero = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    outputs = encoded(zero)
    basis = torch.eye(10, dtype=torch.complex128)[0].expand(2, -1)
    torch.testing.assert_close(outputs, encoded.layer(state=basis))
    outputs.square().sum().backward()
    assert torch.equal(zero.grad, torch.zeros_like(zero))
    assert all(p.grad.isfinite().all() for p in encoded.parameters())


def test_features_of_the_layer_come_behind():
    one = layer(features=3)
    encoded = AmplitudeEncoding(10, one)
    assert encoded.input_size == 13
    x = torch.rand(6, 13, dtype=torch.float64)
    expected = one(x[:, 10:], state=encoded.state(x[:, :10]))
    torch.testing.assert_close(encoded(x), expected)


def test_stacks_and_modules_around():
    stack = layer(kind=QuantumLayerStack)
    encoded = AmplitudeEncoding(6, stack)
    x = torch.rand(5, 6, dtype=torch.float64)
    assert encoded(x).shape == (5, 2, 3)
    expected = torch.stack([AmplitudeEncoding(6, each)(x) for each in stack.layers()], 1)
    torch.testing.assert_close(encoded(x), expected)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), AmplitudeEncoding(6, layer(dtype=None)))
    again = copy.deepcopy(model)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(torch.ones(2, 4)), model(torch.ones(2, 4)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.ones(2, 4)).isfinite().all()
    assert model.bfloat16()(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="features must be at most 10"):
        AmplitudeEncoding(11, layer())
    with pytest.raises(TypeError, match="DistinguishableLayer"):
        AmplitudeEncoding(4, DistinguishableLayer.from_layer(layer()))
    encoded = AmplitudeEncoding(4, layer(dtype=torch.float32))
    with pytest.raises(ValueError, match="input_size=4"):
        encoded(torch.rand(2, 5))
    with pytest.raises(TypeError, match="real floating"):
        encoded(torch.ones(2, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match="float64 for a float32 layer"):
        encoded(torch.rand(2, 4, dtype=torch.float64))
    with pytest.raises(
        ValueError, match=r"x must be finite, got NaN or infinity in row\(s\) \[1\]"
    ):
        encoded(torch.tensor([[1.0, 2, 3, 4], [1, 2, torch.nan, 4]]))
