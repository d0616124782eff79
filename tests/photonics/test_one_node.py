"""A usual step of a small layer is one node of autograd, and the same as the general way."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hybridlit.photonics import Experiment, QuantumLayer, QuantumLayerStack
from hybridlit.photonics.kernels.choice import use_kernel

NODE = "_NodeBackward"


def made(features=3, outputs=4, modes=4, photons=2, mapping=None, **circuit):
    return QuantumLayer(
        features,
        outputs,
        experiment=Experiment(
            **{"circuit_type": "series", **circuit}, n_modes=modes, n_photons=photons
        ),
        output_mapping_strategy=mapping,
        dtype=torch.float64,
    )


def general(layer):
    """A copy that never takes the node."""
    found = copy.deepcopy(layer)
    found._usual = False
    return found


CASES = [
    dict(),
    dict(computation_space="unbunched", use_bandwidth_tuning=True),
    dict(mapping="none", outputs=None, circuit_type="parallel_columns"),
    dict(features=9, mapping="modgrouping", use_bandwidth_tuning=True),
    dict(modes=7, photons=4, outputs=1, reservoir_mode=True),
]


@pytest.mark.parametrize("arguments", CASES)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_outputs_and_gradients_are_those_of_the_general_way(arguments, size):
    layer = made(**arguments)
    if layer.bandwidth is not None:
        nn.init.uniform_(layer.bandwidth, 0.5, 1.5)
    features = torch.rand(21, 2 * layer.input_size, dtype=torch.float64)[:, ::2] * size
    found = []
    for each in (layer, general(layer)):
        x = features.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        outputs = each(x)
        slope = torch.linspace(-1, 1, outputs.numel(), dtype=torch.float64)
        slope = slope.view(outputs.shape[::-1]).T  # as a consumer may lay it out
        outputs.backward(slope, retain_graph=True)
        outputs.backward(slope)  # which needs all that was kept
        found.append([outputs, x.grad, *(value.grad for value in each.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    with torch.no_grad():
        assert torch.equal(layer(features), found[0][0])


def test_gradients_of_first_and_second_order():
    layer = made(features=2, outputs=2, modes=3, use_bandwidth_tuning=True)
    names = [name for name, _ in layer.named_parameters()]
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    values = [value.detach().clone().requires_grad_() for value in layer.parameters()]

    def outputs(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert outputs(x, *values).grad_fn.name() == NODE
    assert torch.autograd.gradcheck(outputs, (x, *values))
    assert torch.autograd.gradgradcheck(outputs, (x, *values))


def test_which_steps_take_it():
    layer, x = made(), torch.rand(5, 3, dtype=torch.float64)

    def taken(layer, x=x):
        return layer(x).grad_fn.name() == NODE

    assert taken(layer)
    assert taken(layer.float(), x.float())
    assert taken(layer.double())
    assert not taken(layer, torch.rand(60_000, 3, dtype=torch.float64))  # torch multiplies faster
    with use_kernel("torch"):
        assert not taken(layer)
    with FlopCounterMode(display=False):  # which sees operations of torch
        assert not taken(layer)
    assert not taken(made(noise="ascella"))
    assert not taken(made(postselect="[0]<2"))
    shots = made()
    shots.shots = 100
    assert not taken(shots)
    given = made()
    given.set_unitary(0, torch.eye(4))
    assert not taken(given)
    stack = QuantumLayerStack(2, 3, 4, experiment=Experiment("series", 4, 2), dtype=torch.float64)
    assert not taken(stack)


def test_what_looks_at_the_readout_is_called():
    layer, x = made(), torch.rand(5, 3, dtype=torch.float64)
    expected, seen = layer(x), []
    with layer.readout.register_forward_hook(lambda *given: seen.append(given[1][0])):
        torch.testing.assert_close(layer(x), expected)
    assert torch.equal(seen[0], layer.probabilities(x))
    nn.utils.parametrizations.weight_norm(layer.readout)
    torch.testing.assert_close(layer(x), expected)
    layer(x).sum().backward()
    assert layer.readout.parametrizations.weight.original0.grad is not None


def test_a_step_takes_few_python_calls():
    """Each costs a microsecond or more where other work runs in between, as in training."""
    layer, x, slope = made().float(), torch.rand(5, 3), torch.rand(5, 4)
    layer(x).backward(slope)
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(frame) if event == "call" else None)
    try:
        output = layer(x)
        forward = len(calls)
        with torch.no_grad():  # as backward passes run
            output.grad_fn.apply(slope)
    finally:
        sys.setprofile(None)
    assert forward <= 28
    assert len(calls) - forward <= 18
