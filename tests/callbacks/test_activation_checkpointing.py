"""Recomputing parts of a model: the same training from less memory."""

import copy
import pickle
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hybridlit.blocks import GradientScaledQuantumLayer, ModuleStack
from hybridlit.callbacks import activation_checkpointing
from hybridlit.callbacks.mixed_precision import MixedPrecision as Precision
from hybridlit.components import mark_photonic
from hybridlit.photonics import Experiment, PhotonicCircuit, QuantumLayer
from hybridlit.templates import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)

ActivationCheckpointing = partial(
    activation_checkpointing.ActivationCheckpointing, min_saved_mib=0.0
)  # models of tests are small
TEMPLATES = [SequentialHybrid, ParallelHybrid, ResidualHybrid, ParallelBankHybrid]
EVERYTHING = ["photonic", "classical"]


class Runs(Callback):
    """Counts how often the forward of each photonic layer really ran in training."""

    def __init__(self):
        self.counts = {}

    def on_train_start(self, trainer, pl_module):
        for name, module in pl_module.named_modules():
            if isinstance(module, PhotonicCircuit):
                self._count(name, module)

    def _count(self, name, module):
        simulate = module._outputs
        self.counts[name] = 0

        def counted(*rows, **state):
            self.counts[name] += 1
            return simulate(*rows, **state)

        module._outputs = counted


class Logged(Callback):
    """Keeps what was logged."""

    def on_train_end(self, trainer, pl_module):
        self.metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}


def trained(model, data, make_trainer, *callbacks, **options):
    """The state of a model after a run, and what came next from torch's generator."""
    torch.manual_seed(5)
    model = copy.deepcopy(model)
    make_trainer(callbacks, **({"max_epochs": 2} | options)).fit(model, data)
    return model.state_dict(), torch.rand(3)


def assert_same(one, other):
    (state, drawn), (expected, drawn_before) = one, other
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
    assert torch.equal(drawn, drawn_before)


@pytest.mark.parametrize("cls", TEMPLATES)
def test_training_is_the_same_bit_for_bit(cls, data, make_model, make_trainer):
    """Dropout, batch normalization and a gated fusion included; every part is recomputed."""
    dropout = {} if cls is ParallelBankHybrid else {"dropout": 0.3}
    model = make_model(cls, **dropout)
    logged = Logged()
    expected = trained(model, data, make_trainer)
    sparing = ActivationCheckpointing(EVERYTHING)
    assert_same(trained(model, data, make_trainer, sparing, logged), expected)
    assert logged.metrics["checkpointing/saved_bytes"] > 0


@pytest.mark.parametrize(
    "options",
    [
        lambda: dict(precision="64-true"),
        lambda: dict(precision="bf16-mixed"),
        lambda: dict(precision="bf16-true"),
        lambda: dict(precision="16-true"),
        lambda: dict(plugins=[MixedPrecision("16-mixed", "cpu")]),
        lambda: dict(accumulate_grad_batches=2, gradient_clip_val=0.1),
    ],
    ids=["64-true", "bf16-mixed", "bf16-true", "16-true", "16-mixed", "accumulated"],
)
def test_training_is_the_same_under_every_precision(options, data, make_model, make_trainer):
    model = make_model(dropout=0.3)
    expected = trained(model, data, make_trainer, **options())
    sparing = ActivationCheckpointing(EVERYTHING)
    assert_same(trained(model, data, make_trainer, sparing, **options()), expected)


def test_constants_that_a_part_makes_have_the_dtype_of_the_run(data, make_model, make_trainer):
    """In float32, a tenth is another number than in float64."""

    class Tenth(nn.Module):
        def forward(self, x):
            return x.sin() * torch.full((), 0.1)

    class WithTenth(SequentialHybrid):
        def build_classical_post(self):
            return nn.Sequential(Tenth(), super().build_classical_post())

    model, options = make_model(WithTenth), dict(precision="64-true")
    expected = trained(model, data, make_trainer, **options)
    sparing = ActivationCheckpointing(["classical"])
    assert_same(trained(model, data, make_trainer, sparing, **options), expected)


def test_only_what_was_chosen_is_recomputed_and_only_in_training(data, make_model, make_trainer):
    def counts(components):
        runs = Runs()
        callbacks = [runs] if components is None else [runs, ActivationCheckpointing(components)]
        trained(make_model(), data, make_trainer, *callbacks, max_epochs=1)
        return runs.counts

    before = counts(None)["quantum_layer"]
    # the copy that is measured, twice, has the patched method, too
    assert counts(["classical"])["quantum_layer"] == before + 2
    recomputed = counts(["photonic"])["quantum_layer"]
    assert recomputed == before + 2 + 4  # four training batches
    assert counts(["quantum_layer", "photonic"])["quantum_layer"] == recomputed


class Stateful(nn.Module):
    """Computes with what it counts, as the power iteration of a spectral norm does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.linear = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(5, 5))

    def forward(self, x):
        if self.training:
            self.calls += 1
        # zeros of the default dtype, which the Trainer changes under half precision
        return self.linear(x).tanh() * self.calls.clone() + torch.zeros(5)


class Front(SequentialHybrid):
    def build_classical_pre(self):
        return nn.Sequential(
            nn.BatchNorm1d(5), nn.Linear(5, 5), Stateful(), nn.Linear(5, 2), nn.Sigmoid()
        )


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_buffers_are_read_as_in_the_forward_pass_and_updated_once(
    precision, data, make_model, make_trainer
):
    """Batch normalization, the power iteration of spectral normalization, a counter."""
    model = make_model(Front, dropout=0.3)
    expected = trained(model, data, make_trainer, precision=precision)
    assert expected[0]["classical_pre.0.num_batches_tracked"] == 8
    assert expected[0]["classical_pre.2.calls"] == 8
    sparing = ActivationCheckpointing(["classical_pre"])
    assert_same(trained(model, data, make_trainer, sparing, precision=precision), expected)


class Chain(LightningModule):
    """No template: layers in a list, one of them foreign."""

    def __init__(self, inputs=3):
        super().__init__()
        circuit = Experiment("series", n_modes=5, n_photons=3)
        layers = [QuantumLayer(inputs, inputs, experiment=circuit) for _ in range(2)]
        foreign = mark_photonic(nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 3)))
        self.layers = nn.ModuleList([*layers, GradientScaledQuantumLayer(layers[0]), foreign])
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x[:, :3].sigmoid())
        return self.head(x)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def test_any_lightning_module(data, make_trainer):
    """The first layer is used twice, once within a wrapper; the last one is foreign."""
    model, logged = Chain(), Logged()
    expected = trained(model, data, make_trainer)
    assert_same(trained(model, data, make_trainer, ActivationCheckpointing(), logged), expected)
    # of each of 10 rows, its features stay (4 x 3), and the sigmoids and the gradient scaling
    assert logged.metrics["checkpointing/saved_bytes"] > 4 * 10 * (2 * 35 + 64)
    assert logged.metrics["checkpointing/kept_bytes"] < 4 * 10 * 3 * 20


def test_the_bytes_are_those_of_the_activations(make_trainer, caplog):
    """A linear layer keeps its input, a tanh its output; checkpointing keeps the input alone."""

    class Plain(LightningModule):
        def __init__(self):
            super().__init__()
            self.first, self.second = (
                nn.Linear(4, 4),
                nn.Sequential(nn.Tanh(), nn.Linear(4, 256), nn.Tanh(), nn.Linear(256, 2)),
            )

        def forward(self, x):
            return self.second(self.first(x))

        def training_step(self, batch, batch_idx):
            return self(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = DataLoader(TensorDataset(torch.randn(32, 4)), batch_size=32)
    logged = Logged()
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        trained(Plain(), loader, make_trainer, ActivationCheckpointing(["second"]), logged)
    # not counted is the batch; the part's input, 4 numbers a row, is kept in its stead
    assert logged.metrics["checkpointing/kept_bytes"] == 4 * 32 * 4
    assert logged.metrics["checkpointing/saved_bytes"] == 4 * 32 * (4 + 256) - 4 * 32 * 4
    assert "checkpointing of second saves 0.0312 of 0.0317 MiB" in caplog.text


def test_it_says_where_it_saves_nothing(make_model, data, make_trainer, caplog):
    model = make_model(dropout=0.0)
    model.classical_post = nn.Linear(4, 3)
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        trained(model, data, make_trainer, ActivationCheckpointing(["classical_post"]))
    assert "classical_post saves nothing here: it is off" in caplog.text


def test_it_is_off_where_it_saves_too_little(make_model, data, make_trainer, caplog):
    logged, runs = Logged(), Runs()
    sparing = activation_checkpointing.ActivationCheckpointing()
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        trained(make_model(), data, make_trainer, sparing, logged, runs)
    assert "than min_saved_mib=1: it is off" in caplog.text
    assert logged.metrics["checkpointing/saved_bytes"] == 0
    assert logged.metrics["checkpointing/kept_bytes"] > 0
    often = Runs()
    trained(make_model(), data, make_trainer, ActivationCheckpointing(), often)
    assert sum(often.counts.values()) > 1.5 * sum(runs.counts.values())


def test_a_smallest_saving_is_no_negative_number():
    with pytest.raises(ValueError, match="min_saved_mib must be at least 0, got -1"):
        ActivationCheckpointing(min_saved_mib=-1)


class Interrupt(Callback):
    def __init__(self, error):
        self.error = error

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert any("forward" in vars(module) for module in pl_module.modules())
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [None, RuntimeError("planted"), KeyboardInterrupt()])
def test_the_modules_are_restored(error, data, make_model, make_trainer):
    model = make_model()
    patched = model.classical_post.forward = partial(nn.Sequential.forward, model.classical_post)
    trainer = make_trainer([ActivationCheckpointing(EVERYTHING), Interrupt(error)])
    if error is None:
        trainer.fit(model, data)
    else:
        with pytest.raises((RuntimeError, SystemExit)):
            trainer.fit(model, data)
    left = {name for name, m in model.named_modules() if "forward" in vars(m)}
    assert left == {"classical_post"}
    assert model.classical_post.forward is patched


def test_models_are_saved_and_copied_while_it_is_on(tmp_path, data, make_model, make_trainer):
    class Copies(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.save_checkpoint(tmp_path / "last.ckpt")
            self.copies = [copy.deepcopy(pl_module), pickle.loads(pickle.dumps(pl_module))]

    copies, model = Copies(), make_model(dropout=0.0)
    make_trainer([ActivationCheckpointing(EVERYTHING), copies]).fit(model, data)
    loaded = SequentialHybrid.load_from_checkpoint(tmp_path / "last.ckpt")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    x, weights = data.train[0][:7], torch.randn(7, 3)

    def gradients(net):
        net.zero_grad()
        (net.train()(x) * weights).sum().backward()
        return [parameter.grad for parameter in net.parameters()]

    expected = gradients(model)
    for other in [loaded, *copies.copies]:
        for parameter in other.parameters():  # a copy must be of use on its own
            assert all(parameter is not mine for mine in model.parameters())
        for grad, wanted in zip(gradients(other), expected, strict=True):
            assert torch.equal(grad, wanted)


def test_the_shadow_of_a_checkpointed_model_is_its_own(data, make_model, make_trainer):
    """`precision/shadow_error` comes from a float64 copy, whose parts must not run the original."""
    model, logged = make_model(dropout=0.3), Logged()
    callbacks = [ActivationCheckpointing(EVERYTHING), Precision(every_n_steps=1), logged]
    assert_same(trained(model, data, make_trainer, *callbacks), trained(model, data, make_trainer))
    assert 0 < logged.metrics["precision/shadow_error"] < 1e-5


@pytest.mark.parametrize("cls", TEMPLATES)
def test_templates_that_checkpoint_already_are_left_alone(
    cls, data, make_model, make_trainer, caplog
):
    model, runs = make_model(cls, checkpoint_quantum=True), Runs()
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        trained(model, data, make_trainer, runs, ActivationCheckpointing(), max_epochs=1)
    assert "checkpoint_quantum recomputes quantum_" in caplog.text
    alone = Runs()
    trained(model, data, make_trainer, alone, max_epochs=1)
    assert runs.counts == alone.counts


def test_every_layer_of_a_stack_of_modules_is_recomputed_alone(data, make_model, make_trainer):
    class Bank(ParallelBankHybrid):
        def build_quantum(self):
            circuit = Experiment("series", n_modes=5, n_photons=3)
            return ModuleStack(QuantumLayer(5, 4, experiment=circuit) for _ in range(4))

    model, logged = make_model(Bank), Logged()
    expected = trained(model, data, make_trainer)
    sparing = ActivationCheckpointing()
    assert_same(trained(model, data, make_trainer, sparing, logged), expected)
    # at least the probabilities of 35 outcomes for 10 rows in 4 circuits
    assert logged.metrics["checkpointing/saved_bytes"] > 4 * 10 * 35 * 4


def test_a_part_in_evaluation_mode_is_left_alone(data, make_model, make_trainer):
    def runs(*callbacks):
        count = []
        model = make_model()
        model.classical_pre.eval()  # Lightning keeps it so
        hook = model.classical_pre[0].register_forward_hook(lambda *_: count.append(1))
        make_trainer(callbacks).fit(model, data)
        hook.remove()
        return len(count)

    before = runs()
    with pytest.warns(UserWarning, match="classical_pre did not run as a module in training mode"):
        assert runs(ActivationCheckpointing(["classical_pre"])) == before + 2  # measured


def test_a_twin_without_photonic_layers_trains_on(data, make_model, make_trainer):
    model = make_model(quantum="mlp")
    expected = trained(model, data, make_trainer)
    with pytest.warns(UserWarning, match="the model has nothing that is photonic"):
        assert_same(trained(model, data, make_trainer, ActivationCheckpointing()), expected)


def test_a_module_without_forward_is_checkpointed_but_not_measured(data, make_trainer):
    class Steps(Chain):
        forward = LightningModule.forward

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(Chain.forward(self, batch[0]), batch[1])

    model = Steps()
    expected = trained(model, data, make_trainer)
    with pytest.warns(UserWarning, match=r"not measured: Steps defines no forward\(inputs\)"):
        assert_same(trained(model, data, make_trainer, ActivationCheckpointing()), expected)


def test_unknown_names_are_refused_before_training(data, make_model, make_trainer):
    allowed = r"\['photonic', 'classical', 'classical_pre', 'quantum_layer', 'classical_post'\]"
    model = make_model()
    with pytest.raises(ValueError, match=f"components must be among {allowed} .* got 'fusion'"):
        make_trainer([ActivationCheckpointing(["photonic", "fusion"])]).fit(model, data)


@pytest.mark.parametrize(
    ("components", "error"), [("photonic", TypeError), ([1], TypeError), ([], ValueError)]
)
def test_bad_arguments_are_refused_at_construction(components, error):
    with pytest.raises(error, match=r"components(\[0\])? must"):
        ActivationCheckpointing(components)


@pytest.mark.slow
def test_two_processes_train_as_without_it(data, make_model, make_trainer):
    def run(*callbacks):
        torch.manual_seed(5)
        model = make_model(dropout=0.0)
        trainer = make_trainer(callbacks, strategy="ddp_spawn", devices=2)
        trainer.fit(model, data)
        return model.state_dict(), torch.rand(3)

    assert_same(run(ActivationCheckpointing(EVERYTHING)), run())
