"""Settings that differ on a resume: the ones given are used, and each difference is said."""

import warnings

import pytest
import torch
from kill_and_resume import differences
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import nn

from hybridlit import ArrayDataModule, ParallelHybrid, SequentialHybrid
from hybridlit.resume.checkpoint_io import DurableCheckpointIO
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.templates.training.schedule import learning_rate_factor


class Rates(Callback):
    """Keeps learning rates and weight decays of each step, by group."""

    def __init__(self):
        self.steps, self.decays = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append([group["lr"] for group in optimizer.param_groups])
        self.decays.append([group["weight_decay"] for group in optimizer.param_groups])


class SaveAt(Callback):
    """Saves at the end of a step, or of the epoch that ends with it."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class Stuck(SequentialHybrid):
    """Its loss never falls."""

    def loss(self, outputs, targets):
        return 0 * super().loss(outputs, targets) + 1


def problem(batch_size=10, **options):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 5, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return ArrayDataModule(x, y, batch_size=batch_size, **options)  # 36 rows: 4 steps an epoch


@pytest.fixture
def run(tmp_path, make_model, make_trainer):
    """Train; return the rates of each step and what was said of other settings."""

    def run(epochs=2, save=None, resume=False, cls=SequentialHybrid, data=None, model=(), **more):
        torch.manual_seed(0)
        seen = Rates()
        network = cls() if cls in (Plain, Milestones) else make_model(cls, **dict(model))
        extra = [*more.pop("callbacks", ()), ExactResume()]
        extra += [] if save is None else [SaveAt(tmp_path / "a.pt", save)]
        trainer = make_trainer(
            [seen, *extra], max_epochs=epochs, plugins=[DurableCheckpointIO()], **more
        )
        path = tmp_path / "a.pt" if resume else None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.fit(network, data or problem(), ckpt_path=path)
        said = [str(w.message) for w in caught if "Resumed with another" in str(w.message)]
        trainer.save_checkpoint(tmp_path / "end.pt")
        return trainer, seen, said

    return run


# name: what was saved, what is given; which rates the steps from 4 on have
CHANGES = {
    "classical_lr": (dict(classical_lr=0.1), dict(classical_lr=0.5), [0.5, 1e-2]),
    "quantum_lr": (dict(quantum_lr=0.1), dict(quantum_lr=0.5), [3e-3, 0.5]),
    "schedule": (
        dict(schedule="constant"),
        dict(schedule="cosine"),
        [[r * learning_rate_factor("cosine", s, 0, 8) for r in (3e-3, 1e-2)] for s in range(4, 8)],
    ),
    "warmup_epochs": (
        dict(warmup_epochs=0.0),
        dict(warmup_epochs=2.0),
        [[r * s / 8 for r in (3e-3, 1e-2)] for s in range(5, 9)],
    ),
    "quantum_schedule": (
        dict(schedule="cosine", quantum_schedule="cosine"),
        dict(schedule="cosine", quantum_schedule="constant"),
        [[3e-3 * learning_rate_factor("cosine", s, 0, 8), 1e-2] for s in range(4, 8)],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rates_and_schedules_are_those_given(name, run):
    before, now, expected = CHANGES[name]
    run(save=4, model=before)
    _, seen, said = run(resume=True, model=now)
    expected = expected if isinstance(expected[0], list) else [expected] * 4
    assert seen.steps == [pytest.approx(rates) for rates in expected]
    assert said == [
        f"Resumed with another {name}: {before[name]!r} in the checkpoint, {now[name]!r} now; "
        f"{now[name]!r} is used."
    ]


def test_weight_decays_are_those_given(run):
    run(save=4, model=dict(weight_decay=0.1, quantum_weight_decay=0.0))
    _, seen, said = run(resume=True, model=dict(weight_decay=0.2, quantum_weight_decay=0.3))
    assert seen.decays == [[0.2, 0.3]] * 4
    assert len(said) == 2 and "weight_decay: 0.1 in the checkpoint, 0.2 now; 0.2 is" in said[0]


@pytest.mark.parametrize("step", [3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "model",
    [
        dict(),
        dict(schedule="cosine", warmup_epochs=0.5),
        dict(schedule="plateau", plateau_patience=0),
        dict(stages=[["classical", 1], ["both", 1]]),
    ],
)
def test_without_a_difference_nothing_is_said_and_nothing_differs(step, model, run, tmp_path):
    run(save=step, model=model, cls=Stuck)
    whole = torch.load(tmp_path / "end.pt", weights_only=True)
    _, _, said = run(resume=True, model=model, cls=Stuck)
    assert said == []
    assert differences(whole, torch.load(tmp_path / "end.pt", weights_only=True)) == []


def test_everything_else_that_differs_is_said(run):
    run(save=4, cls=ParallelHybrid, model=dict(dropout=0.1, stages=[["both", 1]]))
    _, _, said = run(
        resume=True,
        cls=ParallelHybrid,
        model=dict(dropout=0.2, stages=[["both", 1], ["classical", 1]]),
        data=problem(6, seed=1, val_fraction=0.1),
        accumulate_grad_batches=2,
        gradient_clip_val=0.5,
        check_val_every_n_epoch=2,
    )
    names = [line.removeprefix("Resumed with another ").split(":")[0] for line in said]
    assert sorted(names) == [
        "accumulate_grad_batches",
        "batch_size",
        "check_val_every_n_epoch",
        "dropout",
        "gradient_clip_val",
        "number of training rows",
        "seed of the data",
        "stages",
    ]
    assert any("batch_size: 10 in the checkpoint, 6 now; 6 is used." in line for line in said)


def test_stages_are_those_given(run):
    class Trained(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            grown = [g["name"] for g in optimizer.param_groups if g["params"][0].grad is not None]
            components.append(grown)

    components = []
    run(save=4, model=dict(stages=[["both", 1], ["both", 1]]))
    run(resume=True, model=dict(stages=[["both", 1], ["photonic", 1]]), callbacks=[Trained()])
    assert components == [["photonic"]] * 4


def test_a_plateau_keeps_its_reductions_unless_the_rate_is_another(run):
    model = dict(
        schedule="plateau", plateau_patience=0, plateau_factor=0.5, classical_lr=0.8, quantum_lr=0.4
    )
    run(save=12, epochs=3, model=model, cls=Stuck)  # epochs at 0.8, 0.8, 0.4
    _, seen, said = run(epochs=4, resume=True, model=model, cls=Stuck)
    assert seen.steps == [[0.2, 0.1]] * 4 and said == []
    other = model | dict(classical_lr=0.6, plateau_factor=0.1)
    _, seen, said = run(epochs=5, resume=True, model=other, cls=Stuck)
    assert seen.steps[:4] == [[0.6, 0.1]] * 4 and len(said) == 2
    assert seen.steps[4:] == [pytest.approx([0.06, 0.01])] * 4


def test_a_finished_cosine_goes_on_at_a_constant_rate(run):
    run(save=8, model=dict(schedule="cosine"))
    _, seen, said = run(epochs=3, resume=True, model=dict(schedule="constant"))
    assert seen.steps == [[3e-3, 1e-2]] * 4 and len(said) == 1


@pytest.mark.parametrize("step", [3, 4, 8])
def test_a_cosine_of_a_longer_run_ends_with_that(step, run):
    run(save=step, model=dict(schedule="cosine"))
    trainer, seen, said = run(epochs=4, resume=True, model=dict(schedule="cosine"))
    expected = [3e-3 * learning_rate_factor("cosine", s, 0, 16) for s in range(step, 16)]
    assert [rates[0] for rates in seen.steps] == pytest.approx(expected)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0
    assert len(said) == 1 and "was to end at step 8 and ends at step 16 now" in said[0]


def test_a_cosine_ends_with_a_run_that_goes_on_with_other_batches(run):
    run(save=4, epochs=3, model=dict(schedule="cosine", warmup_epochs=0.5))
    trainer, seen, said = run(
        epochs=3, resume=True, model=dict(schedule="cosine", warmup_epochs=0.5), data=problem(6)
    )
    assert trainer.global_step == 4 + 12 and len(seen.steps) == 12
    expected = [3e-3 * learning_rate_factor("cosine", s, 2, 16) for s in range(4, 16)]
    assert [rates[0] for rates in seen.steps] == pytest.approx(expected)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0 and len(said) == 2


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (dict(batch_size=9), "batch_size"),
        (dict(batch_size=6), "batch_size"),
        (dict(seed=1), "seed"),
        (dict(val_fraction=0.1), "rows"),
    ],
)
def test_other_batches_amid_an_epoch_are_refused(changes, name, run):
    run(save=3)
    message = rf"amid an epoch, with {name}=\d+, and this run has {name}=\d+: .*at the end of an"
    with pytest.raises(ValueError, match=message):
        run(resume=True, data=problem(**changes))


def test_a_second_fit_of_a_trainer_goes_on_in_the_schedule(make_model, make_trainer):
    seen = Rates()
    trainer, model, data = (
        make_trainer([seen], max_epochs=1),
        make_model(schedule="cosine"),
        problem(),
    )
    trainer.fit(model, data)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(model, data)
    expected = [3e-3 * learning_rate_factor("cosine", s, 0, 12) for s in range(4, 12)]
    assert [rates[0] for rates in seen.steps[4:]] == pytest.approx(expected)


def test_a_cosine_ends_at_zero_with_accumulation_by_epoch(run):
    scheduling = {0: 4, 2: 1, 3: 2}
    trainer, seen, _ = run(
        epochs=5,
        model=dict(schedule="cosine", warmup_epochs=2.5, classical_lr=1.0),
        callbacks=[GradientAccumulationScheduler(dict(scheduling))],
    )
    assert trainer.global_step == 1 + 1 + 4 + 2 + 2
    expected = [learning_rate_factor("cosine", s, 4, 10) for s in range(10)]
    assert [rates[0] for rates in seen.steps] == pytest.approx(expected)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0


# --- changed after construction -------------------------------------------------------------------


def test_a_setting_changed_after_construction_is_used_and_recorded(
    tmp_path, make_model, make_trainer, data
):
    seen = Rates()
    model = make_model(classical_lr=0.1)
    model.hparams.classical_lr = 0.5
    model.hparams["weight_decay"] = 0.3
    trainer = make_trainer([seen])
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert {rates[0] for rates in seen.steps} == {0.5} and seen.decays[0][0] == 0.3
    kept = torch.load(tmp_path / "a.ckpt", weights_only=True)["hyper_parameters"]
    assert kept["classical_lr"] == 0.5
    loaded = SequentialHybrid.load_from_checkpoint(tmp_path / "a.ckpt")
    assert loaded.hparams["classical_lr"] == 0.5 and loaded.hparams["weight_decay"] == 0.3
    assert model.hparams_initial["classical_lr"] == 0.5  # what loggers write
    other = SequentialHybrid.load_from_checkpoint(tmp_path / "a.ckpt", weight_decay=0.4)
    assert other.hparams["weight_decay"] == 0.4


def test_a_setting_that_a_subclass_fixes_is_recorded_as_well(tmp_path, make_trainer, data):
    class Fixed(SequentialHybrid):
        def __init__(self):
            super().__init__(
                input_dim=5, output_dim=3, quantum_dim=2, n_modes=4, n_photons=2, classical_lr=0.1
            )

    model = Fixed()
    model.hparams.classical_lr = 0.5
    trainer = make_trainer()
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert Fixed.load_from_checkpoint(tmp_path / "a.ckpt").hparams["classical_lr"] == 0.5


def test_a_setting_changed_amid_the_run_is_taken_up_with_the_next_epoch(run, tmp_path):
    class Change(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            pl_module.hparams.classical_lr = 0.5

    _, seen, _ = run(model=dict(classical_lr=0.1, schedule="plateau"), callbacks=[Change()])
    assert [rates[0] for rates in seen.steps] == [0.1] * 4 + [0.5] * 4
    loaded = SequentialHybrid.load_from_checkpoint(tmp_path / "end.pt")
    assert loaded.hparams["classical_lr"] == 0.5


def test_bad_settings_are_refused_at_the_start_of_a_fit(make_model, make_trainer, data):
    model = make_model()
    model.hparams.quantum_lr = -1.0
    with pytest.raises(ValueError, match=r"quantum_lr must be above 0 .*, got -1\.0"):
        make_trainer().fit(model, data)


# --- other optimizers -----------------------------------------------------------------------------


class Plain(LightningModule):
    """No template."""

    rate = 0.1

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(5, 3)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=self.rate / 10)


class Milestones(Plain):
    """Its scheduler lowers the rate."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


@pytest.mark.parametrize("cls", [Plain, Milestones])
def test_of_other_modules_the_optimizer_is_that_of_the_checkpoint(cls, run, monkeypatch):
    run(save=4, cls=cls)
    _, _, said = run(resume=True, cls=cls)
    assert said == []
    monkeypatch.setattr(Plain, "rate", 0.5)
    _, seen, said = run(resume=True, cls=cls)
    assert {rates[0] for rates in seen.steps} == {0.1 if cls is Plain else 0.05}
    decay = "weight_decay of optimizer group 0: 0.01 in the checkpoint, 0.05 now; 0.01 is used"
    assert any(decay in line for line in said)
    assert any(line.startswith("Resumed with another lr") for line in said) == (cls is Plain)


def test_an_optimizer_of_ones_own_in_a_template(run):
    class Own(SequentialHybrid):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.hparams["classical_lr"])

    run(save=4, cls=Own, model=dict(classical_lr=0.1))
    _, seen, said = run(resume=True, cls=Own, model=dict(classical_lr=0.5))
    assert {rates[0] for rates in seen.steps} == {0.1} and len(said) == 2
    assert "the optimizer is that of the checkpoint" in said[0]


def test_without_our_other_callbacks_settings_are_taken_up_too(
    tmp_path, make_model, make_trainer, data
):
    first = make_trainer([SaveAt(tmp_path / "a.pt", 4)])
    first.fit(make_model(classical_lr=0.1), data)
    seen = Rates()
    with pytest.warns(UserWarning, match="another classical_lr: 0.1 in the checkpoint, 0.5 now"):
        make_trainer([seen], max_epochs=2).fit(
            make_model(classical_lr=0.5), data, ckpt_path=tmp_path / "a.pt"
        )
    assert {rates[0] for rates in seen.steps} == {0.5}
