"""Profiles of real training steps."""

import csv
import json
import time

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from hybridlit import (
    Experiment,
    ParallelBankHybrid,
    ParallelHybrid,
    QuantumLayer,
    ResidualHybrid,
    SequentialHybrid,
)
from hybridlit.callbacks.component_profiler import ComponentProfiler

PARTS = ("classical_pre", "quantum_layer", "classical_post")


class Hooks(Callback):
    """Counts the hooks on the model and its parts at the start of each forward pass and after."""

    def __init__(self):
        self.counts, self.after = [], []

    def _count(self, model):
        return sum(
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in model.modules()
        )

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.counts.append(self._count(pl_module))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after.append(self._count(pl_module))


class Weights(Callback):
    """Keeps the loss and every parameter after each batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(
            [outputs["loss"].detach(), *(p.detach().clone() for p in pl_module.parameters())]
        )


def logged(log_dir):
    with open(log_dir / "metrics.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "cls", [SequentialHybrid, ParallelHybrid, ResidualHybrid, ParallelBankHybrid]
)
def test_training_is_bit_identical(cls, data, make_model, make_trainer):
    kept = []
    for profiler in ([], [ComponentProfiler(steps=1, warmup=0)]):
        torch.manual_seed(3)
        dropout = {} if cls is ParallelBankHybrid else {"dropout": 0.5}
        if cls is ResidualHybrid:
            dropout["quantum_dim"] = 2
        model, weights = make_model(cls, **dropout), Weights()
        make_trainer([*profiler, weights], max_epochs=2, gradient_clip_val=0.1).fit(model, data)
        kept.append(weights.seen)
    assert len(kept[0]) == 8
    for one, other in zip(*kept, strict=True):
        assert all(map(torch.equal, one, other))


def test_what_is_logged(tmp_path, data, make_model, make_trainer):
    logger = CSVLogger(tmp_path, name="run", version=0)
    profiler = ComponentProfiler(steps=1, warmup=1)
    trainer = make_trainer([profiler], max_epochs=3, logger=logger)
    trainer.fit(make_model(), data)
    rows = [row for row in logged(tmp_path / "run" / "version_0") if row["profile/step_ms"]]
    assert [row["epoch"] for row in rows] == ["0", "2"]
    for row in rows:
        values = {name: float(text) for name, text in row.items() if name.startswith("profile/")}
        wanted = {
            f"{part}_{what}"
            for part in (*PARTS, "other")
            for what in ("forward_ms", "backward_ms", "share")
        }
        wanted |= {"classical_share", "photonic_share", "step_ms"}
        assert set(values) == {f"profile/{name}" for name in wanted}
        assert all(value > 0 for value in values.values())
        shares = [values[f"profile/{part}_share"] for part in (*PARTS, "other")]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert values["profile/photonic_share"] == pytest.approx(
            values["profile/quantum_layer_share"]
        )
        assert values["profile/classical_share"] == pytest.approx(shares[0] + shares[2], abs=1e-5)
    assert "profile/photonic_share" in trainer.callback_metrics
    traces = sorted((tmp_path / "run" / "version_0" / "profile").iterdir())
    # three full batches and a small one: the third and the last are measured
    assert [path.name for path in traces] == [
        "epoch_0000_step_3.trace.json", "epoch_0002_step_11.trace.json",
    ]  # fmt: skip
    events = json.loads(traces[0].read_text())["traceEvents"]
    assert set(PARTS) <= {event["name"] for event in events}


def test_tensorboard_gets_the_table(tmp_path, data, make_model, make_trainer):
    logger = TensorBoardLogger(tmp_path, name="run", version=0)
    profiler = ComponentProfiler(epochs=[0], steps=1, warmup=1, trace=False)
    make_trainer([profiler], logger=logger).fit(make_model(), data)
    events = EventAccumulator(logger.log_dir, size_guidance={"tensors": 0})
    events.Reload()
    (text,) = events.Tensors("profile/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert "| quantum_layer | photonic |" in table and text.step == 3
    assert {f"profile/{part}_share" for part in PARTS} <= set(events.Tags()["scalars"])
    assert not (tmp_path / "run" / "version_0" / "profile").exists()


def test_hooks_are_there_only_where_a_step_is_measured(data, make_model, make_trainer):
    hooks = Hooks()
    make_trainer([ComponentProfiler(epochs=[1], steps=1, warmup=1), hooks], max_epochs=3).fit(
        make_model(), data
    )
    assert [count > 0 for count in hooks.counts] == [index == 5 for index in range(12)]
    assert hooks.after == [0] * 12


def test_steps_with_hooks_and_without_take_turns(data, make_model, make_trainer):
    hooks = Hooks()
    make_trainer([ComponentProfiler(epochs=[1], steps=2, warmup=0), hooks], max_epochs=3).fit(
        make_model(), data
    )
    assert [index for index, count in enumerate(hooks.counts) if count] == [4, 6]


def test_every_n_steps(tmp_path, data, make_model, make_trainer):
    """With accumulation, a step is two batches; a measurement begins at steps 0, 3, 6."""
    hooks, profiler = Hooks(), ComponentProfiler(every_n_steps=3, steps=1, warmup=0)
    trainer = make_trainer([profiler, hooks], max_epochs=4, accumulate_grad_batches=2)
    trainer.fit(make_model(), data)
    assert trainer.global_step == 8
    assert [index for index, count in enumerate(hooks.counts) if count] == [0, 6, 12]
    assert len(list((tmp_path / "profile").iterdir())) == 3


def test_several_measurements_of_an_epoch_are_averaged(tmp_path, data, make_model, make_trainer):
    logger = CSVLogger(tmp_path, name="run", version=0)
    profiler = ComponentProfiler(every_n_steps=2, steps=1, warmup=0, trace=False)
    make_trainer([profiler], logger=logger).fit(make_model(), data)
    (row,) = [row for row in logged(tmp_path / "run" / "version_0") if row["profile/step_ms"]]
    shares = [float(row[f"profile/{part}_share"]) for part in (*PARTS, "other")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)  # of steps 0 and 2


def test_measured_times_are_those_of_the_parts(data, make_model, make_trainer, tmp_path):
    class Sleepy(SequentialHybrid):
        def build_classical_post(self):
            return nn.Sequential(Slow(), super().build_classical_post())

    make_trainer([ComponentProfiler(steps=1, warmup=1)]).fit(make_model(Sleepy), data)
    (path,) = (tmp_path / "profile").iterdir()
    parts = json.loads(path.read_text())["otherData"]["parts"]
    assert parts["classical_post"]["forward"]["median"] >= 20
    assert parts["classical_post"]["backward"]["median"] >= 30
    assert parts["classical_post"]["share"] > 0.6
    for name in ("classical_pre", "quantum_layer"):
        assert parts[name]["forward"]["median"] + parts[name]["backward"]["median"] < 20


class Slow(nn.Module):
    def forward(self, x):
        return Sleep.apply(x)


class Sleep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        time.sleep(0.02)
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        time.sleep(0.03)
        return grad


class Foreign(LightningModule):
    """No template, and its own loop with two backward passes a step."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.photonic = QuantumLayer(2, 3, experiment=Experiment("series", 4, 2))
        self.classical = nn.Linear(5, 2)

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        for _ in range(2):
            loss = nn.functional.cross_entropy(
                self.photonic(torch.sigmoid(self.classical(batch[0]))), batch[1]
            )
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_any_lightning_module_with_manual_optimization(tmp_path, data, make_trainer):
    make_trainer([ComponentProfiler(steps=1, warmup=0)]).fit(Foreign(), data)
    (path,) = (tmp_path / "profile").iterdir()
    content = json.loads(path.read_text())
    parts = content["otherData"]["parts"]
    # names of components are taken
    assert set(parts) == {"photonic_part", "classical_part", "other"}
    assert [part["calls"] for part in parts.values()] == [2, 2, 0]
    passes = [event["name"] for event in content["traceEvents"] if event.get("cat") == "pass"]
    assert passes == ["forward", "backward", "forward", "backward"]


def test_an_epoch_too_short_is_told(data, make_model, make_trainer):
    with pytest.warns(UserWarning, match="at least warmup \\+ 2 = 5 batches; lower warmup=3"):
        make_trainer([ComponentProfiler()]).fit(make_model(), data)
    with pytest.warns(UserWarning, match=r"max_epochs=1 ends before epochs \[4\]"):
        make_trainer([ComponentProfiler(epochs=[4])]).fit(make_model(), data)


def test_a_model_whose_parts_do_not_run_is_told_and_trains(data, make_model, make_trainer):
    class Copied(SequentialHybrid):
        def forward(self, x):
            return nn.functional.linear(x, self.classical_pre[0].weight[:3])

    profiler = ComponentProfiler(steps=1, warmup=0)
    with pytest.warns(UserWarning, match="measures nothing: none of the parts"):
        trainer = make_trainer([profiler])
        trainer.fit(make_model(Copied, hidden_dim=8), data)
    assert trainer.global_step == 4


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_no_hooks_are_left_after_an_error(error, data, make_model, make_trainer):
    class Failing(SequentialHybrid):
        def loss(self, outputs, targets):
            if self.training:
                raise error
            return super().loss(outputs, targets)

    model, hooks = make_model(Failing), Hooks()
    with pytest.raises((error, SystemExit)):
        make_trainer([ComponentProfiler(warmup=0), hooks]).fit(model, data)
    assert hooks.counts[0] > 0 and hooks._count(model) == 0


def test_fast_dev_run_measures_nothing(tmp_path, data, make_model, make_trainer, recwarn):
    make_trainer([ComponentProfiler()], fast_dev_run=True).fit(make_model(), data)
    assert not (tmp_path / "profile").exists()
    assert not [w for w in recwarn if "ComponentProfiler" in str(w.message)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(epochs=3), TypeError, "epochs must be a list of integers or None, got int 3"),
        (dict(epochs=[-1]), ValueError, "each of epochs must be at least 0"),
        (dict(epochs=[0], every_n_steps=5), ValueError, "give epochs or every_n_steps, got both"),
        (dict(every_n_steps=0), ValueError, "every_n_steps must be at least 1"),
        (dict(steps=0), ValueError, "steps must be at least 1"),
        (dict(warmup=1.5), TypeError, "warmup must be an integer"),
        (dict(trace="yes"), TypeError, "trace must be True or False"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ComponentProfiler(**arguments)
