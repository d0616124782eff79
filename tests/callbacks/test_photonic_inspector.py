"""Pictures of what the light does while a model trains."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from small_layers import COMPONENTS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from hybridlit import (
    ArrayDataModule,
    Experiment,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    mark_photonic,
)
from hybridlit.callbacks.photonic_inspector import PhotonicInspector

SLOW = pytest.mark.slow
ALWAYS = {"circuit", "interferometers", "phases"}
OURS = ALWAYS | {"outcomes", "modes", "phase_gradients"}


@pytest.fixture
def shown(tmp_path, data, make_trainer):
    """Train with an inspector and read the event file: steps by tag of images, and all of it."""

    def run(model, inspector=None, datamodule=data, callbacks=(), **changes):
        logger = TensorBoardLogger(tmp_path, name="run", default_hp_metric=False)
        watching = [inspector or PhotonicInspector(), *callbacks]
        trainer = make_trainer(watching, logger=logger, **changes)
        trainer.fit(model, datamodule)
        events = EventAccumulator(logger.log_dir, size_guidance={"images": 0, "tensors": 0})
        events.Reload()
        found = {
            tag.removeprefix("photonics/"): [image.step for image in events.Images(tag)]
            for tag in events.Tags()["images"]
        }
        return found, events

    return run


class Third(nn.Module):
    """A layer of another library."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 4))
        self.output_size = 4

    def forward(self, x):
        return torch.cos(x @ self.weight)


class WithThird(SequentialHybrid):
    def build_quantum(self):
        return mark_photonic(Third())


class Plain(LightningModule):
    """No template at all; its photonic layer is called with two steps a sample."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x[:, :4].sigmoid().unflatten(1, (2, 2))).sum((1, 2))

    def training_step(self, batch, batch_idx):
        return (self(batch[0]) - batch[1]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("template", "options", "place", "wanted"),
    [
        (SequentialHybrid, {}, "quantum_layer", OURS | {"readout"}),
        pytest.param(ParallelHybrid, {}, "quantum_path", OURS | {"readout"}, marks=SLOW),
        pytest.param(
            ResidualHybrid,
            {"hidden_dims": [6]},
            "quantum_residual",
            OURS | {"readout"},
            marks=SLOW,
        ),
        pytest.param(
            SequentialHybrid,
            {"output_mapping_strategy": "modgrouping"},
            "quantum_layer",
            OURS,
            marks=SLOW,
        ),
        (SequentialHybrid, {"computation_space": "unbunched"}, "quantum_layer", OURS | {"readout"}),
        (
            SequentialHybrid,
            {"output_mapping_strategy": "mode_expectations"},
            "quantum_layer",
            (OURS | {"output"}) - {"outcomes"},
        ),
        pytest.param(
            SequentialHybrid,
            {"output_mapping_strategy": "pair_correlations"},
            "quantum_layer",
            (OURS | {"output"}) - {"outcomes"},
            marks=SLOW,
        ),
        (
            SequentialHybrid,
            {"reservoir_mode": True},
            "quantum_layer",
            (OURS | {"readout"}) - {"phase_gradients"},
        ),
        (
            SequentialHybrid,
            {
                "quantum_dim": 3,
                "experiment": Experiment(n_modes=4, n_photons=2, circuit=COMPONENTS),
            },
            "quantum_layer",
            OURS | {"readout"},
        ),
        (SequentialHybrid, {"checkpoint_quantum": True}, "quantum_layer", OURS | {"readout"}),
        (WithThird, {}, "quantum_layer", {"output"}),
    ],
)
def test_every_kind_of_layer_is_shown(template, options, place, wanted, shown, make_model):
    found, events = shown(make_model(template, **options))
    matching = {tag for tag in found if tag.split("/")[0].startswith(place.split(".")[0])}
    assert matching == set(found)
    assert {tag.rpartition("/")[2] for tag in found} == wanted
    tags = events.Tags()
    if template is not WithThird:
        (text,) = [tag for tag in tags["tensors"] if tag.startswith("photonics/")]
        summary = events.Tensors(text)[0].tensor_proto.string_val[0].decode()
        assert "| modes | 4 |" in summary and "U_0" in summary
        assert [tag.rpartition("/")[2] for tag in tags["histograms"]] == ["phases"]


def test_circuits_of_a_stack_are_shown_one_by_one(shown, make_model):
    model = make_model(ParallelBankHybrid, scales=[1, 2, 3])
    found, events = shown(model, PhotonicInspector(max_circuits=2))
    each = {"outcomes", "modes", "interferometers", "phases", "phase_gradients", "readout"}
    expected = {f"quantum_layers/{k}/{what}" for k in (0, 1) for what in each}
    assert set(found) == expected | {"quantum_layers/circuit"}
    text = events.Tensors("photonics/quantum_layers/text_summary")[0]
    assert "Pictures show 2 of 3 circuits." in text.tensor_proto.string_val[0].decode()


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ({}, [0, 63, 255, 1023, 4095]),
        ({"every_n_epochs": 1000}, [0, 1000, 2000, 3000, 4000]),
        ({"epochs": [7, 3]}, [3, 7]),
    ],
)
def test_the_epochs_that_are_chosen(arguments, epochs):
    inspector = PhotonicInspector(**arguments)
    assert [epoch for epoch in range(4999) if inspector.shows(epoch)] == epochs


@pytest.mark.parametrize(
    ("inspector", "options", "steps"),
    [
        (PhotonicInspector(), {"max_epochs": 5}, [3, 19]),
        (PhotonicInspector(every_n_epochs=3), {"max_epochs": 5}, [3, 15, 19]),
        pytest.param(
            PhotonicInspector(epochs=[1, 2]), {"max_epochs": 5}, [7, 11], marks=pytest.mark.slow
        ),
        (PhotonicInspector(), {"max_epochs": -1, "max_steps": 10}, [3, 9]),
    ],
)
def test_pictures_come_when_they_are_due(inspector, options, steps, shown, make_model):
    """An epoch has 4 steps, counted from 0."""
    found, _ = shown(make_model(), inspector, **options)
    assert found["quantum_layer/outcomes"] == steps
    assert found["quantum_layer/circuit"] == [0]


@pytest.mark.slow
@pytest.mark.parametrize("template", [SequentialHybrid, ParallelBankHybrid])
def test_training_is_bit_for_bit_the_same(template, data, make_model, make_trainer):
    """With dropout and batch normalization, which feel a forward pass or a random number more."""
    results = []
    for callbacks in ([], [PhotonicInspector(every_n_epochs=1)]):
        torch.manual_seed(3)
        options = {"dropout": 0.4} if template is SequentialHybrid else {}
        model = make_model(template, **options)
        make_trainer(callbacks, max_epochs=2).fit(model, data)
        results.append([*model.state_dict().values(), torch.rand(3)])
    assert all(map(torch.equal, *results))


def test_the_histogram_holds_phases_modulo_two_pi(shown, make_model):
    model = make_model(quantum_lr=1e-9)
    with torch.no_grad():  # a gate of 1.5 pi is none of 0.5 pi
        model.quantum_layer.phases.uniform_(-2 * torch.pi, 6 * torch.pi)
    _, events = shown(model)
    (histogram,) = events.Histograms("photonics/quantum_layer/phases")
    turned = model.quantum_layer.phases.detach().double() % (2 * torch.pi)
    assert turned.max() > 1.5 * torch.pi
    value = histogram.histogram_value
    assert histogram.step == 3 and value.num == turned.numel()
    assert value.sum == pytest.approx(turned.sum().item(), rel=1e-5)
    assert value.sum_squares == pytest.approx(turned.square().sum().item(), rel=1e-5)
    assert (value.min, value.max) == pytest.approx(
        (turned.min().item(), turned.max().item()), abs=1e-5
    )


class Gradients(Callback):
    """Keeps the gradient of the last step, and what the inspector has of it after each epoch."""

    def __init__(self, inspector):
        self.inspector, self.kept = inspector, []

    def on_after_backward(self, trainer, pl_module):
        self.last = pl_module.quantum_layer.phases.grad.clone()

    def on_train_epoch_end(self, trainer, pl_module):
        self.kept.append(dict(self.inspector._gradients))


def test_gradients_are_those_of_the_last_step_before_clipping(data, make_model, make_trainer):
    inspector = PhotonicInspector()
    watch = Gradients(inspector)
    make_trainer([inspector, watch], gradient_clip_val=1e-6).fit(make_model(), data)
    assert watch.last.abs().max() > 1e-5
    assert torch.equal(watch.kept[0]["quantum_layer"], watch.last)


def test_an_epoch_that_trains_no_phases_has_no_gradients(data, make_model, make_trainer):
    inspector = PhotonicInspector()
    watch = Gradients(inspector)
    model = make_model(stages=[["both", 1], ["classical", 1]])
    make_trainer([inspector, watch], max_epochs=2).fit(model, data)
    assert [list(kept) for kept in watch.kept] == [["quantum_layer"], []]


@pytest.mark.parametrize("logger", ["csv", "none", "both"])
def test_without_tensorboard_pictures_are_files(logger, tmp_path, data, make_model, make_trainer):
    loggers = {
        "csv": CSVLogger(tmp_path, name="run"),
        "none": False,
        "both": TensorBoardLogger(tmp_path, name="run"),
    }
    inspector = PhotonicInspector(save=True if logger == "both" else None)
    trainer = make_trainer([inspector], logger=loggers[logger], max_epochs=2)
    trainer.fit(make_model(), data)
    place = Path(trainer.log_dir) / "photonics"
    files = {str(path.relative_to(place)) for path in place.rglob("*.png")}
    whats = (OURS | {"readout"}) - {"circuit"}
    assert files == {"start/quantum_layer_circuit.png"} | {
        f"epoch_000{epoch}/quantum_layer_{what}.png" for epoch in (0, 1) for what in whats
    }
    picture = np.asarray(Image.open(place / "epoch_0001" / "quantum_layer_outcomes.png"))
    assert picture.shape[2] == 3 and len(np.unique(picture)) > 50


def test_files_can_be_left_out(tmp_path, data, make_model, make_trainer):
    make_trainer([PhotonicInspector(save=False)]).fit(make_model(), data)
    make_trainer([PhotonicInspector()], fast_dev_run=True).fit(make_model(), data)
    assert not list(tmp_path.rglob("*.png"))


def test_the_probe_is_the_first_validation_batches_once(data, make_model, make_trainer):
    sizes = []

    class Look(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            probe = inspector._validation
            sizes.append((probe.size, len(inspector._training.batches)))

    # 12 rows of validation, of which the sanity check sees some before
    for most, size in ((512, 12), (7, 7)):
        inspector = PhotonicInspector(max_samples=most)
        trainer = make_trainer([inspector, Look()], max_epochs=2, num_sanity_val_steps=1)
        trainer.fit(make_model(), data)
        assert [found for found, _ in sizes[-2:]] == [size, size]
    assert inspector._validation.size == 0  # let go


def test_without_validation_training_samples_are_shown(data, make_model, make_trainer, monkeypatch):
    titles = []
    import hybridlit.analysis.pictures.panels as pictures

    original = pictures.heat_map

    def keep(values, title, *args, **options):
        titles.append(title)
        return original(values, title, *args, **options)

    monkeypatch.setattr(pictures, "heat_map", keep)
    make_trainer([PhotonicInspector()], limit_val_batches=0).fit(make_model(), data)
    assert "where photons go: quantum_layer, epoch 0, 36 training samples" in titles


def test_regression_has_bins(make_model, shown):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator)
    data = ArrayDataModule(x, x[:, :1].sin(), batch_size=10)
    model = make_model(task="regression", output_dim=1)
    found, _ = shown(model, datamodule=data)
    assert "quantum_layer/outcomes" in found


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_other_precisions(precision, shown, make_model):
    found, _ = shown(make_model(), precision=precision)
    assert {tag.rpartition("/")[2] for tag in found} == OURS | {"readout"}


def test_any_lightning_module(shown, make_model):
    layer = make_model().quantum_layer
    found, _ = shown(Plain(layer))
    assert found["layer/outcomes"] == [3]


def test_batches_that_are_no_pairs_are_refused(make_model, make_trainer):
    class Other(Plain):
        def training_step(self, batch, batch_idx):
            return super().training_step((batch["x"], 0.0), batch_idx)

    rows = [{"x": torch.rand(5)} for _ in range(6)]
    loader = torch.utils.data.DataLoader(rows, batch_size=3)
    model = Other(make_model().quantum_layer)
    with pytest.raises(TypeError, match=r"got dict; define unpack\(batch\) on Other"):
        make_trainer([PhotonicInspector()]).fit(model, loader)


def test_a_layer_that_forward_does_not_call_is_told(data, make_model, make_trainer):
    class Aside(SequentialHybrid):
        def forward(self, x):
            hidden = self.quantum_layer.probabilities(self.classical_pre(self.front_features(x)))
            return self.classical_post(self.quantum_layer.readout(hidden))

    with pytest.warns(UserWarning, match="cannot show what quantum_layer does by class"):
        make_trainer([PhotonicInspector()]).fit(make_model(Aside), data)


def test_a_model_without_photons_is_told(data, make_model, make_trainer, tmp_path):
    with pytest.warns(UserWarning, match="SequentialHybrid has no photonic module"):
        make_trainer([PhotonicInspector()]).fit(make_model(quantum="mlp"), data)
    assert not list(tmp_path.rglob("*.png"))


def test_epochs_that_are_never_reached_are_told(data, make_model, make_trainer):
    with pytest.warns(UserWarning, match=r"max_epochs=1 ends before epochs \[3\]"):
        make_trainer([PhotonicInspector(epochs=[0, 3])]).fit(make_model(), data)


def test_without_matplotlib_only_the_drawing_is_missing(shown, make_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    found, events = shown(make_model())
    assert {tag.rpartition("/")[2] for tag in found} == (OURS | {"readout"}) - {"circuit"}
    assert "photonics/quantum_layer/text_summary" in events.Tags()["tensors"]


def test_an_inspector_serves_one_fit_after_another(shown, make_model):
    inspector = PhotonicInspector()
    for _ in range(2):
        found, _ = shown(make_model(), inspector, max_epochs=2)
        assert found["quantum_layer/modes"] == [3, 7]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": [1], "every_n_epochs": 2}, ValueError, "give epochs or every_n_epochs"),
        ({"epochs": 3}, TypeError, "epochs must be a list"),
        ({"epochs": [-1]}, ValueError, "each of epochs must be at least 0"),
        ({"every_n_epochs": 0}, ValueError, "every_n_epochs must be at least 1"),
        ({"max_samples": 0}, ValueError, "max_samples must be at least 1"),
        ({"max_circuits": 1.5}, TypeError, "max_circuits must be an integer"),
        ({"save": "yes"}, TypeError, "save must be True or False or None"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        PhotonicInspector(**arguments)


@pytest.mark.slow
def test_the_first_of_several_processes_draws(tmp_path, data, make_model, make_trainer):
    trainer = make_trainer([PhotonicInspector()], strategy="ddp_spawn", devices=2, max_epochs=2)
    trainer.fit(make_model(), data)
    pictures = {path.name for path in (tmp_path / "photonics" / "epoch_0001").iterdir()}
    whats = (OURS | {"readout"}) - {"circuit"}
    assert pictures == {f"quantum_layer_{what}.png" for what in whats}
