"""The callbacks around LightningModules that are no templates: other batches, inputs and habits."""

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from hybridlit.callbacks import (
    ActivationCheckpointing,
    GradientImbalanceMonitor,
    MixedPrecision,
    OverfittingDetector,
    PhotonicInspector,
)
from hybridlit.photonics import Experiment, QuantumLayer
from hybridlit.templates import StagedTraining


class Own(LightningModule):
    """Dictionaries as batches, and a value logged in `forward`."""

    def __init__(self):
        super().__init__()
        self.pre = nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2), nn.Sigmoid())
        self.layer = QuantumLayer(2, 4, experiment=Experiment("series", n_modes=4, n_photons=2))
        self.head = nn.Linear(4, 3)

    def unpack(self, batch):
        return batch["x"], batch["y"]

    def forward(self, x):
        encoded = self.pre(x)
        if self.trainer.training:
            self.log("encoded", encoded.mean(), on_step=True)
        return self.head(self.layer(encoded))

    def probe_losses(self, batch):
        x, y = self.unpack(batch)
        return cross_entropy(self(x), y, reduction="none")

    def training_step(self, batch, batch_idx):
        return self.probe_losses(batch).mean()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.probe_losses(batch).mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


@pytest.fixture
def loaders(data):
    def loader(part):
        rows = [dict(x=x, y=y) for x, y in zip(*part, strict=True)]
        return DataLoader(rows, batch_size=10)

    return dict(train_dataloaders=loader(data.train), val_dataloaders=loader(data.val))


def watching():
    return [
        GradientImbalanceMonitor(every_n_steps=1),
        OverfittingDetector(every_n_steps=2),
        MixedPrecision(every_n_steps=2),
        ActivationCheckpointing(),
        PhotonicInspector(),
    ]


@pytest.mark.filterwarnings("ignore:Trying to infer:UserWarning")
@pytest.mark.parametrize("backwards", [False, True])
def test_all_of_them_leave_training_as_it_is(loaders, make_trainer, backwards):
    def train(callbacks):
        torch.manual_seed(0)
        model = Own()
        trainer = make_trainer(callbacks, max_epochs=3)
        trainer.fit(model, **loaders)
        return model.state_dict(), trainer.callback_metrics

    plain, _ = train([])
    watched, logged = train(watching()[:: -1 if backwards else 1])
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    for key in ("overfit/gap", "precision/shadow_error", "checkpointing/saved_bytes"):
        assert torch.isfinite(logged[key])


class Renamed(Own):
    """Takes two inputs, which no callback knows how to give."""

    def forward(self, x, y):
        return super().forward(x)

    def probe_losses(self, batch):
        x, y = self.unpack(batch)
        return cross_entropy(self(x, y), y, reduction="none")


def test_what_cannot_be_measured_is_said(loaders, make_trainer):
    with pytest.warns(
        UserWarning, match=r"not measured, since forward\(inputs\) of Renamed failed"
    ):
        make_trainer([ActivationCheckpointing()]).fit(Renamed(), **loaders)
    said = r"Renamed cannot be measured in float64: .*every_n_steps"
    trainer = make_trainer([MixedPrecision(every_n_steps=1)], max_epochs=2)
    with pytest.warns(UserWarning, match=f"{said}.*Training goes on") as caught:
        trainer.fit(Renamed(), **loaders)
    assert trainer.current_epoch == 2
    assert sum("in float64" in str(warning.message) for warning in caught) == 1
    with pytest.raises(TypeError, match=said):
        make_trainer([MixedPrecision(on_drift="stop")]).fit(Renamed(), **loaders)


def test_a_module_without_forward_cannot_be_shown(loaders, make_trainer):
    class Blind(Own):
        forward = LightningModule.forward

        def probe_losses(self, batch):
            x, y = self.unpack(batch)
            return cross_entropy(self.head(self.layer(self.pre(x))), y, reduction="none")

    with pytest.raises(TypeError, match=r"Blind must define forward\(inputs\)"):
        make_trainer([PhotonicInspector()]).fit(Blind(), **loaders)


def test_nothing_photonic_is_nothing_to_compare(loaders, make_trainer):
    model = Own()
    model.layer = nn.Linear(2, 4)
    with pytest.warns(UserWarning, match="compares nothing: Own has no photonic parameters"):
        make_trainer([GradientImbalanceMonitor()]).fit(model, **loaders)


@pytest.mark.parametrize("how", ["wrapped", "in place", "around"])
def test_compiled_parts_are_not_checkpointed(loaders, make_trainer, how):
    model = Own()
    if how == "wrapped":
        model.pre = torch.compile(model.pre, backend="eager")
    elif how == "in place":
        model.pre[0].compile(backend="eager")
    else:
        model.layer.compile(backend="eager")
    with pytest.raises(ValueError, match=r"is compiled, and torch.compile decides itself"):
        make_trainer([ActivationCheckpointing(["photonic", "pre"])]).fit(model, **loaders)


@pytest.mark.parametrize("first", ["monitor", "detector"])
def test_a_frozen_part_is_not_measured_in_either_order(loaders, make_trainer, first):
    detector = OverfittingDetector(action="freeze")
    monitor = GradientImbalanceMonitor(every_n_steps=1)
    callbacks = [monitor, detector] if first == "monitor" else [detector, monitor]
    model = Own()
    trainer = make_trainer(callbacks, max_epochs=1, log_every_n_steps=1)
    detector.setup = lambda *_, **__: detector._naming.frozen.extend(["layer"])
    trainer.fit(model, **loaders)
    assert "grad/classical_norm" in trainer.callback_metrics
    assert "grad/photonic_norm" not in trainer.callback_metrics


def test_a_checkpoint_by_parts_is_not_resumed_by_components(loaders, make_trainer, tmp_path):
    trainer = make_trainer([OverfittingDetector(every_n_steps=2)], max_epochs=3)
    trainer.fit(Own(), **loaders)
    trainer.save_checkpoint(tmp_path / "by_part.ckpt")
    again = make_trainer([OverfittingDetector(by="component")], max_epochs=4)
    with pytest.raises(ValueError, match=r"knows of .*resume with the model and the argument by="):
        again.fit(Own(), **loaders, ckpt_path=tmp_path / "by_part.ckpt")


def test_stages_refuse_an_optimizer_that_steps_everything(loaders, make_trainer):
    class Second(Own):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters())

    staged = StagedTraining([("classical", 1), ("photonic", 1)])
    with pytest.raises(ValueError, match=r"passes over parameters without .*got LBFGS"):
        make_trainer([staged]).fit(Second(), **loaders)
