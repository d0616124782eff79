"""Training one component at a time."""

import csv

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from hybridlit.blocks import NormalizationLayer
from hybridlit.components import split_parameters
from hybridlit.photonics import Experiment, QuantumLayer
from hybridlit.templates import SequentialHybrid
from hybridlit.templates.training.stages import StagedTraining

STAGES = [["classical", 2], ["photonic", 1], ["both", 1], ["photonic", 1], ["classical", 1]]
TRAINED = ["classical", "classical", "photonic", "both", "photonic", "classical", "classical"]


class Snapshots(Callback):
    """Keeps parameters and optimizer state of both components after every epoch."""

    def __init__(self):
        self.epochs = []

    def on_train_start(self, trainer, pl_module):
        self.epochs.append(self._copy(trainer, pl_module))

    on_train_epoch_end = on_train_start

    def _copy(self, trainer, model):
        (optimizer,) = trainer.optimizers
        return {
            component: [
                tensor.clone()
                for p in parameters.values()
                for tensor in (p.detach(), *map(torch.as_tensor, optimizer.state[p].values()))
            ]
            for component, parameters in split_parameters(model).items()
        }

    def moved(self, epoch):
        before, after = self.epochs[epoch : epoch + 2]
        return {
            component: len(before[component]) != len(after[component])
            or not all(map(torch.equal, before[component], after[component]))
            for component in before
        }


def fp16():
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))


@pytest.mark.parametrize(
    "options",
    [
        dict,
        lambda: dict(accumulate_grad_batches=3),
        lambda: dict(gradient_clip_val=0.1, accumulate_grad_batches=2),
        lambda: dict(precision="bf16-mixed"),
        lambda: dict(plugins=[fp16()], gradient_clip_val=0.1),
    ],
    ids=["plain", "accumulated", "clipped", "bf16", "fp16"],
)
def test_what_is_not_trained_stays_bit_for_bit(options, data, make_model, make_trainer):
    """Seven epochs: the last stage goes on. Weight decay and moments must not move anything."""
    snapshots = Snapshots()
    model = make_model(
        stages=STAGES, weight_decay=0.5, quantum_weight_decay=0.5, schedule="cosine", dropout=0.0
    )
    make_trainer(max_epochs=7, callbacks=[snapshots], **options()).fit(model, data)
    for epoch, trained in enumerate(TRAINED):
        expected = {name: trained in (name, "both") for name in ("classical", "photonic")}
        assert snapshots.moved(epoch) == expected, epoch


def test_without_stages_both_move(data, make_model, make_trainer):
    snapshots = Snapshots()
    make_trainer(callbacks=[snapshots]).fit(make_model(), data)
    assert snapshots.moved(0) == {"classical": True, "photonic": True}


@pytest.mark.parametrize("last", [0, 1, 2, 4])
def test_a_resumed_run_is_in_the_right_stage(last, tmp_path, data, make_model, make_trainer):
    def run(path=None, **options):
        torch.manual_seed(3)
        model = make_model(stages=STAGES, schedule="cosine", dropout=0.0)
        kept = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}", **options)
        trainer = make_trainer(max_epochs=6, enable_checkpointing=True, callbacks=[kept])
        trainer.fit(model, data, ckpt_path=path)
        return model.state_dict()

    whole = run(monitor="val/loss")
    resumed = run(tmp_path / f"epoch={last}.ckpt", every_n_epochs=9)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_a_run_resumed_amid_an_epoch_is_in_the_right_stage(
    tmp_path, data, make_model, make_trainer
):
    stages = [["classical", 1], ["photonic", 2]]
    kept = ModelCheckpoint(tmp_path, every_n_train_steps=6, filename="{step}")
    first = make_trainer(max_epochs=2, max_steps=6, enable_checkpointing=True, callbacks=[kept])
    first.fit(make_model(stages=stages), data)  # 4 steps an epoch: ends within the second
    snapshots, model = Snapshots(), make_model(stages=stages)
    second = make_trainer(max_epochs=2, callbacks=[snapshots])
    second.fit(model, data, ckpt_path=tmp_path / "step=6.ckpt")
    assert second.global_step > 6
    assert snapshots.moved(0) == {"classical": False, "photonic": True}


class Foreign(LightningModule):
    """No template: only the callback knows of stages."""

    def __init__(self):
        super().__init__()
        circuit = Experiment("series", n_modes=4, n_photons=2)
        self.net = nn.Sequential(
            nn.Linear(5, 2), NormalizationLayer(), QuantumLayer(2, 3, experiment=circuit)
        )

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0, momentum=0.9, weight_decay=0.1)


def test_any_lightning_module_and_optimizer(data, make_trainer):
    snapshots = Snapshots()
    staged = StagedTraining([("classical", 1), ("photonic", 1), ("classical", 1)])
    make_trainer(max_epochs=3, callbacks=[staged, snapshots]).fit(Foreign(), data)
    assert [snapshots.moved(epoch)["photonic"] for epoch in range(3)] == [False, True, False]
    assert [snapshots.moved(epoch)["classical"] for epoch in range(3)] == [True, False, True]


def test_clipping_looks_at_the_trained_component_only(data, make_model, make_trainer):
    class Descent(SequentialHybrid):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    model = make_model(Descent, stages=[["photonic", 1]])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    make_trainer(max_steps=1, gradient_clip_val=1e-3).fit(model, data)
    step = sum((p - before[name]).square().sum() for name, p in model.named_parameters()).sqrt()
    # float32 rounds phases of about 1 to 1e-7
    assert step.item() == pytest.approx(1e-3, rel=1e-2)


def test_the_stage_is_logged_and_announced(tmp_path, data, make_model, make_trainer, caplog):
    logger = CSVLogger(tmp_path, name="run")
    trainer = make_trainer(max_epochs=3, logger=logger)
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        trainer.fit(make_model(stages=[["classical", 2], ["both", 1]]), data)
        trainer.test(trainer.lightning_module, data, verbose=False)
    with open(logger.experiment.metrics_file_path) as file:
        logged = [row["train/stage"] for row in csv.DictReader(file) if row["train/stage"]]
    assert logged == ["1.0", "1.0", "2.0"]
    announced = [m for m in caplog.messages if "stage" in m or "override" in m]
    assert announced == [
        "Epoch 0: stage 1 of 2 trains classical.",
        "Epoch 2: stage 2 of 2 trains both.",
    ]


@pytest.mark.parametrize(
    ("stages", "error", "message"),
    [
        ([["quantum", 5]], ValueError, r"stages\[0\]\[0\] must be one of .* got 'quantum'"),
        ([["both", 1], ["both", 0]], ValueError, r"epochs of stages\[1\] must be at least 1"),
        ([["both", 1.5]], TypeError, r"stages\[0\]\[1\] must be an integer"),
        ([["both"]], ValueError, r"stages\[0\] must be a pair, got \['both'\]"),
        (["both", 1], TypeError, r"stages\[0\] must be a pair, got str 'both'"),
        ("both", TypeError, "stages must be a list of entries that are a pair or None"),
        ([], ValueError, "at least one stage, got \\[\\]; None trains both"),
    ],
)
def test_bad_stages_are_refused_at_construction(stages, error, message, make_model):
    with pytest.raises(error, match=message):
        make_model(stages=stages)


@pytest.mark.parametrize("component", ["photonic", "both"])
def test_a_stage_that_could_train_nothing_is_refused(component, data, make_model, make_trainer):
    model = make_model(
        reservoir_mode=True, use_bandwidth_tuning=False, stages=[["classical", 1], [component, 1]]
    )
    with pytest.raises(ValueError, match=f"trains '{component}', .* no trainable photonic"):
        make_trainer(max_epochs=2).fit(model, data)


def test_stages_that_are_not_reached_are_told(data, make_model, make_trainer):
    with pytest.warns(UserWarning, match=r"max_epochs=1 ends before stage 2 \(photonic\) begins"):
        make_trainer().fit(make_model(stages=[["classical", 1], ["photonic", 1]]), data)


def test_stages_survive_a_checkpoint(tmp_path, data, make_model, make_trainer):
    trainer = make_trainer(max_epochs=2)
    trainer.fit(make_model(stages=[("classical", np.int64(1)), ("photonic", 1)]), data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    restored = SequentialHybrid.load_from_checkpoint(tmp_path / "last.ckpt")
    snapshots = Snapshots()
    make_trainer(max_epochs=2, callbacks=[snapshots]).fit(restored, data)
    assert [snapshots.moved(epoch)["photonic"] for epoch in (0, 1)] == [False, True]


@pytest.mark.parametrize("epoch", [-1, 0.5, True])
def test_an_epoch_that_there_is_not_has_no_stage(epoch):
    staged = StagedTraining([("classical", 1), ("both", 1)])
    for ask in (staged.number, staged.component):
        with pytest.raises((ValueError, TypeError), match="epoch must be"):
            ask(epoch)
