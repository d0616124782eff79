"""What modules take and give is recorded: every call once, as it was, until the block ends."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hybridlit import Experiment, ParallelBankHybrid, QuantumLayerStack
from hybridlit.analysis.recording import Call, copied, recorded


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))


def test_every_call_is_recorded_in_order_without_its_graph(model):
    x = torch.randn(5, 3)
    with recorded({"first": model[0]}, copied) as calls:
        model(x), model(2 * x)
    model(x)
    given = [call.given for call in calls["first"]]
    assert len(given) == 2 and torch.equal(given[0], x) and torch.equal(given[1], 2 * x)
    assert not any(call.output.requires_grad for call in calls["first"])


def test_nothing_that_follows_changes_what_was_recorded(model):
    x = torch.randn(5, 3)
    with recorded({"first": model[0]}, copied) as calls:
        model(x)
    output = calls["first"][0].output
    assert (output < 0).any() and torch.equal(output, model[0](x))


def test_graphs_are_kept_where_the_call_itself_is(model):
    with recorded({0: model[0]}, lambda call: call) as calls:
        outputs = model(torch.randn(5, 3))
    torch.autograd.grad(outputs.sum(), calls[0][0].output)


def test_modules_by_object_and_tensors_in_whatever_they_return():
    lstm = nn.LSTM(2, 2)
    with recorded({lstm: lstm}, lambda call: copied(call.output)) as outputs:
        given, (hidden, cell) = lstm(torch.randn(3, 2))
    (found, (its_hidden, its_cell)) = outputs[lstm][0]
    assert torch.equal(found, given) and torch.equal(its_hidden, hidden)
    assert torch.equal(its_cell, cell) and not its_cell.requires_grad


def test_arguments_are_found_by_position_and_by_name():
    stack = QuantumLayerStack(2, 3, 4, experiment=Experiment("series", 4, 2))
    x = torch.rand(5, 2, 3)
    with recorded({"": stack}, copied) as calls:
        stack(x, each=True), stack(x, True), stack(x=x, each=True), stack(x[:, 0])
    assert [call.argument(1, "each", False) for call in calls[""]] == [True, True, True, False]
    assert all(torch.equal(call.given, x) for call in calls[""][:3])
    assert Call((), {}, None).given is None


def test_layers_with_features_of_their_own_are_reached():
    model = ParallelBankHybrid(None, 3, input_shape=[1, 4, 4], scales=[1, 2])
    with recorded({"": model.quantum_layers}, copied) as calls:
        model(torch.rand(2, 16))
    assert len(calls[""]) == 1 and calls[""][0].output.shape[:2] == (2, 2)


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_a_checkpoint_computes_again_is_no_call(model, reentrant):
    x = torch.randn(5, 3, requires_grad=True)
    with recorded({"first": model[0]}, copied) as calls:
        checkpoint(model, x, use_reentrant=reentrant).sum().backward()
    assert x.grad is not None and len(calls["first"]) == 1


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_models_are_looked_into(model, in_place):
    x = torch.randn(5, 3)
    if in_place:
        model.compile(backend="eager")
    running = model if in_place else torch.compile(model, backend="eager")
    running(x)  # hooks that come later are not part of what was compiled
    with recorded({"first": model[0], "last": model[2]}, copied) as calls:
        running(x)
    assert [len(found) for found in calls.values()] == [1, 1]


def test_hooks_end_with_an_error(model):
    with pytest.raises(KeyboardInterrupt), recorded({0: model[0], 2: model[2]}, copied):
        raise KeyboardInterrupt
    with pytest.raises(RuntimeError), recorded({0: model[0], 2: model[2]}, copied) as calls:
        model(torch.randn(5, 7))
    assert calls == {0: [], 2: []}
    assert not any(module._forward_hooks for module in model)
