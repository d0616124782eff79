import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from hybridlit import HybridCheckpoint, load
from hybridlit.callbacks import ExactResume
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


def test_a_gradual_gate_rises_with_every_step_to_1(make_trainer, data):
    """36 rows in batches of 10 are 4 steps an epoch, of which the 2nd and 3rd open the gate."""
    model, seen = make(gate_epochs=[1, 3]), []

    class Watch(Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            seen.append(float(pl_module.gate.opening))

        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                validated.append(float(pl_module.gate.opening))

    validated = []
    make_trainer([Watch()], max_epochs=4).fit(model, data)
    assert seen == [0.0] * 4 + [step / 8 for step in range(1, 9)] + [1.0] * 4
    assert validated == [0.0, 0.5, 1.0, 1.0]


def test_a_gradual_gate_rises_with_every_epoch_of_data_without_a_length(make_trainer):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(torch.randn(5), row % 3) for row in range(6)])

    model, seen = make(gate_epochs=[1, 3]), []

    class Watch(Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            seen.append(float(pl_module.gate.opening))

    make_trainer([Watch()], max_epochs=4).fit(model, DataLoader(Stream(), batch_size=3))
    assert seen == [0.0] * 2 + [0.5] * 2 + [1.0] * 4


def test_a_closed_gate_keeps_the_photons_as_they_are(make_trainer, data):
    model = make(gate_epochs=[2, 4])
    photons = [p.clone() for p in model.quantum_residual.parameters()]
    with pytest.warns(UserWarning, match=r"max_epochs=2 ends before gate_epochs=\[2\.0, 4\.0\]"):
        make_trainer(max_epochs=2).fit(model, data)
    x = torch.randn(4, 5)
    assert torch.equal(model(x), model.backbone_outputs(x))
    assert all(map(torch.equal, photons, model.quantum_residual.parameters()))


@pytest.mark.parametrize(
    ("accumulated", "steps", "ends"), [(1, 11, True), (1, 12, False), (2, 5, True), (2, 6, False)]
)
def test_steps_may_end_before_a_gate_is_open(accumulated, steps, ends, make_trainer, data, recwarn):
    """An epoch has four batches."""
    options = dict(max_epochs=9, max_steps=steps, accumulate_grad_batches=accumulated)
    model = make(gate_epochs=[1, 3])
    make_trainer(**options).fit(model, data)
    said = [str(each.message) for each in recwarn if "gate_epochs" in str(each.message)]
    wanted = (
        f"max_steps={steps} ends before gate_epochs=[1.0, 3.0] lets all of the residual through"
    )
    assert said == [wanted] * ends
    assert (float(model.gate.opening) < 1) == ends


def test_the_factor_is_before_the_gated_residual():
    model, plain = make(gate="gated", gate_epochs=[0, 4]), make(gate="gated")
    with torch.no_grad():
        for parameter in plain.gate.parameters():
            parameter.normal_()
    state = {name.replace("gate.", "gate.gate."): v for name, v in plain.state_dict().items()}
    model.load_state_dict(state | {"gate.opening": torch.tensor(0.25)})
    x = torch.randn(4, 5)
    whole, backbone = plain(x), plain.backbone_outputs(x)
    torch.testing.assert_close(model(x) - backbone, 0.25 * (whole - backbone))


def test_a_checkpoint_keeps_the_factor_and_a_resumed_run_goes_on_with_it(
    make_trainer, data, tmp_path
):
    def run(steps, folder, path=None):
        torch.manual_seed(3)
        model = make(gate_epochs=[0, 4])
        saving = HybridCheckpoint(dirpath=tmp_path / folder, every_n_steps=1)
        callbacks = [saving, ExactResume()]
        options = dict(max_epochs=-1, max_steps=steps, enable_checkpointing=True)
        make_trainer(callbacks, **options).fit(model, data, ckpt_path=path)
        return model

    whole = run(14, "whole")
    part = run(6, "part")
    last = tmp_path / "part" / "last.ckpt"
    loaded = load(last)
    assert float(loaded.gate.opening) == float(part.gate.opening) == 6 / 16
    resumed = run(14, "part", last)
    assert float(resumed.gate.opening) == 14 / 16
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_gate_epochs_are_two_and_rise():
    for wrong, message in (
        ([1], "gate_epochs must be two"),
        ([-1, 2], "the first of gate_epochs must be at least 0"),
        ([2, 2], "the second of gate_epochs must be above 2"),
    ):
        with pytest.raises(ValueError, match=message):
            make(gate_epochs=wrong)
