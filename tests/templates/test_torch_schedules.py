"""Schedulers of torch by class path: one for each group, around the rate of its component."""

import itertools

import pytest
import torch
from kill_and_resume import differences
from lightning.pytorch import Callback
from torch import nn
from torch.optim import lr_scheduler

from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.templates.training.optimizer_choice import OptimizerChoice
from hybridlit.templates.training.run_length import RunLength
from hybridlit.templates.training.torch_schedules import TorchSchedule

MODULE = "torch.optim.lr_scheduler"
SGD = "torch.optim.SGD"
RATES = dict(classical_lr=0.1, quantum_lr=0.02)
RATES_OF = {"classical": 0.1, "photonic": 0.02}


def named(name, interval=None, **arguments):
    given = {"class_path": f"{MODULE}.{name}", "init_args": arguments}
    return given | ({} if interval is None else {"interval": interval})


class Groups(Callback):
    """Keeps the groups of the optimizer at each step, without their parameters."""

    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append(
            {
                group["name"]: {n: v for n, v in group.items() if n != "params"}
                for group in optimizer.param_groups
            }
        )

    def rates(self, component):
        return [step[component]["lr"] for step in self.steps]


def reference(kind, rate, optimizer=torch.optim.AdamW, **arguments):
    """Yield (learning rate, momentum) by step of torch's own scheduler on one parameter."""
    used = optimizer([nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = kind(used, **arguments)
    while True:
        group = used.param_groups[0]
        yield group["lr"], group.get("momentum", group.get("betas"))
        used.step()
        scheduler.step()


CASES = {  # what is given, torch's class and its arguments for a rate, steps for each of its own
    "one-cycle": (
        named("OneCycleLR", pct_start=0.25),
        lambda rate: reference(
            lr_scheduler.OneCycleLR, rate, max_lr=rate, total_steps=12, pct_start=0.25
        ),
        1,
    ),
    "warm-restarts": (
        named("CosineAnnealingWarmRestarts", "step", T_0=3, T_mult=2, eta_min=0.001),
        lambda rate: reference(
            lr_scheduler.CosineAnnealingWarmRestarts, rate, T_0=3, T_mult=2, eta_min=0.001
        ),
        1,
    ),
    "exponential": (
        named("ExponentialLR", gamma=0.5),
        lambda rate: reference(lr_scheduler.ExponentialLR, rate, gamma=0.5),
        4,
    ),
    "annealing": (
        named("CosineAnnealingLR"),
        lambda rate: reference(lr_scheduler.CosineAnnealingLR, rate, T_max=3),
        4,
    ),
    "cyclic": (
        named("CyclicLR", base_lr=0.001, step_size_up=3),
        lambda rate: reference(
            lr_scheduler.CyclicLR, rate, base_lr=0.001, max_lr=rate, step_size_up=3
        ),
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_both_rates_are_as_torchs_own_scheduler_sets_them(name, make_model, make_trainer, data):
    given, wanted, steps = CASES[name]
    seen = Groups()
    make_trainer([seen], max_epochs=3).fit(make_model(schedule=given, **RATES), data)
    assert len(seen.steps) == 12  # 4 an epoch
    for component, rate in (("classical", 0.1), ("photonic", 0.02)):
        expected = [
            values for values in itertools.islice(wanted(rate), 12 // steps) for _ in range(steps)
        ]
        assert seen.rates(component) == pytest.approx([each for each, _ in expected], rel=1e-12)
        betas = [step[component]["betas"] for step in seen.steps]
        torch.testing.assert_close(betas, [each for _, each in expected])  # cycled with the rate
    assert len(set(seen.rates("classical"))) > 2


def test_momenta_are_cycled_where_the_scheduler_cycles_them(make_model, make_trainer, data):
    seen = Groups()
    optimizer = {"class_path": SGD, "init_args": {"momentum": 0.5}}
    model = make_model(
        optimizer=optimizer, schedule=named("OneCycleLR"), quantum_schedule="cosine", **RATES
    )
    make_trainer([seen], max_epochs=3).fit(model, data)
    wanted = reference(lr_scheduler.OneCycleLR, 0.1, torch.optim.SGD, max_lr=0.1, total_steps=12)
    expected = [momentum for _, momentum in itertools.islice(wanted, 12)]
    assert [step["classical"]["momentum"] for step in seen.steps] == pytest.approx(expected)
    assert {step["photonic"]["momentum"] for step in seen.steps} == {0.5}


def test_each_group_may_have_its_own_and_a_warm_up(make_model, make_trainer, data):
    seen = Groups()
    model = make_model(
        schedule="constant",
        quantum_schedule=named("StepLR", step_size=2, gamma=0.1),
        quantum_warmup_epochs=0.5,
        **RATES,
    )
    make_trainer([seen], max_epochs=3).fit(model, data)
    assert set(seen.rates("classical")) == {0.1}
    assert seen.rates("photonic") == pytest.approx([0.01] + [0.02] * 7 + [0.002] * 4)


def test_epochs_are_counted_with_accumulated_batches(make_model, make_trainer, data):
    """Three batches a step: of four there are two steps in an epoch."""
    seen = Groups()
    model = make_model(schedule=named("ExponentialLR", gamma=0.5), **RATES)
    make_trainer([seen], max_epochs=3, accumulate_grad_batches=3).fit(model, data)
    assert seen.rates("classical") == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("one-cycle", {"class_path": SGD, "init_args": {"momentum": 0.9}}),
        pytest.param("one-cycle", None, marks=pytest.mark.slow),
        pytest.param("exponential", None, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_is_the_same_bit_for_bit(
    name, optimizer, tmp_path, make_model, make_trainer, data
):
    def run(folder, path=None):
        torch.manual_seed(0)
        # a head that is still learning, so that the best checkpoint is the newest
        model = make_model(schedule=CASES[name][0], optimizer=optimizer, head_dim=6, **RATES)
        kept = HybridCheckpoint(dirpath=str(folder), every_n_steps=2, keep=99)
        trainer = make_trainer([ExactResume(), kept], max_epochs=3, enable_checkpointing=True)
        trainer.fit(model, data, ckpt_path=path)
        trainer.save_checkpoint(folder / "end.pt")
        return torch.load(folder / "end.pt", weights_only=True)

    whole = run(tmp_path / "whole")
    for step in (4, 6):
        resumed = run(tmp_path / f"{step}", tmp_path / "whole" / f"step{step:08d}.ckpt")
        assert not differences(whole, resumed), step


def test_a_longer_run_goes_on_where_its_cycle_would_be(tmp_path, make_model, make_trainer, data):
    def run(epochs, path=None):
        seen = Groups()
        trainer = make_trainer([seen], max_epochs=epochs)
        trainer.fit(make_model(schedule=named("OneCycleLR"), **RATES), data, ckpt_path=path)
        return trainer, seen.steps

    trainer, _ = run(2)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.warns(UserWarning, match="length of the run: the OneCycleLR was to end at step 8"):
        _, resumed = run(4, tmp_path / "a.ckpt")
    for one, other in zip(resumed, run(4)[1][8:], strict=True):
        for component, group in one.items():
            for name in ("lr", "betas"):  # which are cycled, too
                torch.testing.assert_close(group[name], other[component][name])


def test_another_scheduler_is_taken_up(tmp_path, make_model, make_trainer, data):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(make_model(schedule=named("ExponentialLR", gamma=0.5), **RATES), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    seen = Groups()
    model = make_model(schedule=named("ExponentialLR", gamma=0.1), **RATES)
    with pytest.warns(UserWarning, match=r"another schedule: .*0\.5.* now; .*0\.1.* is used"):
        make_trainer([seen], max_epochs=2).fit(model, data, ckpt_path=tmp_path / "a.ckpt")
    assert seen.rates("classical") == pytest.approx([0.01] * 4)


@pytest.mark.parametrize("name", ["momentum", "betas"])
def test_momenta_are_those_given_where_the_next_schedule_leaves_them(
    name, tmp_path, make_model, make_trainer, data
):
    optimizer = {"class_path": SGD, "init_args": {"momentum": 0.5}} if name == "momentum" else None
    cycling = make_model(optimizer=optimizer, schedule=named("OneCycleLR"), **RATES)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(cycling, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert trainer.optimizers[0].param_groups[0][name] not in (0.5, (0.9, 0.999))
    for schedule in ("constant", named("ExponentialLR", gamma=0.5)):
        seen, model = Groups(), make_model(optimizer=optimizer, schedule=schedule, **RATES)
        with pytest.warns(UserWarning, match="another schedule"):
            make_trainer([seen], max_epochs=3).fit(model, data, ckpt_path=tmp_path / "a.ckpt")
        wanted = 0.5 if name == "momentum" else (0.9, 0.999)
        for component in RATES_OF:
            assert [step[component][name] for step in seen.steps] == [wanted] * 4


def test_rates_stay_at_the_end_behind_it():
    adamw, length = OptimizerChoice.of(None, "optimizer"), RunLength(6, lambda epochs: 3 * epochs)
    one = TorchSchedule(named("OneCycleLR", pct_start=0.5), "schedule", adamw, 0.1, length)
    assert one(6) == one(7) == one(100) and one(0) == pytest.approx(1 / 25)
    assert max(one(step) for step in range(7)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (named("ReduceLROnPlateau"), ValueError, "schedule must be 'plateau' for what ReduceLROnP"),
        (named("OneCycleLR", max_lr=1.0), ValueError, "must leave max_lr out of its init_args"),
        (named("CyclicLR", base_lr=0.5), ValueError, r"must rise from base_lr to the learning r"),
        (named("ExponentialLR"), ValueError, "init_args that ExponentialLR takes, .*'gamma'"),
        (named("StepLR", step_size=1, speed=2), ValueError, "StepLR takes, .*'speed'"),
        (
            named("StepLR", "day", step_size=1),
            ValueError,
            r"interval of \w*schedule must be",
        ),
        ({"class_path": SGD}, ValueError, "schedule must name a class of schedulers, such as"),
        ({"class_path": f"{MODULE}.Onecycle"}, ValueError, "schedule must name what can be"),
        ({"gamma": 0.5}, TypeError, "schedule must hold a class_path"),
        ("OneCycleLR", ValueError, "schedule must be one of"),
    ],
)
@pytest.mark.parametrize("group", ["", "quantum_"])
def test_bad_schedules(given, error, message, group, make_model):
    with pytest.raises(error, match=message):
        make_model(**{f"{group}schedule": given})


def test_a_scheduler_that_ends_before_the_run_is_refused(make_model, make_trainer, data):
    model = make_model(schedule=named("OneCycleLR", total_steps=5))
    with pytest.raises(ValueError, match="must not end before the run, got OneCycleLR with 5 step"):
        make_trainer(max_epochs=2).fit(model, data)
