import copy
import io

import pytest
import torch

from hybridlit.photonics import Experiment, QuantumLayer, QuantumLayerStack

CASES = [
    ("series", "linear", "fock", False),
    ("parallel", "modgrouping", "fock", True),
    ("parallel_columns", "none", "unbunched", True),
    ("series", "linear", "unbunched", True),
    ("series", "mode_expectations", "fock", False),
    ("series", "pair_correlations", "fock", True),
]


def make(count=3, features=4, circuit="series", mapping="linear", space="fock", tuning=False):
    experiment = Experiment(circuit, 5, 2, use_bandwidth_tuning=tuning, computation_space=space)
    outputs = 4 if mapping in ("linear", "modgrouping") else None
    return QuantumLayerStack(
        count, features, outputs, experiment=experiment, output_mapping_strategy=mapping
    )


@pytest.mark.parametrize("circuit,mapping,space,tuning", CASES)
def test_a_stack_is_its_layers(circuit, mapping, space, tuning):
    stack = make(3, 4, circuit, mapping, space, tuning).double()
    layers = stack.layers()
    shared = torch.rand(6, 4, dtype=torch.float64)
    expected = torch.stack([layer(shared) for layer in layers], dim=-2)
    torch.testing.assert_close(stack(shared), expected, rtol=0, atol=1e-14)
    own = torch.rand(6, 3, 4, dtype=torch.float64)
    expected = torch.stack([layer(own[:, k]) for k, layer in enumerate(layers)], dim=-2)
    torch.testing.assert_close(stack.each(own), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("circuit,mapping,space,tuning", CASES)
def test_gradients_are_those_of_the_layers(circuit, mapping, space, tuning):
    stack = make(3, 4, circuit, mapping, space, tuning).double()
    layers = stack.layers()
    own = torch.rand(6, 3, 4, dtype=torch.float64, requires_grad=True)
    output = stack.each(own)
    weights = torch.randn_like(output)
    (output * weights).sum().backward()
    for k, layer in enumerate(layers):
        x = own.detach()[:, k].requires_grad_()
        (layer(x) * weights[:, k]).sum().backward()
        torch.testing.assert_close(own.grad[:, k], x.grad, rtol=0, atol=1e-12)
        for name, parameter in layer.named_parameters():
            stacked = stack.get_parameter(name).grad[k]
            torch.testing.assert_close(stacked, parameter.grad, rtol=0, atol=1e-12)


def test_layers_start_differently():
    stack = make(4)
    outputs = stack(torch.rand(8, 4))
    assert (outputs[:, 0] - outputs[:, 1]).abs().max() > 1e-3


def test_from_layers_and_back():
    experiment = Experiment("series", 4, 2, use_bandwidth_tuning=True)
    layers = [QuantumLayer(3, 5, experiment=experiment) for _ in range(2)]
    stack = QuantumLayerStack.from_layers(layers)
    x = torch.rand(7, 3)
    expected = torch.stack([layer(x) for layer in layers], dim=1)
    torch.testing.assert_close(stack(x), expected)
    assert {k: v.shape for k, v in stack.layers()[1].state_dict().items()} == {
        k: v.shape for k, v in layers[1].state_dict().items()
    }
    for bad in ([], [layers[0], QuantumLayer(2, 5, experiment=experiment)]):
        with pytest.raises(ValueError, match="at least one and have the same ansatz"):
            QuantumLayerStack.from_layers(bad)


def test_one_state_dict_and_copies():
    stack, other = make(tuning=True), make(tuning=True)
    assert set(stack.state_dict()) == {"phases", "bandwidth", "readout.weight", "readout.bias"}
    file = io.BytesIO()
    torch.save(stack.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = torch.rand(2, 4)
    torch.testing.assert_close(other(x), stack(x), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(stack)(x), stack(x), rtol=0, atol=0)
    assert "count=3" in repr(stack)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4)])
def test_any_leading_shape(shape):
    assert make()(torch.rand(shape)).shape == (*shape[:-1], 3, 4)


def test_bad_arguments():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        make(0)
    with pytest.raises(TypeError, match="count must be an integer"):
        make(2.0)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3, input_size=4\), got \(4, 4"):
        make().each(torch.rand(4, 4))
    with pytest.raises(ValueError, match="x and the phases must be finite"):
        make()(torch.full((2, 4), float("nan")))
