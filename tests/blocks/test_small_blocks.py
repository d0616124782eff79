"""Blocks of a few lines: dense layers, the matched twin, a stack of modules, residual gates."""

import pytest
import torch
from torch import nn

from hybridlit import Experiment, QuantumLayer, QuantumLayerStack
from hybridlit.blocks import GainGate, InputGate, MatchedMLP, ModuleStack
from hybridlit.blocks.dense import dense
from hybridlit.blocks.residual_gate import make_gate


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_dense_layers_end_linear():
    layers = dense([4, 3, 2, 5], dropout=0.5)
    linear, relu, dropout = nn.Linear, nn.ReLU, nn.Dropout
    assert [type(layer) for layer in layers] == [linear, relu, dropout] * 2 + [linear]
    assert [type(layer) for layer in dense([4, 5])] == [linear]
    assert layers(torch.randn(7, 4)).shape == (7, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([4],), "at least two"), (([4, 0],), "at least 1"), (([4, 2], 1.0), "dropout must be")],
)
def test_bad_dense_layers(arguments, message):
    with pytest.raises(ValueError, match=message):
        dense(*arguments)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 8), (64, 16), (6, 100)])
@pytest.mark.parametrize("factor", [5, 5.3, 9, 40])
def test_the_matched_block_is_within_a_tenth(sizes, factor):
    target = int(factor * (sum(sizes) + 1))
    assert count(MatchedMLP(*sizes, target)) == pytest.approx(target, rel=0.1)


@pytest.mark.parametrize("target", [0, 1, 20, 57, 130])
def test_the_matched_block_is_the_closest_one(target):
    block = MatchedMLP(4, 6, target)
    each = 4 + 6 + 1
    distance = abs(count(block) - target)
    assert distance <= abs(count(block) + each - target)
    assert block.hidden_size == 1 or distance <= abs(count(block) - each - target)
    assert block(torch.randn(3, 4)).shape == (3, 6)


@pytest.mark.parametrize("arguments", [(0, 1, 5), (1, 0, 5), (1, 1, -1)])
def test_bad_matched_blocks(arguments):
    with pytest.raises(ValueError, match="must be at least"):
        MatchedMLP(*arguments)


def test_a_stack_of_modules_computes_what_a_stack_of_layers_does():
    experiment = Experiment("series", n_modes=4, n_photons=2)
    ours = QuantumLayerStack(3, 2, 5, experiment=experiment)
    modules = ModuleStack(ours.layers())
    assert modules.output_size == ours.output_size == 5
    x, each = torch.rand(7, 2), torch.rand(7, 3, 2)
    assert torch.allclose(modules(x), ours(x), atol=1e-6)
    assert torch.allclose(modules.each(each), ours.each(each), atol=1e-6)


def test_bad_stacks_of_modules():
    with pytest.raises(ValueError, match="at least one module, got none"):
        ModuleStack([])
    layer = QuantumLayer(2, 3, experiment=Experiment("series", n_modes=4, n_photons=2))
    with pytest.raises(ValueError, match=r"layers=1, features\), got \(7, 2, 2\)"):
        ModuleStack([layer]).each(torch.rand(7, 2, 2))


@pytest.mark.parametrize("gate", [GainGate(4), InputGate(4)])
def test_a_gate_starts_closed_and_learns_to_open(gate):
    residual, state = torch.randn(6, 4), torch.randn(6, 4)
    assert torch.equal(gate(residual, state), torch.zeros(6, 4))
    gate(residual, state).backward(torch.ones(6, 4))
    for name, parameter in gate.named_parameters():
        assert parameter.grad.all(), name
        parameter.data.sub_(parameter.grad)
    opened = gate(residual, state)
    assert (opened != 0).all()
    follows = not torch.equal(opened, gate(residual, state + 1))
    assert follows == isinstance(gate, InputGate)
    assert type(gate) is type(make_gate("gated" if follows else "zero", 4))


def test_unknown_gates_are_refused():
    with pytest.raises(ValueError, match=r"gate must be one of \['zero', 'gated'\], got 'open'"):
        make_gate("open", 4)
