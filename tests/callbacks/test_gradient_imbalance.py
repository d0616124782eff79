"""What the monitor measures, when it warns, and what rebalancing does to learning rates."""

import contextlib
import functools
import math
import pickle
import re
import warnings

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import ParallelHybrid, ResidualHybrid, SequentialHybrid
from hybridlit.blocks import GradientScaledQuantumLayer
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.callbacks.gradient_imbalance import GradientImbalanceMonitor
from hybridlit.callbacks.measuring.step_sizes import StepUnderWay, step_sizes
from hybridlit.components import split_parameters
from hybridlit.data import SklearnDataModule
from hybridlit.templates.training.stages import StagedTraining

KEYS = [f"grad/{c}_{kind}" for c in ("classical", "photonic") for kind in ("norm", "rms")] + [
    "grad/ratio",
    "grad/ratio_smooth",
    "update/classical",
    "update/photonic",
    "update/ratio_smooth",
]


@contextlib.contextmanager
def warned():
    """Collect what the monitor warns of."""
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    found += [str(w.message) for w in caught if str(w.message).startswith("Step ")]


def scaled(model, component, factor):
    """Multiply the gradients of a component: by a number, or by `factor()` at each backward."""
    for parameter in split_parameters(model)[component].values():
        parameter.register_hook(lambda g: g * (factor() if callable(factor) else factor))
    return model


class Descent(SequentialHybrid):
    """Plain gradient descent: what the gradient does, the step does."""

    rates = (0.05, 0.5)

    def configure_optimizers(self):
        split = split_parameters(self)
        groups = [
            {"params": list(split[name].values()), "lr": lr, "name": name}
            for name, lr in zip(("classical", "photonic"), self.rates, strict=True)
        ]
        return torch.optim.SGD(groups)


class Values(Callback):
    """Keeps what was logged at each batch."""

    def __init__(self):
        self.rows = []

    def on_train_batch_end(self, trainer, *_):
        self.rows.append(
            {k: v.item() for k, v in trainer.callback_metrics.items() if k in KEYS or "upd" in k}
        )


@pytest.fixture
def make_trainer(make_trainer):
    """What callbacks log can be read after every step."""
    return functools.partial(make_trainer, log_every_n_steps=1)


@pytest.fixture
def batches(data):
    """Four full batches, the same in every epoch: nothing is drawn while training."""
    data.setup("fit")
    return DataLoader(TensorDataset(*data.train), batch_size=9)


# --- what is measured -----------------------------------------------------------------------------


def by_hand(model, batches):
    """Return what one step of `Descent` with the mean gradient of some batches should give."""
    loss = sum(nn.functional.cross_entropy(model(x), y) for x, y in batches) / len(batches)
    expected = {}
    split = split_parameters(model)
    for name, lr in zip(split, Descent.rates, strict=True):
        parameters = list(split[name].values())
        gradient = torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, parameters, None, True)]
        )
        weights = torch.cat([p.flatten() for p in parameters]).norm()
        expected[f"grad/{name}_norm"] = gradient.norm().item()
        expected[f"grad/{name}_rms"] = gradient.square().mean().sqrt().item()
        relative = lr * gradient.norm() / weights
        turns = lr * gradient.square().mean().sqrt() / (2 * math.pi)
        expected[f"update/{name}"] = (relative if name == "classical" else turns).item()
    expected["grad/ratio"] = expected["grad/photonic_rms"] / expected["grad/classical_rms"]
    expected["grad/ratio_smooth"] = expected["grad/ratio"]
    expected["update/ratio_smooth"] = expected["update/photonic"] / expected["update/classical"]
    return expected


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("scaler", [None, 1024.0], ids=["float32", "scaled"])
def test_a_step_is_measured(accumulate, scaler, batches, make_model, make_trainer):
    model = make_model(Descent, dropout=0.0)
    expected = by_hand(model, list(batches)[:accumulate])
    options = {}
    if scaler is not None:
        # the scaler's factor must be gone; float16 itself would be too coarse to compare
        plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scaler))
        plugin.forward_context = contextlib.nullcontext
        options = dict(plugins=[plugin])
    trainer = make_trainer(
        [GradientImbalanceMonitor()], max_steps=1, accumulate_grad_batches=accumulate, **options
    )
    trainer.fit(model, batches)
    for key in KEYS:
        # steps are differences of float32 numbers of about 1
        assert trainer.callback_metrics[key].item() == pytest.approx(expected[key], rel=1e-3), key


def test_clipping_changes_the_step_only(batches, make_model, make_trainer):
    model = make_model(Descent, dropout=0.0)
    expected = by_hand(model, list(batches)[:1])
    trainer = make_trainer([GradientImbalanceMonitor()], max_steps=1, gradient_clip_val=1e-2)
    trainer.fit(model, batches)
    norm = math.hypot(expected["grad/classical_norm"], expected["grad/photonic_norm"])
    for key in KEYS:
        clipped = 1e-2 / norm if key in ("update/classical", "update/photonic") else 1.0
        measured = trainer.callback_metrics[key].item()
        assert measured == pytest.approx(clipped * expected[key], rel=2e-2), key


def test_an_optimizer_that_unscales_itself(batches, make_model, make_trainer):
    class Fused(SequentialHybrid):
        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), fused=True)

    model = make_model(Fused, dropout=0.0)
    expected = by_hand(model, list(batches)[:1])
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
    plugin.forward_context = contextlib.nullcontext
    trainer = make_trainer([GradientImbalanceMonitor()], max_steps=1, plugins=[plugin])
    trainer.fit(model, batches)
    for key in KEYS[:6]:
        assert trainer.callback_metrics[key].item() == pytest.approx(expected[key], rel=1e-4), key


def test_logged_under_the_documented_names(tmp_path, data, make_model, make_trainer, scalars):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    monitor = GradientImbalanceMonitor(every_n_steps=1, action="rebalance")
    make_trainer([monitor], logger=logger).fit(make_model(), data)
    logged = scalars(logger.log_dir)
    keys = {*KEYS, "update/rebalance"}
    assert {tag for tag in logged if tag.startswith(("grad/", "update/"))} == keys
    assert all(len(logged[key]) == 4 and logged[key][0][0] == 0 for key in keys)


def test_the_logger_gets_the_latest_values(tmp_path, data, make_model, make_trainer, scalars):
    """Measured in steps 0, 3, 6, ..., logged after steps 4, 9, 14: across epochs of 4 batches."""
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    values = Values()
    monitor = GradientImbalanceMonitor(every_n_steps=3)
    trainer = make_trainer([monitor, values], max_epochs=4, logger=logger, log_every_n_steps=5)
    torch.manual_seed(3)
    trainer.fit(make_model(), data)
    logged = scalars(logger.log_dir)["grad/classical_norm"]
    assert [step for step, _ in logged] == [4, 9, 14]
    torch.manual_seed(3)
    values = Values()
    make_trainer([monitor, values], max_epochs=4).fit(make_model(), data)
    every = [row["grad/classical_norm"] for row in values.rows]
    assert [value for _, value in logged] == pytest.approx([every[i] for i in (3, 9, 12)])


@pytest.mark.parametrize("action", ["warn", "rebalance"])
def test_training_is_bit_for_bit_the_same(action, data, make_model, make_trainer):
    def run(callbacks):
        torch.manual_seed(3)
        model = make_model(schedule="cosine", weight_decay=0.1)
        make_trainer(callbacks, max_epochs=3, gradient_clip_val=0.5).fit(model, data)
        return model.state_dict()

    plain = run([])
    watched = run([GradientImbalanceMonitor(every_n_steps=2, action=action)])
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_sparse_gradients(make_trainer):
    class Sparse(LightningModule):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 5, sparse=True)
            self.net = SequentialHybrid(5, 2, 3, n_modes=4, n_photons=2)

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self.net(self.embedding(batch[0])), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    x, y = torch.randint(7, (20,)), torch.randint(3, (20,))
    trainer = make_trainer([GradientImbalanceMonitor(every_n_steps=1)])
    trainer.fit(Sparse(), DataLoader(TensorDataset(x, y), batch_size=10))
    assert trainer.callback_metrics["grad/classical_norm"] > 0


@pytest.mark.parametrize("value", [5e4, 1e-7])
def test_norms_beyond_the_range_of_float16(value):
    parameter = nn.Parameter(torch.ones(900, dtype=torch.float16))
    parameter.grad = torch.full_like(parameter, value)
    rounded = parameter.grad[0].item()
    (sizes,) = step_sizes([StepUnderWay([parameter], scale=0.5)])
    assert sizes == pytest.approx((30 * rounded / 0.5, 0.0, 30.0))


# --- when it warns --------------------------------------------------------------------------------


def watch(model, data, make_trainer, monitor=None, **options):
    """Return the warnings of a run of 24 steps, and the monitor."""
    monitor = monitor or GradientImbalanceMonitor(every_n_steps=2)
    with warned() as messages:
        make_trainer([monitor], **(dict(max_epochs=6, limit_val_batches=0) | options)).fit(
            model, data
        )
    return messages, monitor


class Planted(Callback):
    """Fills in the gradients, so that the ratio of each step is a given number."""

    def __init__(self, ratios):
        self.ratios = ratios

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        split = split_parameters(pl_module)
        values = {"classical": 1.0, "photonic": self.ratios[trainer.global_step]}
        for component, parameters in split.items():
            for parameter in parameters.values():
                parameter.grad = torch.full_like(parameter, values[component])


def watch_ratios(ratios, make_model, data, make_trainer, **arguments):
    """Return the steps of the warnings, and the imbalance after each step."""
    monitor = GradientImbalanceMonitor(every_n_steps=1, **arguments)
    history = []

    class Watch(Callback):
        def on_train_batch_end(self, *_):
            history.append(monitor.imbalance)

    callbacks = [Planted(ratios), monitor, Watch()]
    with warned() as messages:
        make_trainer(callbacks, max_epochs=99, max_steps=len(ratios)).fit(make_model(), data)
    assert len(history) == len(ratios)
    return [int(m.split(":")[0].removeprefix("Step ")) for m in messages], history


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "changes"),
    # with 6 hidden units, plain gradient descent can leave all of them dead
    [(SequentialHybrid, {}), (ParallelHybrid, {}), (Descent, {"head_dim": 32})],
    ids=["sequential", "parallel", "sgd"],
)
def test_healthy_runs_are_silent(cls, changes, data, make_model, make_trainer):
    """10 of 10 seeds."""
    for seed in range(10):
        torch.manual_seed(seed)
        messages, monitor = watch(make_model(cls, **changes), data, make_trainer)
        assert not messages and monitor.imbalance is None and 0.05 < monitor.ratio < 40, seed


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("component", ["photonic", "classical"])
def test_a_planted_imbalance_is_diagnosed(component, factor, data, make_model, make_trainer):
    """At least 9 of 10 seeds: one warning, which names the component with the smaller gradients."""
    other = {"photonic": "classical", "classical": "photonic"}[component]
    smaller, larger = (component, other) if factor < 1 else (other, component)
    right = 0
    for seed in range(10):
        torch.manual_seed(seed)
        model = scaled(make_model(), component, factor)
        messages, monitor = watch(model, data, make_trainer)
        right += monitor.imbalance == smaller and [
            f"gradients of the {smaller} parameters" in m and f"those of the {larger} ones" in m
            for m in messages
        ] == [True]
    assert right >= 9


@pytest.mark.parametrize(("factor", "smaller"), [(1e-3, "photonic"), (1e3, "classical")])
def test_a_scaled_layer_is_diagnosed(factor, smaller, data, make_model, make_trainer):
    """Beside a classical path; the readout, which is classical, gets the factor too."""

    class Scaled(ParallelHybrid):
        def build_quantum(self):
            return GradientScaledQuantumLayer(super().build_quantum(), factor)

    right = 0
    for seed in range(4):
        torch.manual_seed(seed)
        _, monitor = watch(make_model(Scaled, output_mapping_strategy="none"), data, make_trainer)
        right += monitor.imbalance == smaller
    assert right >= 3


def test_the_warning_says_what_to_do(data, make_model, make_trainer):
    model = scaled(make_model(classical_lr=3e-3, quantum_lr=1e-2), "photonic", 1e-3)
    (message,), _ = watch(model, data, make_trainer)
    assert message.startswith("Step 8: the gradients of the photonic parameters are ")
    assert "outside of [0.02, 100]" in message
    assert "learning rates: classical 0.003, photonic 0.01." in message
    assert "Adam, AdamW and their like divide gradients by their own size" in message
    factor, ratio, photonic, classical = map(
        float,
        re.search(
            r"are (\S+) times smaller .* is (\S+), outside .* photonic (\S+), classical (\S+)\)",
            message,
        ).groups(),
    )
    assert 1e2 < factor == pytest.approx(1 / ratio, rel=1e-2)
    assert ratio / 5 < photonic / classical < ratio * 5  # the latest of five measurements


@pytest.mark.parametrize(("weak", "smaller"), [(1e-4, "photonic"), (1e6, "classical")])
def test_one_warning_an_episode(weak, smaller, data, make_model, make_trainer):
    """Without smoothing all can be told by hand: patience 3, and ends of episodes at once."""
    ratios = [1.0] * 4 + [weak] * 6 + [1.0] * 2 + [weak] * 2 + [1.0] + [weak] * 3 + [1 / weak] * 4
    steps, history = watch_ratios(ratios, make_model, data, make_trainer, smoothing=0.0, patience=3)
    other = {"photonic": "classical", "classical": "photonic"}[smaller]
    assert steps == [6, 17, 20]
    expected = [None] * 6 + [smaller] * 4 + [None] * 7 + [smaller] * 3 + [other] * 2
    assert history == expected


def test_hysteresis(data, make_model, make_trainer):
    """An episode below 0.02 ends at 0.04, not before."""
    ratios = [0.01, 0.01, 0.03, 0.039, 0.01, 0.01, 0.041, 0.03, 0.03, 0.019, 0.019]
    steps, history = watch_ratios(ratios, make_model, data, make_trainer, smoothing=0.0, patience=2)
    assert steps == [1, 10]
    assert history == [None] + ["photonic"] * 5 + [None] * 4 + ["photonic"]


def test_the_average_is_one_of_logarithms(data, make_model, make_trainer):
    monitor = GradientImbalanceMonitor(every_n_steps=1, smoothing=0.5)
    trainer = make_trainer([Planted([0.1, 10.0, 1000.0]), monitor], max_steps=3)
    trainer.fit(make_model(), data)
    decades = (0.25 * -1 + 0.5 * 1 + 1.0 * 3) / 1.75
    assert monitor.ratio == pytest.approx(10**decades, rel=1e-5)


@pytest.mark.parametrize("odd", [0, 7])
@pytest.mark.parametrize("ratio", [1e-6, 1e6])
def test_a_single_odd_batch_does_not_alarm(ratio, odd, data, make_model, make_trainer):
    """Neither the first one, which the average knows nothing to set against, nor a later one."""
    ratios = [1.0] * 20
    ratios[odd] = ratio
    steps, history = watch_ratios(ratios, make_model, data, make_trainer)
    assert not steps and history == [None] * 20


def test_a_short_last_window_does_not_alarm(data, make_model, make_trainer):
    """Four batches in windows of three: every second step has a third of the gradient."""
    messages, _ = watch(
        make_model(),
        data,
        make_trainer,
        GradientImbalanceMonitor(every_n_steps=1),
        accumulate_grad_batches=3,
    )
    assert not messages


# --- gradients that are absent, zero or infinite --------------------------------------------------


def test_a_reservoir_is_no_imbalance(data, make_model, make_trainer):
    monitor = GradientImbalanceMonitor(every_n_steps=1)
    model = make_model(reservoir_mode=True, use_bandwidth_tuning=False)
    with warned() as messages:
        trainer = make_trainer([monitor], max_epochs=5)
        trainer.fit(model, data)
    assert not messages and monitor.ratio is None
    found = {k for k in trainer.callback_metrics if k.startswith(("grad/", "update/"))}
    assert found == {"grad/classical_norm", "grad/classical_rms", "update/classical"}


def test_a_dead_component_is_said_once(data, make_model, make_trainer):
    class Dead(SequentialHybrid):
        def build_quantum(self):
            return GradientScaledQuantumLayer(super().build_quantum(), 0.0)

    messages, monitor = watch(make_model(Dead), data, make_trainer)
    (message,) = messages
    assert message.startswith("Step 8: the gradients of all photonic parameters have been 0")
    assert monitor.ratio is None and monitor.imbalance is None


def test_a_gradient_of_zero_at_the_start_is_fine(data, make_trainer):
    """A residual template's correction starts at zero, and so does the photonic gradient."""
    monitor = GradientImbalanceMonitor(every_n_steps=1)
    model = ResidualHybrid(5, 3, n_modes=4, n_photons=2)
    values = Values()
    with warned() as messages:
        make_trainer([monitor, values], max_epochs=5).fit(model, data)
    assert values.rows[0]["grad/photonic_norm"] == 0.0 and "grad/ratio" not in values.rows[0]
    assert not messages and monitor.ratio > 0


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, -1])
def test_components_in_turn(order, data, make_model, make_trainer):
    """A ratio for each pair of measurements, whatever the order of the callbacks."""

    def run(turns, every, factor=1.0):
        torch.manual_seed(3)
        monitor, values = GradientImbalanceMonitor(every_n_steps=every), Values()
        model = scaled(make_model(dropout=0.0), "photonic", factor)
        with warned() as messages:
            make_trainer([monitor, turns, values][::order], max_epochs=15).fit(model, data)
        return messages, monitor, values.rows

    messages, monitor, _ = run(AlternatingTraining(5, 1), 10)
    assert not messages and 0.05 < monitor.ratio < 40
    messages, monitor, _ = run(AlternatingTraining(5, 1), 1, factor=1e-4)
    assert len(messages) == 1 and monitor.imbalance == "photonic"
    # classical only at first: nothing to compare
    messages, monitor, rows = run(StagedTraining([["classical", 8], ["both", 1]]), 1, factor=1e-4)
    assert len(messages) == 1 and monitor.imbalance == "photonic"
    offset = 0 if order == 1 else 1  # `Values` before the monitor is one batch late
    assert all("grad/photonic_norm" not in row for row in rows[: 32 + offset])
    assert "grad/ratio" in rows[32 + offset]


def test_the_idle_component_is_not_measured_in_either_order(data, make_model, make_trainer):
    def run(order):
        torch.manual_seed(3)
        monitor = GradientImbalanceMonitor(every_n_steps=3)
        callbacks = [monitor, AlternatingTraining(4, 2)][::order]
        make_trainer(callbacks, max_epochs=6).fit(make_model(), data)
        return monitor.state_dict()

    assert run(1) == run(-1)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_infinite_gradients_are_said_once_and_left_out(value, data, make_model, make_trainer):
    class Skip(Callback):  # or else the run would end there
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            for parameter in pl_module.parameters():
                if not torch.isfinite(parameter.grad).all():
                    parameter.grad = None

    monitor = GradientImbalanceMonitor(every_n_steps=1)
    ratios = [1.0, value, 1.0, value, 1.0]
    with warned() as messages:
        trainer = make_trainer([Planted(ratios), monitor, Skip()], max_epochs=9, max_steps=5)
        trainer.fit(make_model(), data)
    (message,) = messages
    assert message.startswith("Step 1: gradients or steps (classical, photonic) are infinite or N")
    assert monitor.ratio == pytest.approx(1.0) and monitor.state_dict()["nonfinite"] == 2


def test_steps_that_a_scaler_skips_are_left_out(data, make_model, make_trainer):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=1000)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    monitor = GradientImbalanceMonitor(every_n_steps=1)
    messages, monitor = watch(
        make_model(), data, make_trainer, monitor, max_epochs=20, plugins=[plugin]
    )
    state = monitor.state_dict()
    assert not messages and 0 < state["nonfinite"] < 60
    assert 0.05 < monitor.ratio < 40


# --- rebalancing ----------------------------------------------------------------------------------


class Rates(Callback):
    """Records learning rates outside of the optimizer's steps, and inside."""

    def __init__(self):
        self.outside, self.inside = [], []

    def on_train_batch_start(self, trainer, *_):
        self.outside.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.inside.append([group["lr"] for group in optimizer.param_groups])


class Decaying(Descent):
    """With a scheduler that multiplies the rates it finds, after every step."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


@pytest.mark.parametrize(("factor", "expected"), [(1e-3, 8.0), (1e3, 1 / 8)])
def test_rates_are_rebalanced_within_bounds(factor, expected, data, make_model, make_trainer):
    """By at most the given factor, in the optimizer's steps only, and schedules go on."""
    monitor = GradientImbalanceMonitor(every_n_steps=2, action="rebalance", max_rebalance=8.0)
    rates, values = Rates(), Values()
    model = scaled(make_model(Decaying), "photonic", factor)
    if factor > 1:
        model.rates = (0.05, 5e-4)  # before rebalancing the steps must not tear the model
        monitor.update_high = 0.003
    with warned() as messages:
        trainer = make_trainer([monitor, rates, values], max_epochs=10, gradient_clip_val=1.0)
        trainer.fit(model, data)
    assert len(messages) == 1
    for step, (outside, inside) in enumerate(zip(rates.outside, rates.inside, strict=True)):
        scheduled = [lr * 0.99**step for lr in model.rates]
        assert outside == pytest.approx(scheduled, rel=1e-9), step
        f = (inside[1] / outside[1]) / (inside[0] / outside[0])
        assert inside[0] * inside[1] == pytest.approx(outside[0] * outside[1], rel=1e-9)
        assert f == pytest.approx(1.0 if step < 9 else expected, rel=1e-9), step
    logged = [row["update/rebalance"] for row in values.rows]
    assert logged[8] == 1.0 and logged[10] == logged[-1] == pytest.approx(expected)
    (optimizer,) = trainer.optimizers
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks


def test_rebalancing_brings_steps_to_the_end_of_the_range(data, make_model, make_trainer):
    """Not bounded: the ratio of the steps taken is `update_low`, and stays there."""
    monitor = GradientImbalanceMonitor(
        every_n_steps=1, action="rebalance", max_rebalance=1e6, update_low=0.01, smoothing=0.5
    )
    values = Values()
    model = scaled(make_model(Descent, dropout=0.0), "photonic", 1e-3)
    with warned():
        make_trainer([monitor, values], max_epochs=30).fit(model, data)
    taken = [row["update/photonic"] / row["update/classical"] for row in values.rows]
    assert taken[0] < 1e-3
    late = [math.log(ratio) for ratio in taken[20:]]
    assert math.exp(sum(late) / len(late)) == pytest.approx(0.01, rel=0.1)


def test_adam_needs_no_rebalancing(data, make_model, make_trainer):
    """Its steps hardly depend on the size of the gradient, and the monitor can tell."""
    monitor = GradientImbalanceMonitor(every_n_steps=2, action="rebalance")
    model = scaled(make_model(), "photonic", 1e-3)
    messages, monitor = watch(model, data, make_trainer, monitor)
    assert len(messages) == 1 and monitor.imbalance == "photonic"
    assert monitor.rebalance_factor == 1.0


def test_an_interrupted_run_has_its_own_rates(data, make_model, make_trainer):
    class Interrupt(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if trainer.global_step == 30:
                self.inside = [group["lr"] for group in optimizer.param_groups]
                raise RuntimeError("here")

    interrupt = Interrupt()
    monitor = GradientImbalanceMonitor(every_n_steps=2, action="rebalance")
    trainer = make_trainer([monitor, interrupt], max_epochs=10)
    with warned(), pytest.raises(RuntimeError, match="here"):
        trainer.fit(scaled(make_model(Descent), "photonic", 1e-3), data)
    assert interrupt.inside != list(Descent.rates)
    (optimizer,) = trainer.optimizers
    assert [group["lr"] for group in optimizer.param_groups] == list(Descent.rates)
    assert not optimizer._optimizer_step_pre_hooks


def test_rates_in_tensors(data, make_model, make_trainer):
    class Tensors(SequentialHybrid):
        def configure_optimizers(self):
            split = split_parameters(self)
            self.rate = torch.tensor(0.05)
            return torch.optim.SGD(
                [{"params": list(p.values()), "lr": self.rate} for p in split.values()], lr=0.1
            )

    monitor = GradientImbalanceMonitor(every_n_steps=2, action="rebalance")
    model = scaled(make_model(Tensors), "photonic", 1e-3)
    with warned() as messages:
        trainer = make_trainer([monitor], max_epochs=10)
        trainer.fit(model, data)
    assert "learning rates: group 0 0.05, group 1 0.05." in messages[0]
    assert monitor.rebalance_factor > 1
    assert all(group["lr"] is model.rate for group in trainer.optimizers[0].param_groups)
    assert model.rate == 0.05


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "action"), [(3, "warn"), (1, "rebalance"), (3, "rebalance"), (7, "rebalance")]
)
def test_a_resumed_run_goes_on_exactly(last, action, tmp_path, batches, make_model, make_trainer):
    """Before, amid and after the patience of an episode: no second warning, the same weights."""

    def run(path=None, **options):
        torch.manual_seed(3)
        model = scaled(make_model(Decaying, dropout=0.0), "photonic", 1e-3)
        kept = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}", **options)
        monitor = GradientImbalanceMonitor(every_n_steps=3, action=action)
        trainer = make_trainer([monitor, kept], max_epochs=10, enable_checkpointing=True)
        with warned() as messages:
            trainer.fit(model, batches, ckpt_path=path)
        return model.state_dict(), monitor.state_dict(), messages

    weights, state, messages = run()
    path = tmp_path / f"epoch={last}.ckpt"
    resumed_weights, resumed_state, resumed_messages = run(path, every_n_epochs=99)
    assert resumed_state == state
    assert all(torch.equal(weights[name], resumed_weights[name]) for name in weights)
    assert len(messages) == 1
    assert resumed_messages == (messages if last < 3 else [])
    torch.load(path, weights_only=True)


@pytest.mark.slow
def test_another_fit_begins_anew(data, make_model, make_trainer):
    monitor = GradientImbalanceMonitor(every_n_steps=2)
    watch(scaled(make_model(), "photonic", 1e-3), data, make_trainer, monitor)
    assert monitor.imbalance == "photonic"
    pickle.dumps(monitor)
    messages, _ = watch(make_model(), data, make_trainer, monitor)
    assert not messages and monitor.imbalance is None


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "changes", "message"),
    [
        (torch.optim.LBFGS, {}, "GradientImbalanceMonitor needs one optimizer.*got LBFGS"),
        (torch.optim.SGD, {"action": "rebalance"}, "group without a name holds both"),
    ],
)
def test_optimizers_that_do_not_do(optimizer, changes, message, data, make_model, make_trainer):
    class Other(SequentialHybrid):
        def configure_optimizers(self):
            return optimizer(self.parameters(), lr=0.1)

    with pytest.raises(ValueError, match=message):
        make_trainer([GradientImbalanceMonitor(**changes)]).fit(make_model(Other), data)


def test_manual_optimization_is_refused(data, make_model, make_trainer):
    model = make_model()
    model.automatic_optimization = False
    with pytest.raises(ValueError, match="GradientImbalanceMonitor needs automatic optimization"):
        make_trainer([GradientImbalanceMonitor()]).fit(model, data)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(low=0.0), ValueError, "low must be above 0, got 0.0"),
        (dict(low=0.5, high=1.5), ValueError, "high must be above 2, got 1.5"),
        (dict(high=math.inf), ValueError, "high must be"),
        (dict(every_n_steps=0), ValueError, "every_n_steps must be at least 1"),
        (dict(smoothing=1.0), ValueError, "smoothing must be at least 0 and below 1"),
        (dict(patience=1.5), TypeError, "patience must be an integer"),
        (dict(action="stop"), ValueError, r"action must be one of \['warn', 'rebalance'\]"),
        (dict(max_rebalance=1.0), ValueError, "max_rebalance must be above 1"),
        (dict(update_low=0.5), ValueError, "update_high must be above 0.5, got 0.3"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        GradientImbalanceMonitor(**arguments)


# --- slow -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("component", "factor", "smaller"),
    [
        ("photonic", 1.0, None),
        ("photonic", 1e-3, "photonic"),
        ("photonic", 1e3, "classical"),
        ("classical", 1e-3, "classical"),
        ("classical", 1e3, "photonic"),
    ],
)
def test_the_recipe_of_the_digits(component, factor, smaller, make_trainer):
    """The model of recipes/digits_sequential.yaml with default settings of the monitor."""
    right = 0
    for seed in range(5):
        torch.manual_seed(seed)
        model = SequentialHybrid(
            input_dim=64,
            quantum_dim=7,
            output_dim=10,
            n_modes=8,
            n_photons=3,
            quantum_output_dim=32,
            hidden_dim=64,
            head_dim=64,
            classical_lr=0.01,
            quantum_lr=0.03,
            weight_decay=0.3,
            schedule="cosine",
        )
        data = SklearnDataModule("digits", batch_size=64)
        monitor = GradientImbalanceMonitor()
        epochs = 12 if smaller is None else 6
        with warned() as messages:
            make_trainer([monitor], max_epochs=epochs, limit_val_batches=0).fit(
                scaled(model, component, factor), data
            )
        right += monitor.imbalance == smaller and len(messages) == (smaller is not None)
    assert right == 5 if smaller is None else right >= 4


@pytest.mark.slow
def test_two_processes_measure_and_alternate_as_one(data, make_model, make_trainer):
    """Halves of a batch on two processes give the gradient, and the steps, of the whole batch."""
    data.setup("fit")
    rows = TensorDataset(*data.train)

    def run(batch_size, **options):
        torch.manual_seed(3)
        model = make_model(ParallelHybrid)  # no batch normalization: it would see half a batch
        callbacks = [AlternatingTraining(1, 1), GradientImbalanceMonitor(every_n_steps=1)]
        trainer = make_trainer(callbacks, max_epochs=2, **options)
        trainer.fit(model, DataLoader(rows, batch_size=batch_size))
        return model.state_dict(), {k: trainer.callback_metrics[k].item() for k in KEYS}

    weights, values = run(36)
    both_weights, both_values = run(18, devices=2, strategy="ddp_spawn")
    for name, value in weights.items():
        # Adam's first steps are 3e-3 and 1e-2 whatever the gradient; means are of the first process
        if not name.startswith("paths."):
            torch.testing.assert_close(both_weights[name], value, rtol=0, atol=1e-4)
    assert both_values == pytest.approx(values, rel=1e-3)
