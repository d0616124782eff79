"""The Trainer's precision on a hybrid model: what it does, the core's own, and what it costs."""

import copy
import math

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision as MixedPrecisionPlugin
from torch import nn

from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.mixed_precision import MixedPrecision
from hybridlit.components import mark_photonic
from hybridlit.photonics import Experiment, PhotonicCircuit, QuantumLayer
from hybridlit.templates import ParallelBankHybrid, ParallelHybrid, ResidualHybrid, SequentialHybrid

pytestmark = pytest.mark.filterwarnings("ignore:.*mostly slower than '32-true':UserWarning")

TEMPLATES = [SequentialHybrid, ParallelBankHybrid]


def fp16(**scaler):
    return MixedPrecisionPlugin("16-mixed", "cpu", torch.amp.GradScaler("cpu", **scaler))


PRECISIONS = {
    "32-true": lambda: dict(precision="32-true"),
    "64-true": lambda: dict(precision="64-true"),
    "bf16-mixed": lambda: dict(precision="bf16-mixed"),
    "16-mixed": lambda: dict(plugins=[fp16(init_scale=256.0)]),
    "bf16-true": lambda: dict(precision="bf16-true"),
    "16-true": lambda: dict(precision="16-true"),
}


@pytest.fixture(params=PRECISIONS)
def precision(request):
    return request.param


class Seen(Callback):
    """Keeps what the circuits compute with in training, and what was logged."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.steps = trainer.global_step
        self.kinds = {
            module.phases.dtype
            for module in pl_module.modules()
            if isinstance(module, PhotonicCircuit)
        }

    def on_train_end(self, trainer, pl_module):
        self.metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}


def trained(model, data, make_trainer, *callbacks, **options):
    """The state of a model after a run, and what came next from torch's generator."""
    torch.manual_seed(5)
    model, seen = copy.deepcopy(model), Seen()
    make_trainer([*callbacks, seen], **({"max_epochs": 2} | options)).fit(model, data)
    return model.state_dict(), torch.rand(3), seen


@pytest.mark.slow
@pytest.mark.parametrize("cls", TEMPLATES)
@pytest.mark.parametrize("core", [None, "float64"])
def test_every_precision_trains_and_is_measured(
    cls, core, precision, data, make_model, make_trainer
):
    watch = MixedPrecision(core=core, every_n_steps=2)
    model = make_model(cls)
    _, _, seen = trained(
        model, data, make_trainer, watch, gradient_clip_val=0.5, **PRECISIONS[precision]()
    )
    double = core == "float64" or precision == "64-true"
    assert seen.kinds == {torch.float64 if double else torch.float32}
    assert math.isfinite(seen.metrics["train/loss"])
    drift, error = (seen.metrics[f"precision/{n}"] for n in ("probability_drift", "shadow_error"))
    assert drift < (1e-14 if double else 3e-6)
    smallest, largest = {
        "32-true": (1e-9, 1e-5),
        "64-true": (0.0, 1e-14),
        "bf16-mixed": (1e-4, 5e-2),
        "16-mixed": (1e-5, 5e-3),
        "bf16-true": (1e-4, 5e-2),
        "16-true": (1e-5, 5e-3),
    }[precision]
    assert smallest <= error <= largest
    assert ("precision/loss_scale" in seen.metrics) == (precision == "16-mixed")
    assert ("precision/skipped_steps" in seen.metrics) == (precision == "16-mixed")


@pytest.mark.slow
@pytest.mark.parametrize("cls", TEMPLATES)
def test_training_is_the_same_bit_for_bit(cls, precision, data, make_model, make_trainer):
    """Random numbers, buffers and gradients: measuring at every step changes none."""
    model = make_model(cls, **({"dropout": 0.3} if cls is SequentialHybrid else {}))
    options = PRECISIONS[precision]
    expected, drawn_before, _ = trained(
        model, data, make_trainer, accumulate_grad_batches=2, **options()
    )
    watch = MixedPrecision(every_n_steps=1)
    state, drawn, _ = trained(
        model, data, make_trainer, watch, accumulate_grad_batches=2, **options()
    )
    assert torch.equal(drawn, drawn_before)
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


def test_a_model_that_draws_in_evaluation_is_measured_with_the_same_draws(
    data, make_model, make_trainer
):
    class Noisy(SequentialHybrid):
        def forward(self, x):
            outputs = super().forward(x)
            return outputs + torch.randn(outputs.shape, dtype=torch.float32)

    model = make_model(Noisy)
    expected, drawn_before, _ = trained(model, data, make_trainer)
    state, drawn, seen = trained(model, data, make_trainer, MixedPrecision(every_n_steps=1))
    assert torch.equal(drawn, drawn_before)
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert seen.metrics["precision/shadow_error"] < 1e-5


# --- the core -------------------------------------------------------------------------------------


class Handed(Callback):
    """Keeps what went into the circuit, its probabilities, and their and its gradients."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            circuit = pl_module.quantum_layer
            self.twin = copy.deepcopy(circuit).double()
            self.hooks = [
                circuit.register_forward_pre_hook(lambda _, inputs: self.keep(inputs[0])),
                circuit.readout.register_forward_pre_hook(self.read),
            ]

    def keep(self, x):
        self.x = x.detach()

    def read(self, _, inputs):
        self.probabilities = inputs[0].detach().clone()
        inputs[0].register_hook(lambda grad: setattr(self, "grad", grad.clone()))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if self.hooks:
            self.phases = pl_module.quantum_layer.phases.grad.clone()
            for hook in self.hooks:
                hook.remove()
            self.hooks = []


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed", "bf16-true", "16-true"])
def test_a_float64_core_computes_as_a_float64_model_does(name, data, make_model, make_trainer):
    handed = Handed()
    core = MixedPrecision(core="float64", every_n_steps=None)
    trained(
        make_model(), data, make_trainer, core, handed, max_epochs=1, limit_train_batches=1,
        **PRECISIONS[name](),
    )  # fmt: skip
    assert handed.x.dtype != torch.float64
    expected = handed.twin.probabilities(handed.x.double())
    torch.testing.assert_close(handed.probabilities, expected, rtol=0, atol=1e-12)
    expected.backward(handed.grad)
    gradient = handed.twin.phases.grad
    assert gradient.abs().max() > 1e-6
    torch.testing.assert_close(handed.phases, gradient, rtol=1e-12, atol=1e-12)


def test_a_float64_core_is_more_exact_than_a_float32_one(data, make_model, make_trainer):
    def drift(core):
        watch = MixedPrecision(core=core, every_n_steps=1)
        return trained(make_model(), data, make_trainer, watch)[2].metrics[
            "precision/probability_drift"
        ]

    assert drift("float64") < 1e-14 < 1e-8 < drift("float32") == drift(None)


@pytest.mark.parametrize("name", ["32-true", "16-mixed", "bf16-true"])
def test_a_run_resumed_with_a_float64_core_goes_on_exactly(
    name, tmp_path, data, make_model, make_trainer
):
    def run(path=None, **options):
        torch.manual_seed(3)
        model = make_model(dropout=0.0)
        kept = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}", **options)
        core = MixedPrecision(core="float64", every_n_steps=3)
        trainer = make_trainer(
            [core, kept], max_epochs=4, enable_checkpointing=True, **PRECISIONS[name]()
        )
        trainer.fit(model, data, ckpt_path=path)
        (optimizer,) = trainer.optimizers
        moments = [state["exp_avg"] for state in optimizer.state.values()]
        return model.state_dict(), moments

    whole, moments = run()
    resumed, resumed_moments = run(tmp_path / "epoch=1.ckpt", every_n_epochs=9)
    assert whole["quantum_layer.phases"].dtype == torch.float64
    assert torch.float64 in {moment.dtype for moment in moments}
    for key, value in whole.items():
        assert value.dtype == resumed[key].dtype
        assert torch.equal(value, resumed[key]), key
    assert all(map(torch.equal, moments, resumed_moments))


def test_float64_phases_go_into_a_checkpoint_and_round_in_a_float32_model(
    tmp_path, data, make_model, make_trainer
):
    model = make_model()
    trainer = make_trainer([MixedPrecision(core="float64")])
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    phases = model.quantum_layer.phases
    assert phases.dtype == torch.float64  # it stays so after the run
    loaded = SequentialHybrid.load_from_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(loaded.quantum_layer.phases, phases.float())
    x = data.train[0]
    torch.testing.assert_close(loaded.eval()(x), model.eval()(x), rtol=1e-4, atol=1e-5)
    # the other way round: nothing is lost where the callback is there first
    trainer = make_trainer([MixedPrecision(core="float64")])
    other = make_model()
    trainer.validate(other, data, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert torch.equal(other.quantum_layer.phases, phases)
    make_trainer([MixedPrecision(core="float32")]).validate(other, data, verbose=False)
    assert other.quantum_layer.phases.dtype == torch.float32


def test_float32_circuits_in_a_float64_run_are_refused(data, make_model, make_trainer):
    with pytest.raises(ValueError, match=r"core must be 'float64' or None under .*'64-true'"):
        make_trainer([MixedPrecision("float32")], precision="64-true").fit(make_model(), data)


class Late(SequentialHybrid):
    """Makes its photonic layer when the Trainer asks for it."""

    cast = False

    def configure_model(self):
        circuit = Experiment("series", n_modes=4, n_photons=2)
        self.quantum_layer = QuantumLayer(2, 4, experiment=circuit)
        if self.cast:
            self.quantum_layer.to(torch.float64)


def test_circuits_made_too_late_must_be_cast_by_their_maker(data, make_model, make_trainer):
    with pytest.raises(RuntimeError, match=r"configure_model must be cast .*to\(torch.float64\)"):
        make_trainer([MixedPrecision("float64")]).fit(make_model(Late), data)
    model = make_model(Late)
    model.cast = True
    make_trainer([MixedPrecision("float64")]).fit(model, data)


@pytest.mark.slow
def test_a_core_without_circuits_is_told(data, make_model, make_trainer):
    with pytest.warns(UserWarning, match="core='float64' changes nothing: the model has no"):
        make_trainer([MixedPrecision("float64")]).fit(make_model(quantum="mlp"), data)


# --- what it says ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("core", ["float32", "float64"])
def test_it_says_what_the_precision_does(core, precision, data, make_model, make_trainer, caplog):
    if (core, precision) == ("float32", "64-true"):
        core = None
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        trained(
            make_model(), data, make_trainer, MixedPrecision(core), max_epochs=1,
            **PRECISIONS[precision](),
        )  # fmt: skip
    (said,) = [m for m in caplog.messages if m.startswith("Precision ")]
    classical = {
        "32-true": "computed in float32",
        "64-true": "computed in float64",
        "bf16-mixed": "computed in bfloat16",
        "16-mixed": "computed in float16",
        "bf16-true": "computed in bfloat16",
        "16-true": "computed in float16",
    }[precision]
    assert said.startswith(f"Precision {precision}: classical parts are stored")
    assert classical in said
    assert said.endswith(f"photonic circuits in {core or 'float64'}.")


@pytest.mark.filterwarnings("default:.*mostly slower:UserWarning")
def test_mixed_precision_on_a_cpu_is_warned_about(
    precision, data, make_model, make_trainer, recwarn
):
    options = dict(max_epochs=1, **PRECISIONS[precision]())
    trained(make_model(), data, make_trainer, MixedPrecision(), **options)
    told = [w for w in recwarn if "on a CPU is mostly slower than '32-true'" in str(w.message)]
    assert bool(told) == precision.endswith("mixed")


@pytest.mark.parametrize(("epsilon", "told"), [(1e-8, True), (1e-4, False)])
def test_an_epsilon_that_float16_loses_is_warned_about(
    epsilon, told, data, make_model, make_trainer, recwarn
):
    class Usual(SequentialHybrid):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.0, eps=epsilon)

    options = dict(precision="16-true", limit_train_batches=1, limit_val_batches=0)
    make_trainer([MixedPrecision()], **options).fit(make_model(Usual), data)
    told_of = [w for w in recwarn if "eps=1e-08 of Adam is 0 in float16" in str(w.message)]
    assert bool(told_of) == told


def test_an_unknown_precision_is_warned_about(data, make_model, make_trainer):
    class Odd(MixedPrecisionPlugin):
        def __init__(self):
            super().__init__("bf16-mixed", "cpu")
            self.precision = "odd"

    with pytest.warns(UserWarning, match="precision='odd' is none of"):
        make_trainer([MixedPrecision()], plugins=[Odd()]).fit(make_model(), data)


def test_complex_parameters_are_refused(precision, data, make_model, make_trainer):
    model = make_model()
    model.rotation = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"must be real, got complex \['rotation'\]"):
        make_trainer([MixedPrecision()], **PRECISIONS[precision]()).fit(model, data)


# --- drift ----------------------------------------------------------------------------------------


class Leaky(SequentialHybrid):
    """Its circuit loses a share of its probability from some step on."""

    share, start = 1e-3, 2

    def build_quantum(self):
        layer = super().build_quantum()
        simulate = QuantumLayer._probabilities

        class Losing(QuantumLayer):
            def _probabilities(inner, *rows):
                probabilities, kept = simulate(inner, *rows)
                return probabilities * (1 - inner.loss), kept

            def _in_one_node(inner, rows):
                return None  # whose probabilities are its own

        layer.__class__ = Losing
        layer.register_buffer("loss", torch.zeros(()), persistent=False)
        return layer

    def on_before_zero_grad(self, optimizer):
        if self.global_step == self.start:
            self.quantum_layer.loss.fill_(self.share)


def test_a_planted_drift_is_told_once(data, make_model, make_trainer, recwarn):
    watch = MixedPrecision(every_n_steps=1, tolerance=5e-4)
    _, _, seen = trained(make_model(Leaky), data, make_trainer, watch)
    assert seen.metrics["precision/probability_drift"] == pytest.approx(1e-3, rel=1e-3)
    told = [str(w.message) for w in recwarn if "miss a sum of 1" in str(w.message)]
    assert len(told) == 1
    assert "by 0.001 at step 3, more than the tolerance 0.0005" in told[0]
    assert seen.steps == 7  # training went on
    # the shadow has the same circuit: it finds no fault of precision
    assert seen.metrics["precision/shadow_error"] < 1e-5


def test_a_planted_drift_stops_training(data, make_model, make_trainer):
    watch = MixedPrecision(every_n_steps=1, tolerance=5e-4, on_drift="stop")
    with pytest.warns(UserWarning, match=r"miss a sum of 1 .* Training stops\."):
        _, _, seen = trained(make_model(Leaky), data, make_trainer, watch, min_epochs=0)
    assert seen.steps == 3


@pytest.mark.slow
@pytest.mark.parametrize("cls", [SequentialHybrid, ParallelHybrid, ResidualHybrid, *TEMPLATES[1:]])
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_healthy_circuits_are_left_alone(cls, space, data, make_model, make_trainer, recwarn):
    watch = MixedPrecision(every_n_steps=1, tolerance=1e-5, shadow_tolerance=1e-4, on_drift="stop")
    model = make_model(cls, computation_space=space)
    _, _, seen = trained(model, data, make_trainer, watch, max_epochs=3)
    assert seen.steps == 11
    assert not [w for w in recwarn if "tolerance" in str(w.message)]
    assert 0 < seen.metrics["precision/probability_drift"] < 1e-5


def test_bfloat16_fails_a_strict_shadow_tolerance(data, make_model, make_trainer):
    watch = MixedPrecision(shadow_tolerance=1e-5, on_drift="stop")
    with pytest.warns(UserWarning, match=r"differ from those in float64 by .*='bf16-mixed'"):
        _, _, seen = trained(make_model(), data, make_trainer, watch, precision="bf16-mixed")
    assert seen.steps == 0


def test_outputs_that_are_not_finite_are_an_infinite_error(data, make_model, make_trainer):
    class Overflowing(SequentialHybrid):
        def forward(self, x):
            # beyond float32, within float64
            return super().forward(x).exp() * (1 if self.training else 1e30) * 1e30

    class Descent(Overflowing):
        def loss(self, outputs, targets):
            return super().loss((outputs / 1e30).log(), targets)

        def predictions(self, outputs):
            return super().predictions((outputs / 1e30).log().nan_to_num())

    watch = MixedPrecision(every_n_steps=1)
    with pytest.warns(UserWarning, match="differ from those in float64 by a relative inf"):
        _, _, seen = trained(make_model(Descent), data, make_trainer, watch, num_sanity_val_steps=0,
                             limit_val_batches=0)  # fmt: skip
    assert seen.metrics["precision/shadow_error"] == math.inf


def test_outputs_that_are_no_numbers_are_an_infinite_error(data, make_model, make_trainer):
    class Undefined(SequentialHybrid):
        def forward(self, x):
            outputs = super().forward(x)
            return outputs if self.training else outputs * math.nan

    with pytest.warns(UserWarning, match="differ from those in float64 by a relative inf"):
        _, _, seen = trained(
            make_model(Undefined), data, make_trainer, MixedPrecision(every_n_steps=1),
            num_sanity_val_steps=0, limit_val_batches=0,
        )  # fmt: skip
    assert seen.metrics["precision/shadow_error"] == math.inf


def test_expectations_and_foreign_layers_have_no_probabilities(data, make_model, make_trainer):
    class Foreign(SequentialHybrid):
        def build_quantum(self):
            layer = mark_photonic(nn.Linear(2, 4))
            layer.output_size = 4
            return layer

    watch = MixedPrecision(every_n_steps=1)
    for model in (make_model(Foreign), make_model(output_mapping_strategy="mode_expectations")):
        _, _, seen = trained(model, data, make_trainer, watch)
        assert "precision/probability_drift" not in seen.metrics
        assert seen.metrics["precision/shadow_error"] < 1e-5


def test_activations_kept_as_attributes_do_not_hinder(data, make_model, make_trainer):
    class Keeping(SequentialHybrid):
        def forward(self, x):
            self.last = super().forward(x)
            return self.last

    _, _, seen = trained(make_model(Keeping), data, make_trainer, MixedPrecision(every_n_steps=1))
    assert "precision/shadow_error" in seen.metrics


def test_any_lightning_module(data, make_trainer):
    class Other(LightningModule):
        def __init__(self):
            super().__init__()
            circuit = Experiment("series", n_modes=4, n_photons=2)
            self.net = nn.Sequential(
                nn.Linear(5, 2), nn.Sigmoid(), QuantumLayer(2, 3, experiment=circuit)
            )

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Silent(Other):
        forward = LightningModule.forward

    _, _, seen = trained(Other(), data, make_trainer, MixedPrecision(every_n_steps=1))
    assert seen.metrics["precision/shadow_error"] < 1e-5
    with pytest.raises(TypeError, match=r"Silent must define forward\(inputs\) .*every_n_steps=No"):
        trained(Silent(), data, make_trainer, MixedPrecision())
    trained(Silent(), data, make_trainer, MixedPrecision(every_n_steps=None))


def test_it_measures_every_so_many_steps(data, make_model, make_trainer, tmp_path, scalars):
    """Once a step, also with accumulated gradients, and first at step 0."""

    measured = []

    class Counting(MixedPrecision):
        def _judge(self, trainer, name, value):
            measured.append((trainer.global_step, name))
            super()._judge(trainer, name, value)

    watch, logger = Counting(every_n_steps=3), TensorBoardLogger(tmp_path)
    trained(
        make_model(), data, make_trainer, watch, max_epochs=4, accumulate_grad_batches=2,
        logger=logger,
    )  # fmt: skip
    names = (LogKey.DRIFT, LogKey.SHADOW)
    assert measured == [(step, name) for step in (0, 3, 6) for name in names]
    logged = scalars(logger.log_dir)
    # two steps an epoch: the epochs of steps 0, 3 and 6
    assert [step for step, _ in logged["precision/shadow_error"]] == [1, 3, 7]


# --- the loss scale -------------------------------------------------------------------------------


class Overflow(Callback):
    """Plants an infinite gradient before some optimizer steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step in self.steps:
            next(pl_module.parameters()).grad[0] = math.inf


def test_planted_overflows_are_counted(data, make_model, make_trainer, tmp_path, scalars):
    logger = TensorBoardLogger(tmp_path)
    watch = MixedPrecision()
    trained(
        make_model(), data, make_trainer, watch, Overflow({0, 2, 6}), max_epochs=3, logger=logger,
        plugins=[fp16(init_scale=64.0, growth_interval=1000)],
    )  # fmt: skip
    logged = {
        tag: [value for _, value in values] for tag, values in scalars(logger.log_dir).items()
    }
    assert logged["precision/skipped_steps"] == [2.0, 3.0, 3.0]
    assert logged["precision/loss_scale"] == [16.0, 8.0, 8.0]


def test_an_overflow_of_float16_itself_is_counted(data, make_model, make_trainer):
    """A scale of 2^40 halves until the loss fits into float16's exponents again."""
    watch = MixedPrecision(every_n_steps=None)
    trained(
        make_model(), data, make_trainer, watch, max_epochs=8, plugins=[fp16(init_scale=2.0**40)]
    )
    assert 15 < watch.skipped_steps < 32


def test_growth_is_no_overflow(data, make_model, make_trainer):
    watch = MixedPrecision(every_n_steps=None)
    scaler = fp16(init_scale=4.0, growth_interval=1)
    _, _, seen = trained(make_model(), data, make_trainer, watch, plugins=[scaler])
    assert seen.metrics["precision/skipped_steps"] == 0
    assert seen.metrics["precision/loss_scale"] == 4.0 * 2**8


def test_a_second_run_counts_anew(data, make_model, make_trainer):
    watch = MixedPrecision(every_n_steps=None)
    for _ in range(2):
        callbacks = [watch, Overflow({0, 1})]
        make_trainer(callbacks, plugins=[fp16(init_scale=64.0)]).fit(make_model(), data)
        assert watch.skipped_steps == 2


def test_skipped_steps_are_counted_across_checkpoints(tmp_path, data, make_model, make_trainer):
    def run(epochs, path=None):
        watch = MixedPrecision(every_n_steps=None)
        trainer = make_trainer(
            [watch, Overflow({1, 5})], max_epochs=epochs, plugins=[fp16(init_scale=64.0)]
        )
        trainer.fit(make_model(), data, ckpt_path=path)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return watch.skipped_steps

    assert run(1) == 1
    assert run(2, tmp_path / "last.ckpt") == 2
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["MixedPrecision"]
    assert kept == {"skipped_steps": 2}
    assert run(1) == 1


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(core="float16"), ValueError, r"core must be one of \['float32', 'float64'\]"),
        (dict(every_n_steps=0), ValueError, "every_n_steps must be at least 1"),
        (dict(every_n_steps=1.5), TypeError, "every_n_steps must be an integer"),
        (dict(tolerance=0.0), ValueError, "^tolerance must be above 0"),
        (dict(shadow_tolerance=math.nan), ValueError, "shadow_tolerance must be above 0"),
        (dict(on_drift="raise"), ValueError, r"on_drift must be one of \['warn', 'stop'\]"),
    ],
)
def test_bad_arguments_are_refused_at_construction(arguments, error, message):
    with pytest.raises(error, match=message):
        MixedPrecision(**arguments)


@pytest.mark.slow
def test_two_processes_judge_alike(data, make_model, make_trainer, tmp_path, scalars):
    """If only one of them stopped, the other one would wait for it forever."""
    watch = MixedPrecision("float64", every_n_steps=1, shadow_tolerance=1e-9, on_drift="stop")
    logger = TensorBoardLogger(tmp_path, version=0)
    options = dict(strategy="ddp_spawn", devices=2, max_epochs=3, logger=logger)
    make_trainer([watch], **options).fit(make_model(), data)
    logged = scalars(logger.log_dir)
    ((_, error),) = logged["precision/shadow_error"]
    ((_, drift),) = logged["precision/probability_drift"]
    assert error > 1e-9 > 1e-14 > drift
