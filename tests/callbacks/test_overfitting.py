"""The gap is measured, the part that overfits is named, and training is none the wiser."""

import math
import random
import re
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision
from overfitting_ranks import RanksAgree
from torch import nn
from torch.utils.data import DataLoader

from hybridlit import (
    ArrayDataModule,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    SklearnDataModule,
)
from hybridlit.analysis.loss_change import intervention
from hybridlit.analysis.loss_change.owners import OWNERS
from hybridlit.callbacks import overfitting
from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.templates.training.stages import StagedTraining

PARTS = ["classical_path", "quantum_path", "fusion"]


class History(Callback):
    """What was logged by the end of every validation."""

    def __init__(self):
        self.rows = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            metrics = trainer.callback_metrics.items()
            self.rows.append({k: v.item() for k, v in metrics if k.startswith("overfit/")})


def noise(seed, rows=40, features=6):
    """Labels that have nothing to do with the features: whatever is learned is memorized."""
    generator = torch.Generator().manual_seed(seed + 100)
    x = torch.randn(rows + 200, features, generator=generator)
    y = torch.randint(2, (rows + 200,), generator=generator)
    return ArrayDataModule(
        x[:rows],
        y[:rows],
        val=(x[rows:], y[rows:]),
        test_fraction=0.0,
        batch_size=200,
        scaling=None,
    )


def wide_classical():
    """270 thousand weights beside 4 modes and 2 photons."""
    return ParallelHybrid(
        6,
        2,
        hidden_dims=[512, 512, 8],
        circuit_type="series",
        n_modes=4,
        n_photons=2,
        quantum_output_dim=4,
    )


def large_photonic():
    """9 interferometers, 8 features each re-uploaded, 330 outcomes, beside 2 hidden units."""
    return ParallelHybrid(
        8,
        2,
        hidden_dims=[2],
        circuit_type="parallel_columns",
        n_modes=8,
        n_photons=4,
        quantum_output_dim=32,
        quantum_lr=3e-2,
        fusion_dim=4,
    )


def digits():
    return SequentialHybrid(
        64,
        7,
        10,
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


def learnable(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1500, 6, generator=generator)
    return ArrayDataModule(x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).long(), batch_size=64)


def named_in(trainer, model, data):
    """Fit, and return who was named in the warnings, in order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, data)
    messages = [str(w.message) for w in caught]
    return [m.split(" overfits: ")[0] for m in messages if " overfits: " in m]


# --- who is named ---------------------------------------------------------------------------------


def classical_memorizes(seed, make_trainer):
    torch.manual_seed(seed)
    detector = OverfittingDetector(every_n_steps=5)
    return named_in(make_trainer([detector], max_epochs=60), wide_classical(), noise(seed))


def photonic_memorizes(seed, make_trainer):
    torch.manual_seed(seed)
    detector = OverfittingDetector(every_n_steps=5)
    data = noise(seed, features=8)
    return named_in(make_trainer([detector], max_epochs=60), large_photonic(), data)


def healthy_digits(seed, make_trainer, *others):
    torch.manual_seed(seed)
    detector = OverfittingDetector(every_n_steps=34)
    data = SklearnDataModule("digits", batch_size=64)
    return named_in(make_trainer([detector, *others], max_epochs=20), digits(), data)


def healthy_parallel(seed, make_trainer):
    torch.manual_seed(seed)
    detector = OverfittingDetector(every_n_steps=30)
    model = ParallelHybrid(6, 2, circuit_type="series", hidden_dims=[16])
    return named_in(make_trainer([detector], max_epochs=12), model, learnable(seed))


def paths(named):
    """Who was named, but for the fusion, which may share the guilt of any path."""
    return set(named) - {"fusion"}


def test_who_memorizes_is_named(make_trainer):
    assert paths(classical_memorizes(0, make_trainer)) == {"classical_path"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "culprit"),
    [(classical_memorizes, "classical_path"), (photonic_memorizes, "quantum_path")],
)
def test_who_memorizes_is_named_in_4_of_5_seeds_and_nobody_else_ever(run, culprit, make_trainer):
    named = [paths(run(seed, make_trainer)) for seed in range(5)]
    assert sum(names == {culprit} for names in named) >= 4, named
    assert set().union(*named) == {culprit}


@pytest.mark.slow
def test_a_healthy_run_raises_no_alarm_where_the_ratio_alone_would(make_trainer):
    history = History()
    assert healthy_digits(0, make_trainer, history) == []
    assert history.rows[-1]["overfit/ratio"] > 10
    assert all(row.get("overfit/alarm", 0.0) == 0.0 for row in history.rows)


@pytest.mark.slow
@pytest.mark.parametrize("run", [healthy_digits, healthy_parallel])
def test_healthy_runs_raise_no_alarm_in_5_of_5_seeds(run, make_trainer):
    assert [run(seed, make_trainer) for seed in range(5)] == [[]] * 5


@pytest.mark.slow
def test_components_can_be_blamed_instead_of_parts(make_trainer):
    torch.manual_seed(0)
    history = History()
    detector = OverfittingDetector(by="component", every_n_steps=5)
    trainer = make_trainer([detector, history], max_epochs=30)
    assert named_in(trainer, wide_classical(), noise(0)) == ["classical"]
    assert {"overfit/classical_val", "overfit/photonic_val"} <= set(history.rows[-1])
    assert "overfit/photonic_gap_without" in history.rows[-1]
    assert "overfit/classical_gap_without" not in history.rows[-1]
    assert history.rows[-1]["overfit/alarm"] == 1.0 and detector.blamed == ["classical"]


@pytest.mark.slow
def test_the_warning_says_what_happened_and_what_to_do(make_trainer):
    torch.manual_seed(0)
    trainer = make_trainer([OverfittingDetector(every_n_steps=5)], max_epochs=60)
    with pytest.warns(UserWarning) as caught:
        trainer.fit(wide_classical(), noise(0))
    (message,) = [str(w.message) for w in caught if "overfits" in str(w.message)]
    number = r"[0-9.]+"
    pattern = (
        "classical_path overfits: trained again from step 0 on for [0-9]+ steps, a copy ends with "
        f"a validation loss of {number} if classical_path is frozen, not {number} [(]difference "
        f"{number}, 95 % interval {number} to {number}; training loss {number}, not {number}[)], "
        f"and of {number} with quantum_path frozen, {number} with fusion frozen: raise weight "
        "decay or dropout, or make it narrower, or freeze it with action='freeze'[.]"
    )
    assert re.fullmatch(pattern, message), message


@pytest.mark.filterwarnings("ignore:.* overfits")
def test_a_fusion_is_named_last(make_trainer, monkeypatch):
    """It shares the guilt of what it trusts; see `guilty_by_intervention`."""
    asked = []

    def judge(losses, lowest, matters, last):
        asked.append((set(losses), last))
        return None

    torch.manual_seed(0)
    monkeypatch.setattr(intervention, "guilty_by_intervention", judge)
    detector = OverfittingDetector(every_n_steps=5, replay_steps=8)
    make_trainer([detector], max_epochs=20).fit(wide_classical(), noise(0))
    assert asked == [({None, *PARTS}, ["fusion"])] * 8
    assert detector.blamed == []


# --- what is logged -------------------------------------------------------------------------------


class ByHand(Callback):
    """The losses of the first 3 training batches and the first 2 validation batches."""

    def __init__(self):
        self.batches, self.losses = {"train": [], "val": []}, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if len(self.batches["train"]) < 3:
            self.batches["train"].append(batch)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not trainer.sanity_checking and len(self.batches["val"]) < 2:
            self.batches["val"].append(batch)

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            found, mode = {}, pl_module.training
            pl_module.eval()
            for name, batches in self.batches.items():
                x, y = (torch.cat(part) for part in zip(*batches, strict=True))
                found[name] = nn.functional.cross_entropy(pl_module(x), y).item()
            pl_module.train(mode)
            self.losses.append(found)


class ValidatedInTraining(SequentialHybrid):
    """Dropout stays on in its validation."""

    def on_validation_model_eval(self):
        pass

    def on_validation_model_train(self):
        pass


@pytest.mark.parametrize("cls", [SequentialHybrid, ValidatedInTraining])
def test_the_gap_is_that_of_fixed_rows_without_dropout(cls, data, make_model, make_trainer):
    history, by_hand = History(), ByHand()
    trainer = make_trainer([OverfittingDetector(probe_batches=3), history, by_hand], max_epochs=3)
    trainer.fit(make_model(cls, dropout=0.5), data)
    assert len(history.rows) == len(by_hand.losses) == 3
    for row, hand in zip(history.rows, by_hand.losses, strict=True):
        assert row["overfit/train"] == pytest.approx(hand["train"], rel=1e-5)
        assert row["overfit/val"] == pytest.approx(hand["val"], rel=1e-5)
        assert row["overfit/gap"] == pytest.approx(hand["val"] - hand["train"], abs=1e-6)
        assert row["overfit/ratio"] == pytest.approx(hand["val"] / hand["train"], rel=1e-5)


def test_the_parts_add_up_to_the_change_of_the_losses(data, make_model, make_trainer):
    history = History()
    detector = OverfittingDetector(every_n_steps=1, window=3)
    model = make_model(ParallelHybrid, normalization="standard", dropout=0.2)
    make_trainer([detector, history], max_epochs=8).fit(model, data)
    for earlier, row in zip(history.rows[3:], history.rows[6:], strict=False):  # 3 stretches
        for probe in ("train", "val"):
            parts = sum(row[f"overfit/{part}_{probe}"] for part in PARTS)
            change = row[f"overfit/{probe}"] - earlier[f"overfit/{probe}"]
            assert parts == pytest.approx(change, abs=1e-6) and abs(change) > 1e-3
        gaps = [found["overfit/gap"] for found in history.rows[:8]]
        assert all(row[f"overfit/{part}_val_low"] < row[f"overfit/{part}_val"] for part in PARTS)
    assert history.rows[-1]["overfit/trend"] == pytest.approx(
        np.polyfit(range(3), gaps[-3:], 1)[0], abs=1e-6
    )
    cost, gain = (history.rows[-1][f"overfit/fusion_{probe}"] for probe in ("val", "train"))
    floor = 0.01 * history.rows[-1]["overfit/val"]
    assert history.rows[-1]["overfit/fusion_ogr"] == pytest.approx(
        (cost - gain) / max(-cost, floor), rel=1e-4
    )


def test_the_allocation_waits_for_its_steps(data, make_model, make_trainer):
    """4 steps an epoch: measured after 4 (the start), 12, 20; the gap every time."""
    history = History()
    trainer = make_trainer([OverfittingDetector(every_n_steps=7), history], max_epochs=5)
    trainer.fit(make_model(), data)
    assert all("overfit/gap" in row for row in history.rows)
    measured = [row.get("overfit/quantum_layer_val") for row in history.rows]
    assert measured[:2] == [None, None] and measured[2] == measured[3] != measured[4]


def test_the_cost_is_as_documented(data, make_model, make_trainer):
    class Counting(ParallelHybrid):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return super().forward(x)

    def count(*callbacks):
        Counting.calls = 0
        make_trainer(callbacks, max_epochs=5).fit(make_model(Counting), data)
        return Counting.calls

    passes = 5 + 2 * (2 * 3 - 2)  # 5 validations, 2 allocations among 3 parts
    detector = OverfittingDetector(threshold=1e9, every_n_steps=7, probe_batches=2)
    assert count(detector) - count() == passes


def test_early_stopping_and_checkpoints_see_the_gap(tmp_path, make_trainer):
    torch.manual_seed(0)
    best = ModelCheckpoint(tmp_path, monitor="overfit/gap", mode="min", filename="{epoch}")
    stopping = EarlyStopping("overfit/gap", patience=3)
    history = History()
    trainer = make_trainer(
        [OverfittingDetector(), history, stopping, best], max_epochs=60, enable_checkpointing=True
    )
    trainer.fit(wide_classical(), noise(0))
    gaps = [row["overfit/gap"] for row in history.rows]
    assert len(gaps) < 60 and stopping.stopped_epoch == len(gaps) - 1
    assert min(gaps) == gaps[-4] and best.best_model_path.endswith(f"epoch={len(gaps) - 4}.ckpt")


def test_tensorboard_has_a_curve_of_each_part(tmp_path, data, make_model, make_trainer, scalars):
    logger = TensorBoardLogger(tmp_path, name="run")
    detector = OverfittingDetector(every_n_steps=4)
    make_trainer([detector], logger=logger, max_epochs=3).fit(make_model(), data)
    logged = scalars(logger.log_dir)
    assert len(logged["overfit/gap"]) == 3 and len(logged["overfit/classical_pre_val"]) == 2


def test_what_is_logged_is_that_of_training_only(data, make_model, make_trainer):
    trainer = make_trainer([OverfittingDetector()])
    trainer.fit(make_model(), data)
    trainer.validate(trainer.lightning_module, data, verbose=False)
    assert not [name for name in trainer.callback_metrics if name.startswith("overfit")]


# --- training stays as it is ----------------------------------------------------------------------


class WithBatchNorm(SequentialHybrid):
    def build_classical_pre(self):
        return nn.Sequential(
            nn.Linear(5, 2), nn.BatchNorm1d(2), nn.Dropout(0.3), nn.GELU(), nn.Sigmoid()
        )


class Traces(Callback):
    """Everything of a run that a callback could change."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append([p.grad.clone() for p in pl_module.parameters()])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append([p.grad is None for p in pl_module.parameters()])
        self.seen.append([module.training for module in pl_module.modules()])
        self.seen.append([p.requires_grad for p in pl_module.parameters()])
        self.seen.append([len(module._forward_hooks) for module in pl_module.modules()])

    def on_train_end(self, trainer, pl_module):
        (optimizer,) = trainer.optimizers
        state = optimizer.state_dict()["state"]
        self.seen.append([t for own in state.values() for t in map(torch.as_tensor, own.values())])
        self.seen.append([torch.get_rng_state(), random.random(), np.random.rand()])
        self.seen.append(list(pl_module.state_dict().values()))
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self.seen.append([None if scaler is None else scaler.get_scale()])


def same(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def fp16():
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))


TEMPLATES = [
    SequentialHybrid,
    ParallelHybrid,
    ResidualHybrid,
    ParallelBankHybrid,
    WithBatchNorm,
    ValidatedInTraining,
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* overfits")
@pytest.mark.parametrize("by", ["part", "component"])
@pytest.mark.parametrize("cls", TEMPLATES)
def test_training_is_the_same_bit_for_bit(cls, by, data, make_model, make_trainer, monkeypatch):
    check_same(cls, by, data, make_model, make_trainer, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* overfits")
@pytest.mark.parametrize(
    "options",
    [
        lambda: dict(precision="bf16-mixed"),
        lambda: dict(plugins=[fp16()]),
        lambda: dict(precision="64-true"),
        lambda: dict(precision="bf16-true"),
    ],
    ids=["bf16", "fp16", "64", "bf16-true"],
)
def test_training_is_the_same_in_all_precisions(
    options, data, make_model, make_trainer, monkeypatch
):
    check_same(WithBatchNorm, "part", data, make_model, make_trainer, monkeypatch, options)


def check_same(cls, by, data, make_model, make_trainer, monkeypatch, options=dict):
    """Every part is blamed at every step, so that all that can be measured is."""

    def run(*callbacks):
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        dropout = {} if cls is ParallelBankHybrid else {"dropout": 0.3}
        model, traces = make_model(cls, **dropout), Traces()
        trainer = make_trainer(
            [*callbacks, traces],
            max_epochs=3,
            accumulate_grad_batches=2,
            gradient_clip_val=1.0,
            val_check_interval=1,
            **options(),
        )
        trainer.fit(model, data)
        trained.append(model)
        return traces.seen

    trained = []
    detector = OverfittingDetector(by=by, every_n_steps=1, replay_steps=4)
    detector.threshold = -math.inf
    monkeypatch.setattr(overfitting, "suspected_parts", lambda costs, matters: list(costs))
    for number, (watched, alone) in enumerate(zip(run(detector), run(), strict=True)):
        assert all(map(same, watched, alone)), number
    state = detector.state_dict()
    assert len(state["stretches"]) == 5 and state["episode"]["judged"]
    copies = 1 + len(OWNERS[by].parameters(trained[0]))
    assert state["interventions"]["spent"] == 4 * copies and "could not" not in state["said"][0]


# --- freezing -------------------------------------------------------------------------------------


class Snapshots(Callback):
    """The state of the model after every epoch, and who is frozen then."""

    def __init__(self, detector):
        self.detector, self.epochs = detector, []

    def on_train_epoch_end(self, trainer, pl_module):
        (optimizer,) = trainer.optimizers
        moments = {
            name: [torch.as_tensor(t).clone() for t in optimizer.state[p].values()]
            for name, p in pl_module.named_parameters()
        }
        values = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.epochs.append((values, moments, self.detector.frozen))


def freezing(make_trainer, path=None, others=(), options=dict, epochs=40):
    torch.manual_seed(0)
    detector, history = OverfittingDetector(action="freeze", every_n_steps=5), History()
    snapshots = Snapshots(detector)
    trainer = make_trainer(
        [detector, history, snapshots, *others],
        max_epochs=epochs,
        enable_checkpointing=bool(others),
        **options(),
    )
    model = wide_classical()
    model.hparams["weight_decay"] = 0.3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, noise(0), ckpt_path=path)
    told = [str(w.message) for w in caught if "overfits" in str(w.message)]
    return snapshots.epochs, history.rows, told


@pytest.mark.slow
@pytest.mark.parametrize("options", [dict, lambda: dict(plugins=[fp16()])], ids=["32", "fp16"])
def test_the_named_part_is_frozen_moments_and_all(options, make_trainer):
    epochs, history, told = freezing(make_trainer, options=options)
    start = next(i for i, (_, _, frozen) in enumerate(epochs) if frozen)
    assert 0 < start < 30 and epochs[start][2] == ["classical_path"]
    assert told[0].endswith(": it is frozen, and the model goes on from such a copy.")
    torch.manual_seed(0)
    initial = dict(wide_classical().named_parameters())
    (later, moments, _), (last, *_) = epochs[start + 1], epochs[-1]
    for name, value in initial.items():
        stays = name.startswith("classical_path")
        assert torch.equal(later[name], value) == stays, name
        assert torch.equal(last[name], value) == stays, name
        assert bool(moments[name]) != stays, name
    assert {int(state[0]) for state in moments.values() if state} == {start + 2}  # steps
    after = [row for row in history[start + 2 :] if "overfit/classical_path_val" in row]
    assert after and after[-1]["overfit/classical_path_val"] == 0.0


@pytest.mark.slow
def test_a_run_that_freezes_goes_on_as_if_it_had_been_frozen_from_the_start(make_trainer):
    """All rows are in one batch and there is no dropout: the copies repeat the run."""
    epochs, _, _ = freezing(make_trainer, epochs=20)
    start = next(i for i, (_, _, frozen) in enumerate(epochs) if frozen)
    torch.manual_seed(0)
    model = wide_classical()
    model.hparams["weight_decay"] = 0.3
    model.classical_path.requires_grad_(False)
    make_trainer(max_epochs=start + 2).fit(model, noise(0))
    (before, *_), (after, *_) = epochs[start], epochs[start + 1]
    for name, value in model.named_parameters():
        assert torch.allclose(after[name], value, rtol=0, atol=1e-4), name
        if not name.startswith("classical_path"):
            assert (before[name] - value).abs().max() > 1e-3, name


def test_the_only_part_that_trains_is_neither_named_nor_frozen(make_trainer):
    torch.manual_seed(0)
    detector = OverfittingDetector(action="freeze", every_n_steps=5)
    model = wide_classical()
    model.quantum_path.requires_grad_(False)
    model.fusion.requires_grad_(False)
    with pytest.warns(UserWarning, match="no part is named, since no more than one is trained"):
        make_trainer([detector], max_epochs=40).fit(model, noise(0))
    assert detector.frozen == [] == detector.blamed


@pytest.mark.slow
def test_freezing_goes_together_with_stages(make_trainer):
    torch.manual_seed(0)
    detector = OverfittingDetector(action="freeze", every_n_steps=5)
    stages = StagedTraining([["classical", 20], ["photonic", 5], ["both", 5]])
    trainer = make_trainer([detector, stages], max_epochs=30)
    assert named_in(trainer, wide_classical(), noise(0))[0] == "classical_path"
    assert detector.frozen[0] == "classical_path"


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("last", [3, "decided", 7, 12])
def test_a_resumed_run_logs_and_decides_the_same(last, tmp_path, make_trainer):
    """Before anything is frozen, just before the model goes back for it, and afterwards."""
    kept = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}", monitor="overfit/gap")
    epochs, rows, whole = freezing(make_trainer, others=[kept], epochs=30)
    if last == "decided":
        last = next(i for i, (_, _, frozen) in enumerate(epochs) if frozen)
    again = ModelCheckpoint(tmp_path / "again", every_n_epochs=99)
    path = tmp_path / f"epoch={last}.ckpt"
    assert torch.load(path, weights_only=True)["epoch"] == last
    later, resumed, told = freezing(make_trainer, path, others=[again], epochs=30)
    assert len(resumed) == 29 - last
    for row, other in zip(rows[last + 1 :], resumed, strict=True):
        # what was last logged before the checkpoint is known to the uninterrupted run only
        assert {name: row[name] for name in other} == other
    assert [frozen for *_, frozen in epochs[last + 1 :]] == [frozen for *_, frozen in later]
    for name, value in epochs[-1][0].items():
        assert torch.equal(value, later[-1][0][name]), name
    assert not epochs[3][2] and epochs[12][2]
    assert told == whole[len(epochs[last][2]) :]  # every warning freezes one part


def test_a_checkpoint_of_other_parts_is_refused(make_model, make_trainer, data):
    class Loaded(OverfittingDetector):
        def setup(self, trainer, pl_module, stage):
            super().setup(trainer, pl_module, stage)
            self.load_state_dict(OverfittingDetector().state_dict() | {"frozen": ["elsewhere"]})

    with pytest.raises(
        ValueError, match=r"knows of \['elsewhere'\], and this model has no such parts"
    ):
        make_trainer([Loaded()]).fit(make_model(), data)


def test_a_checkpoint_of_version_0_1_is_resumed(make_model, make_trainer, data):
    """It knows of no copies: they begin where the run is resumed."""

    class Loaded(OverfittingDetector):
        def setup(self, trainer, pl_module, stage):
            super().setup(trainer, pl_module, stage)
            old = ("probes", "complete", "gaps", "start", "stretches", "frozen")
            self.load_state_dict(
                {name: self.state_dict()[name] for name in old} | {"blamed": {"quantum_layer": 1}}
            )

    detector = Loaded()
    make_trainer([detector]).fit(make_model(), data)
    assert detector.blamed == [] and detector.state_dict()["interventions"]["origin"]["step"] == 0


def test_a_second_fit_starts_afresh(data, make_model, make_trainer):
    detector = OverfittingDetector(every_n_steps=1)
    make_trainer([detector], max_epochs=3).fit(make_model(), data)
    make_trainer([detector], max_epochs=2).fit(make_model(ParallelHybrid), data)
    assert [list(s["train"]) for s in detector.state_dict()["stretches"]] == [PARTS]


# --- any module, any data -------------------------------------------------------------------------


class Foreign(LightningModule):
    """No template: three parts, one of which returns no tensor, and losses below 0."""

    def __init__(self, broken_epoch=None):
        super().__init__()
        self.first, self.recurrent = nn.Linear(5, 4), nn.GRU(4, 4, batch_first=True)
        self.last, self.broken_epoch = nn.Linear(4, 3), broken_epoch

    def probe_losses(self, batch):
        hidden = self.recurrent(self.first(batch[0])[:, None])[0][:, 0]
        losses = nn.functional.cross_entropy(self.last(hidden), batch[1], reduction="none")
        broken = (
            self.broken_epoch is not None
            and self.trainer.validating
            and self.trainer.current_epoch == self.broken_epoch
        )
        return losses * torch.nan if broken else losses - 3

    def training_step(self, batch, batch_idx):
        return self.probe_losses(batch).mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.slow
def test_any_module_that_tells_the_losses_of_its_rows(make_trainer):
    torch.manual_seed(0)
    history = History()
    detector = OverfittingDetector(1.0, every_n_steps=10)
    trainer = make_trainer([detector, history], max_epochs=200)
    with pytest.warns(UserWarning, match="the model overfits, and no single part is to blame"):
        trainer.fit(Foreign(), noise(0, features=5))
    assert detector.blamed == []
    row = next(row for row in history.rows if row.get("overfit/alarm"))
    assert row["overfit/val"] < 0 and row["overfit/gap"] > 0
    expected = 1 + row["overfit/gap"] / abs(row["overfit/train"])
    assert row["overfit/ratio"] == pytest.approx(expected) and row["overfit/ratio"] > 1
    assert {"overfit/first_gap_without", "overfit/last_gap_without"} <= set(row)
    assert "overfit/recurrent_val" in row and "overfit/recurrent_gap_without" not in row


@pytest.mark.parametrize("shape", ["dict", "ragged", "extra"])
def test_batches_that_cannot_be_put_together_count_all_the_same(shape, make_trainer):
    """Named tensors, sequences of another length in each batch, one tensor that is not of rows."""

    class Reader(Foreign):
        def probe_losses(self, batch):
            x, y = list(batch.values()) if shape == "dict" else batch[:2]
            return super().probe_losses((x.mean(1), y))

    y = torch.randint(3, (12,))
    rows = [(torch.randn(6, length, 5), y[:6]) for length in (3, 3 if shape != "ragged" else 4)]
    batches = {
        "dict": [{"x": x, "y": y} for x, y in rows],
        "ragged": rows,
        "extra": [(*pair, torch.ones(1)) for pair in rows],
    }[shape]
    history, model = History(), Reader()
    trainer = make_trainer([OverfittingDetector(), history], num_sanity_val_steps=0)
    trainer.fit(model, *(DataLoader(part, batch_size=None) for part in (batches, batches[::-1])))
    expected = torch.cat([model.probe_losses(batch) for batch in batches]).mean().item()
    assert history.rows[-1]["overfit/train"] == pytest.approx(expected, rel=1e-5)
    assert history.rows[-1]["overfit/gap"] == pytest.approx(0.0, abs=1e-6)


def test_tensors_that_are_exchanged_are_found_again(data, make_trainer):
    detector, model = OverfittingDetector(every_n_steps=1), Foreign()
    trainer = make_trainer([detector], max_epochs=2)
    trainer.fit(model, data)
    before = detector._stretches.tensors(model)
    assert list(before["last"]) == ["last.weight", "last.bias"]
    nn.utils.parametrizations.weight_norm(model.last)
    after = detector._stretches.tensors(model)["last"]
    assert {name.rpartition(".")[2] for name in after} == {"bias", "original0", "original1"}
    assert all(any(t is p for p in model.parameters()) for t in after.values())


def test_losses_that_are_not_finite_are_logged_and_passed_over(data, make_trainer):
    history = History()
    detector = OverfittingDetector(every_n_steps=1)
    make_trainer([detector, history], max_epochs=5).fit(Foreign(broken_epoch=2), data)
    assert [math.isnan(row["overfit/gap"]) for row in history.rows] == [False] * 2 + [True] + [
        False
    ] * 2
    steps = [stretch["steps"] for stretch in detector.state_dict()["stretches"]]
    assert steps == [4, 8, 4]
    assert all(math.isfinite(value) for value in history.rows[-1].values())


def test_a_probe_of_few_rows_says_no_interval_and_raises_no_alarm(make_model, make_trainer):
    x, y = torch.randn(20, 5), torch.randint(3, (20,))
    data = ArrayDataModule(x, y, val=(x[:4], y[:4]), batch_size=8)
    history = History()
    detector = OverfittingDetector(1.0, every_n_steps=1, min_cost=0.0)
    make_trainer([detector, history], max_epochs=10).fit(make_model(), data)
    assert "overfit/quantum_layer_val" in history.rows[-1]
    assert not [name for name in history.rows[-1] if name.endswith("_low")]
    assert not any(row.get("overfit/alarm", 0.0) for row in history.rows)


def test_modules_of_unknown_loss_are_refused(data, make_trainer):
    class Silent(Foreign):
        probe_losses = property()

        def training_step(self, batch, batch_idx):
            return self.last(self.first(batch[0])).mean()

    with pytest.raises(TypeError, match=r"Silent is no HybridModule.* probe_losses\(batch\)"):
        make_trainer([OverfittingDetector()]).fit(Silent(), data)


@pytest.mark.parametrize("options", [dict, lambda: dict(limit_val_batches=0)])
def test_a_run_without_validation_data_is_refused(options, make_model, make_trainer):
    x, y = torch.randn(20, 5), torch.randint(3, (20,))
    fraction = 0.2 if options() else 0.0
    data = ArrayDataModule(x, y, val_fraction=fraction, test_fraction=0.0, batch_size=8)
    with pytest.raises(ValueError, match="this run has none: give the Trainer validation data"):
        make_trainer([OverfittingDetector()], **options()).fit(make_model(), data)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(threshold=0.9), ValueError, "threshold must be at least 1, got 0.9"),
        (dict(threshold="2"), TypeError, "threshold must be a number"),
        (dict(by="layer"), ValueError, "by must be one of .* got 'layer'"),
        (dict(action="stop"), ValueError, "action must be one of .* got 'stop'"),
        (dict(every_n_steps=0), ValueError, "every_n_steps must be at least 1"),
        (dict(probe_batches=1.5), TypeError, "probe_batches must be an integer"),
        (dict(window=1), ValueError, "window must be at least 2"),
        (dict(min_cost=math.nan), ValueError, "min_cost must be at least 0, got nan"),
        (dict(replay_steps=-1), ValueError, "replay_steps must be at least 0"),
        (dict(replay_batches=0), ValueError, "replay_batches must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        OverfittingDetector(**arguments)


@pytest.mark.slow
def test_two_processes_see_and_decide_the_same(make_trainer):
    torch.manual_seed(0)
    detector = OverfittingDetector(action="freeze", every_n_steps=5)
    options = dict(strategy="ddp_spawn", devices=2, max_epochs=16)
    make_trainer([detector, RanksAgree(detector)], **options).fit(wide_classical(), noise(0))
