"""The output of a part is replaced while the block lasts, and never afterwards."""

import pytest
import torch
from torch import nn

from hybridlit import ParallelBankHybrid
from hybridlit.analysis.replacement import recorded_output, replaced_output


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def test_what_follows_sees_the_replacement(model):
    x = torch.randn(5, 3)
    before = model(x)
    with replaced_output(model[0], torch.zeros_like):
        assert torch.equal(model(x), model[2].bias.expand(5, 2))
    assert torch.equal(model(x), before)


def test_the_output_is_recorded_without_its_graph(model):
    x = torch.randn(5, 3)
    with recorded_output(model[0]) as outputs:
        model(x), model(x)
    model(x)
    assert len(outputs) == 2 and torch.equal(outputs[0], model[0](x))
    assert not outputs[0].requires_grad


def test_whatever_is_no_tensor_is_recorded_as_it_is():
    lstm = nn.LSTM(2, 2)
    with recorded_output(lstm) as outputs:
        given = lstm(torch.randn(3, 2))
    assert outputs == [given] and not lstm._forward_hooks


def test_layers_with_features_of_their_own_are_reached():
    model = ParallelBankHybrid(None, 3, input_shape=[1, 4, 4], scales=[1, 2])
    with recorded_output(model.quantum_layers) as outputs:
        model(torch.rand(2, 16))
    assert len(outputs) == 1 and outputs[0].shape[:2] == (2, 2)


def test_it_ends_with_an_error(model):
    with pytest.raises(KeyboardInterrupt), replaced_output(model[0], torch.zeros_like):
        raise KeyboardInterrupt
    assert not model[0]._forward_hooks


def test_another_shape_or_kind_is_refused(model):
    with pytest.raises(ValueError, match=r"keep the shape \(2, 4\), got \(4,\)"):
        with replaced_output(model[0], lambda output: output[0]):
            model(torch.randn(2, 3))
    lstm = nn.LSTM(2, 2)
    with pytest.raises(TypeError, match=r"LSTM must return a tensor .* got tuple"):
        with replaced_output(lstm, torch.zeros_like):
            lstm(torch.randn(3, 2))
