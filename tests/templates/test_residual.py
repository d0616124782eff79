import pytest
import torch
from torch import nn

from hybridlit.templates import ResidualHybrid


def make(**changes):
    return ResidualHybrid(**(dict(input_dim=5, output_dim=3) | changes))


CASES = [
    dict(),
    dict(gate="gated"),
    dict(quantum_output_dim=7),
    dict(quantum_dim=None, hidden_dims=[6, 5]),
    dict(quantum="mlp"),
    dict(input_dim=None, input_shape=[4, 2], front="gru"),
]


@pytest.mark.parametrize("changes", CASES)
def test_a_new_model_is_its_backbone_until_the_first_step(changes):
    model = make(**changes)
    x = torch.randn(9, *(changes.get("input_shape") or [5]))
    hidden = model.classical_backbone(model.front_features(x)).relu()
    assert torch.equal(model(x), model.output_layer(hidden))
    assert torch.equal(model(x), model.backbone_outputs(x))
    optimizer = model.configure_optimizers()
    model.loss(model(x), torch.arange(9) % 3).backward()
    optimizer.step()
    assert not torch.equal(model(x), model.backbone_outputs(x))


@pytest.mark.parametrize("gate", ["zero", "gated"])
def test_gradients_reach_the_phases_after_one_step(gate):
    model = make(gate=gate)
    optimizer = model.configure_optimizers()
    x, y = torch.randn(16, 5), torch.arange(16) % 3
    found = []
    for _ in range(2):
        optimizer.zero_grad()
        model.loss(model(x), y).backward()
        found.append(bool(model.quantum_residual.phases.grad.any()))
        optimizer.step()
    assert found == [False, True]


def test_it_encodes_both_signs():
    model = make()
    seen = []
    model.quantum_residual.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(5 * torch.randn(200, 5))
    assert seen[0].min() < 0.4 and seen[0].max() > 0.6
    whole = make(quantum_dim=None, hidden_dims=[6, 5])
    whole.quantum_residual.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    whole(5 * torch.randn(200, 5))
    assert (seen[1] < 0.5).float().mean() > 0.2


def test_the_default_widths():
    model = make()
    kinds = [type(layer) for layer in model.classical_backbone]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear]
    layer = model.quantum_residual
    assert (layer.input_size, layer.output_size, layer.columns) == (6, 64, 2)
    assert make(quantum_dim=None).quantum_residual.columns == 22  # what the docstring says
    assert isinstance(model.lift, nn.Identity)
    assert make(quantum_output_dim=9).lift.weight.shape == (64, 9)
    assert make(output_mapping_strategy="mode_expectations").lift.weight.shape == (64, 4)


def test_a_backbone_of_ones_own():
    class Tanh(ResidualHybrid):
        def build_classical_backbone(self):
            return nn.Sequential(nn.Linear(self.feature_dim, 10), nn.Tanh())

    model = Tanh(5, 3, hidden_dims=[10])
    x = torch.randn(4, 5)
    assert torch.equal(model(x), model.backbone_outputs(x))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(hidden_dims=[]), ValueError, "hidden_dims must name at least one width, got"),
        (dict(hidden_dims=[4, 0]), ValueError, "each entry of hidden_dims must be at least 1"),
        (dict(quantum_dim=0), ValueError, "quantum_dim must be at least 1, got 0"),
        (dict(gate="open"), ValueError, r"gate must be one of \['zero', 'gated'\], got 'open'"),
        (dict(dropout=1), ValueError, "dropout must be at least 0 and below 1"),
        (dict(quantum="cat"), ValueError, "quantum must be one of"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        make(**changes)
