"""Optimizer groups and learning rates of a template."""

import csv
import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, IterableDataset

from hybridlit.components import split_parameters
from hybridlit.templates import HybridModule, SequentialHybrid
from hybridlit.templates.training.schedule import GroupSchedules, learning_rate_factor


class Rates(Callback):
    """Records the learning rates that each step uses."""

    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append([group["lr"] for group in optimizer.param_groups])


def test_groups_follow_the_components(make_model):
    model = make_model(
        classical_lr=1e-2, quantum_lr=1e-4, weight_decay=0.1, quantum_weight_decay=0.2
    )
    groups = {group["name"]: group for group in model.configure_optimizers().param_groups}
    assert list(groups) == ["classical", "photonic"]
    for name, parameters in split_parameters(model).items():
        assert {id(p) for p in groups[name]["params"]} == {id(p) for p in parameters.values()}
    assert groups["classical"]["lr"] == 1e-2 and groups["photonic"]["lr"] == 1e-4
    assert groups["classical"]["weight_decay"] == 0.1
    assert groups["photonic"]["weight_decay"] == 0.2
    assert id(model.quantum_layer.readout.weight) in {id(p) for p in groups["classical"]["params"]}


def test_weight_decay_is_classical_unless_asked_for(make_model):
    groups = make_model(weight_decay=0.1).configure_optimizers().param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


@pytest.mark.parametrize("absent", ["classical", "photonic"])
def test_a_component_with_nothing_to_train_has_no_group(absent, make_model):
    model = make_model()
    for parameter in split_parameters(model)[absent].values():
        parameter.requires_grad_(False)
    (group,) = model.configure_optimizers().param_groups
    assert group["name"] != absent


def test_a_frozen_model_is_refused(make_model):
    with pytest.raises(ValueError, match="no trainable parameters"):
        make_model().requires_grad_(False).configure_optimizers()


def test_a_reservoir_trains_classically(data, make_model, make_trainer):
    model = make_model(reservoir_mode=True, use_bandwidth_tuning=False)
    phases = model.quantum_layer.phases.clone()
    make_trainer().fit(model, data)
    (group,) = model.configure_optimizers().param_groups
    assert group["name"] == "classical"
    assert torch.equal(model.quantum_layer.phases, phases)


def test_rates_warm_up_and_fall_per_group(data, make_model, make_trainer):
    rates = Rates()
    model = make_model(
        classical_lr=1.0e-2,
        quantum_lr=1.0e-3,
        schedule="cosine",
        warmup_epochs=0.5,
        quantum_schedule="constant",
        quantum_warmup_epochs=1,
    )
    make_trainer(max_epochs=2, callbacks=[rates]).fit(model, data)
    steps = 8  # 36 rows in batches of 10, twice
    assert len(rates.steps) == steps
    classical = [1e-2 * learning_rate_factor("cosine", s, 2, steps) for s in range(steps)]
    photonic = [1e-3 * min(1, (s + 1) / 4) for s in range(steps)]
    assert [step[0] for step in rates.steps] == pytest.approx(classical)
    assert [step[1] for step in rates.steps] == pytest.approx(photonic)


def test_accumulated_batches_count_as_one_step(data, make_model, make_trainer):
    rates = Rates()
    trainer = make_trainer(max_epochs=3, accumulate_grad_batches=2, callbacks=[rates])
    trainer.fit(make_model(schedule="cosine", warmup_epochs=1, classical_lr=1.0), data)
    expected = [learning_rate_factor("cosine", s, 2, 6) for s in range(6)]
    assert [step[0] for step in rates.steps] == pytest.approx(expected)


def test_a_schedule_longer_than_the_run_is_no_error(data, make_model, make_trainer):
    trainer = make_trainer(fast_dev_run=True)
    trainer.fit(make_model(schedule="cosine", warmup_epochs=5), data)
    assert trainer.global_step == 1


class Stream(IterableDataset):
    def __iter__(self):
        for i in range(4):
            yield torch.randn(5), i % 3


@pytest.mark.parametrize("options", [dict(schedule="cosine"), dict(warmup_epochs=1)])
def test_a_schedule_needs_a_known_length(options, make_model, make_trainer):
    with pytest.raises(ValueError, match="need a run of known length"):
        make_trainer(max_epochs=1).fit(make_model(**options), DataLoader(Stream(), batch_size=2))


def test_a_constant_rate_does_not(make_model, make_trainer):
    trainer = make_trainer()
    trainer.fit(make_model(), DataLoader(Stream(), batch_size=2))
    assert trainer.global_step == 2


@pytest.mark.parametrize("epochs", [None, -1, 5])
def test_the_length_may_be_given_in_steps(epochs, data, make_model, make_trainer):
    rates = Rates()
    model = make_model(schedule="cosine", warmup_epochs=0.5, classical_lr=1.0)
    make_trainer(max_epochs=epochs, max_steps=7, callbacks=[rates]).fit(model, data)
    expected = [learning_rate_factor("cosine", s, 2, 7) for s in range(7)]  # 4 steps an epoch
    assert [step[0] for step in rates.steps] == pytest.approx(expected)


def test_the_epoch_of_batch_statistics_after_averaging_is_none_of_the_schedule(
    data, make_model, make_trainer
):
    """Lightning adds an epoch without steps if there is batch normalization."""

    class Normalized(SequentialHybrid):
        def __init__(self, **options):
            super().__init__(**options)
            self.batch_norm = nn.BatchNorm1d(5)

        def forward(self, x):
            return super().forward(self.batch_norm(x))

    rates, averaging = Rates(), StochasticWeightAveraging(swa_lrs=0.5, swa_epoch_start=3)
    model = make_model(Normalized, schedule="cosine", classical_lr=1.0)
    make_trainer(max_epochs=4, callbacks=[rates, averaging]).fit(model, data)
    expected = [learning_rate_factor("cosine", s, 0, 16) for s in range(8)]  # two epochs of four
    assert [step[0] for step in rates.steps[:8]] == pytest.approx(expected)


class Stuck(SequentialHybrid):
    """A model whose losses stay where they are."""

    def loss(self, outputs, targets):
        return 0 * super().loss(outputs, targets) + 1


def test_rates_fall_at_plateaus_as_in_torch():
    generator = torch.Generator().manual_seed(1)
    losses = [1 / (1 + n // 3) + 0.2 * torch.rand((), generator=generator) for n in range(40)]
    losses[20] = torch.tensor(math.nan)
    losses += [torch.tensor(0.05 - 1e-6 * n) for n in range(6)]  # too little to be improvements
    own, torchs = (torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0) for _ in range(2))
    schedule = GroupSchedules(own, [lambda step: 1.0], [True], patience=2, reduction=0.5)
    reference = ReduceLROnPlateau(torchs, patience=2, factor=0.5)
    rates = []
    for loss in losses:
        own.step()
        schedule.step()
        schedule.observe(loss.item())
        torchs.step()
        reference.step(loss)
        rates.append(own.param_groups[0]["lr"])
        assert rates[-1] == torchs.param_groups[0]["lr"]
    assert rates[0] == 1 and 0 < rates[-1] < 0.1


def test_losses_below_zero_that_hardly_move_are_a_plateau_too():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = GroupSchedules(optimizer, [lambda step: 1.0], [True], patience=1, reduction=0.5)
    rates = []
    for loss in (-1.0, -0.99995, -1.00005, -0.5, -2.0):
        schedule.observe(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5]
    assert schedule.best == -2.0


def test_a_plateau_goes_with_warm_up_and_spares_the_other_group(data, make_model, make_trainer):
    rates = Rates()
    model = make_model(
        Stuck,
        classical_lr=1.0,
        quantum_lr=1e-3,
        schedule="plateau",
        quantum_schedule="constant",
        warmup_epochs=0.5,
        quantum_warmup_epochs=0,
        plateau_patience=1,
        plateau_factor=0.1,
    )
    make_trainer(max_epochs=6, callbacks=[rates]).fit(model, data)
    classical, photonic = zip(*rates.steps, strict=True)
    # the first validation sets the best loss, one more is tolerated, the third lowers the rate
    by_epoch = [1, 1, 1, 0.1, 0.1, 0.01]
    expected = [rate for rate in by_epoch for _ in range(4)]
    assert classical == pytest.approx([0.5, *expected[1:]])
    assert set(photonic) == {1e-3}


def test_both_groups_fall_together_and_are_logged(tmp_path, data, make_model, make_trainer):
    logger = CSVLogger(tmp_path, name="run")
    model = make_model(Stuck, schedule="plateau", plateau_patience=0, plateau_factor=0.5)
    monitor = LearningRateMonitor("epoch")
    make_trainer(max_epochs=3, logger=logger, callbacks=[monitor]).fit(model, data)
    with open(logger.experiment.metrics_file_path) as file:
        rows = [row for row in csv.DictReader(file) if row["lr-AdamW/classical"]]
    logged = {name: [float(row[name]) for row in rows] for name in rows[0] if "lr" in name}
    assert logged["lr-AdamW/classical"] == pytest.approx([3e-3, 3e-3, 1.5e-3])
    assert logged["lr-AdamW/photonic"] == pytest.approx([1e-2, 1e-2, 5e-3])


@pytest.mark.slow
@pytest.mark.parametrize("last", [0, 1, 2, 3])
def test_a_resumed_run_remembers_the_plateau(last, tmp_path, data, make_model, make_trainer):
    def rates(path=None, **options):
        seen = Rates()
        model = make_model(Stuck, schedule="plateau", plateau_patience=1, quantum_schedule="cosine")
        kept = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}", **options)
        trainer = make_trainer(max_epochs=5, enable_checkpointing=True, callbacks=[seen, kept])
        trainer.fit(model, data, ckpt_path=path)
        return seen.steps

    whole = rates(monitor="val/loss")  # written at the end of validation
    resumed = rates(tmp_path / f"epoch={last}.ckpt", every_n_epochs=9)
    assert resumed == whole[4 * (last + 1) :]


def test_a_plateau_needs_no_known_length(make_model, make_trainer):
    trainer = make_trainer()
    loader = DataLoader(Stream(), batch_size=2)
    trainer.fit(make_model(schedule="plateau"), loader, loader)
    assert trainer.global_step == 2


def test_a_plateau_without_validation_is_refused(data, make_model, make_trainer):
    for trainer, loaders in [
        (make_trainer(limit_val_batches=0), dict(datamodule=data)),
        (make_trainer(), dict(train_dataloaders=DataLoader(Stream(), batch_size=2))),
        (make_trainer(), dict(train_dataloaders=DataLoader(Stream()), val_dataloaders=[])),
    ]:
        with pytest.raises(ValueError, match="follows val/loss and this run has no validation"):
            trainer.fit(make_model(quantum_schedule="plateau"), **loaders)


class Renamed(SequentialHybrid):
    """Logs its validation loss under another name."""

    def validation_step(self, batch, batch_idx):
        inputs, targets = self.unpack(batch)
        self.log("val_loss", self.loss(self(inputs), targets))


@pytest.mark.parametrize("group", ["schedule", "quantum_schedule"])
def test_a_plateau_without_its_value_is_refused(group, data, make_model, make_trainer):
    model = make_model(Renamed, **{group: "plateau"})
    with pytest.raises(ValueError, match=r"follows 'val/loss', which was not logged.*'val_loss'"):
        make_trainer(max_epochs=3).fit(model, data)


def test_a_plateau_is_refused_where_nothing_is_logged(data, make_model, tmp_path):
    trainer = Trainer(barebones=True, max_epochs=1, accelerator="cpu", default_root_dir=tmp_path)
    with pytest.raises(ValueError, match=r"barebones=True\) logs nothing: leave barebones out"):
        trainer.fit(make_model(schedule="plateau"), data)


def test_a_plateau_is_refused_where_a_callback_replaces_schedules(data, make_model, make_trainer):
    averaging = StochasticWeightAveraging(swa_lrs=1e-2)
    with pytest.raises(ValueError, match="StochasticWeightAveraging both set the learning rates"):
        make_trainer([averaging], max_epochs=5).fit(make_model(schedule="plateau"), data)

    class Replaces(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            trainer.lr_scheduler_configs.clear()

    with pytest.raises(ValueError, match="or a callback has put others in their place"):
        make_trainer([Replaces()], max_epochs=5).fit(make_model(schedule="plateau"), data)


def test_a_plateau_of_torchs_own_without_its_value_is_an_error(data, make_model, make_trainer):
    class Own(Renamed):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            scheduler = {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "val/loss"}
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    with pytest.raises(MisconfigurationException, match="val/loss which is not available"):
        make_trainer().fit(make_model(Own), data)


def test_validation_apart_from_a_run_is_not_observed(data, make_model, make_trainer):
    model, trainer = make_model(Stuck, schedule="plateau"), make_trainer()
    trainer.fit(model, data)
    schedules = trainer.lr_scheduler_configs[0].scheduler
    trainer.validate(model, data, verbose=False)
    assert schedules.best == 1 and schedules.waited == 0


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
@pytest.mark.parametrize("warmup", [0, 0.5, 3])
def test_factors_stay_in_range(schedule, warmup):
    factors = [learning_rate_factor(schedule, s, warmup, 10) for s in range(12)]
    assert all(0 <= f <= 1 for f in factors) and factors[0] > 0
    assert max(factors) == 1
    assert math.isclose(factors[10], 0.0 if schedule == "cosine" else 1.0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(classical_lr=0.0), ValueError, "classical_lr must be above 0 .* got 0.0"),
        (dict(quantum_lr=-1.0), ValueError, "quantum_lr must be above 0"),
        (dict(quantum_lr=math.nan), ValueError, "quantum_lr must be above 0 .* got nan"),
        (dict(classical_lr="fast"), TypeError, "classical_lr must be a number, got str 'fast'"),
        (dict(weight_decay=-0.1), ValueError, "weight_decay must be at least 0"),
        (dict(quantum_weight_decay=-1), ValueError, "quantum_weight_decay must be at least 0"),
        (dict(plateau_patience=-1), ValueError, "plateau_patience must be at least 0"),
        (dict(plateau_patience=1.5), TypeError, "plateau_patience must be an integer"),
        (dict(plateau_factor=1.0), ValueError, "plateau_factor must be above 0 and below 1"),
        (dict(schedule=None), TypeError, "schedule must be one of"),
        (dict(schedule="step"), ValueError, "schedule must be one of .* got 'step'"),
        (dict(quantum_schedule="step"), ValueError, "quantum_schedule must be one of"),
        (dict(warmup_epochs=-1), ValueError, "warmup_epochs must be at least 0"),
        (dict(quantum_warmup_epochs=math.inf), ValueError, "quantum_warmup_epochs"),
        (dict(output_dim=0), ValueError, "output_dim must be at least 1"),
        (dict(output_dim=2.0), TypeError, "output_dim must be an integer"),
        (
            dict(speed=1),
            TypeError,
            r"SequentialHybrid has no argument 'speed'.*help\(HybridModule\)",
        ),
    ],
)
def test_bad_arguments(changes, error, message, make_model):
    with pytest.raises(error, match=message):
        make_model(**changes)


def test_a_user_may_bring_another_optimizer(data, make_model, make_trainer):
    class Plain(SequentialHybrid):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = make_trainer()
    trainer.fit(make_model(Plain), data)
    assert isinstance(trainer.optimizers[0], torch.optim.SGD)


def test_a_model_from_scratch_needs_forward_only(data, make_trainer):
    class Linear(HybridModule):
        def __init__(self, width=5):
            super().__init__(output_dim=3, classical_lr=0.1)
            self.net = nn.Linear(width, 3)

        def forward(self, x):
            return self.net(x)

    trainer = make_trainer(max_epochs=20)
    trainer.fit(Linear(), data)
    assert trainer.callback_metrics["train/acc"] > 0.6
