"""Pictures of what a model predicts: when they are drawn, of which rows, and at no cost to it."""

import io

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hybridlit import ArrayDataModule, EvaluationPictures, SequentialHybrid
from hybridlit.callbacks import evaluation_pictures
from hybridlit.templates import HybridModule

pytest.importorskip("matplotlib", reason="plot extra")

PICTURES = ["confusion", "roc", "reliability"]


@pytest.fixture
def shown(tmp_path, data, make_trainer, monkeypatch):
    """Train, and return the steps of the pictures by tag, and of which rows each set was."""
    rows = []
    original = evaluation_pictures.evaluation_pictures

    def noted(model, predictions, targets, what):
        rows.append((predictions, targets, what))
        return original(model, predictions, targets, what)

    monkeypatch.setattr(evaluation_pictures, "evaluation_pictures", noted)

    def run(model, callback=None, datamodule=data, test=False, **changes):
        logger = TensorBoardLogger(tmp_path, name="run", default_hp_metric=False)
        trainer = make_trainer(
            [callback or EvaluationPictures(every_n_epochs=100)], logger=logger, **changes
        )
        trainer.fit(model, datamodule)
        if test:
            trainer.test(model, datamodule, verbose=False)
        events = EventAccumulator(logger.log_dir).Reload()
        return {tag: events.Images(tag) for tag in events.Tags()["images"]}, rows

    return run


def test_the_first_and_last_validation_and_a_test_are_shown(shown, make_model):
    images, rows = shown(make_model(), max_epochs=3, test=True)
    assert set(images) == {
        f"Score/{name}_{stage}" for name in PICTURES for stage in ("val", "test")
    }
    assert [what for *_, what in rows] == [
        "validation rows, epoch 0",
        "validation rows, epoch 2",
        "test rows",
    ]
    assert [image.step for image in images["Score/roc_val"]] == [3, 3 * 4 - 1]
    picture = Image.open(io.BytesIO(images["Score/confusion_val"][0].encoded_image_string))
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 20


@pytest.mark.slow
def test_every_n_epochs_are_shown_and_the_last(shown, make_model):
    images, rows = shown(make_model(), EvaluationPictures(every_n_epochs=2), max_epochs=4)
    assert [image.step // 4 for image in images["Score/roc_val"]] == [0, 2, 3]
    assert [what[-1] for *_, what in rows] == ["0", "2", "3"]


def test_they_are_of_what_the_metrics_were_given(shown, make_model, data):
    model = make_model()
    _, ((predictions, targets, _),) = shown(model, max_epochs=1)
    inputs, expected = data.val
    assert torch.equal(targets, expected)
    assert torch.allclose(predictions, model.eval()(inputs).softmax(-1), atol=1e-6)


def test_values_are_in_the_units_of_the_data(shown, make_model, generator):
    x = generator.normal(size=(60, 5))
    data = ArrayDataModule(x, 1000 + 50 * x[:, :1], target_scaling="standard", batch_size=20)
    model = make_model(output_dim=1, task="regression")
    images, ((predictions, targets, _),) = shown(model, datamodule=data)
    assert set(images) == {"Score/predicted_val"}
    assert targets.mean() == pytest.approx(1000, abs=50) and predictions.shape == targets.shape
    assert predictions.mean() == pytest.approx(1000, abs=200)


@pytest.mark.slow
def test_of_many_rows_the_first_are_shown_and_it_is_said(shown, make_model, data):
    images, ((_, targets, what),) = shown(make_model(), EvaluationPictures(1, max_rows=7))
    assert what == "of 12 validation rows, epoch 0"
    assert torch.equal(targets, data.val[1][:7]) and len(images) == 3


def test_a_validation_alone_is_shown(tmp_path, make_model, make_trainer, data):
    logger = TensorBoardLogger(tmp_path, name="run", default_hp_metric=False)
    make_trainer([EvaluationPictures()], logger=logger).validate(make_model(), data, verbose=False)
    tags = EventAccumulator(logger.log_dir).Reload().Tags()["images"]
    assert sorted(tags) == sorted(f"Score/{name}_val" for name in PICTURES)


def test_unless_asked_for_no_validation_of_a_training_is_shown(shown, make_model):
    images, rows = shown(make_model(), EvaluationPictures(), max_epochs=2, test=True)
    assert set(images) == {f"Score/{name}_test" for name in PICTURES} and len(rows) == 1


def test_without_validation_there_is_only_the_test(shown, make_model):
    images, _ = shown(make_model(), limit_val_batches=0, test=True)
    assert set(images) == {f"Score/{name}_test" for name in PICTURES}


def test_a_validation_step_that_returns_nothing_has_no_pictures(shown, make_model):
    class Own(SequentialHybrid):
        def validation_step(self, batch, batch_idx):
            super().validation_step(batch, batch_idx)

    assert shown(make_model(Own)) == ({}, [])


def test_a_model_that_is_no_template_is_left_alone(shown):
    class Other(LightningModule):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(5, 3)

        def training_step(self, batch, batch_idx):
            return self.linear(batch[0]).sum()

        def validation_step(self, batch, batch_idx):
            return {"loss": self.training_step(batch, batch_idx)}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    with pytest.warns(UserWarning, match="shows nothing: Other is no HybridModule"):
        assert shown(Other()) == ({}, [])


def test_nothing_is_held_after_a_run(make_model, make_trainer, data, tmp_path):
    callback = EvaluationPictures(every_n_epochs=2)
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    make_trainer([callback], logger=logger).fit(make_model(), data)
    assert callback._kept == []


def test_a_step_returns_what_its_metrics_were_given(make_model, make_trainer, data):
    seen = []

    class Watched(SequentialHybrid):
        def validation_step(self, batch, batch_idx):
            outputs = super().validation_step(batch, batch_idx)
            seen.append(outputs)
            return outputs

    make_trainer(num_sanity_val_steps=0).fit(make_model(Watched), data)
    assert issubclass(Watched, HybridModule)
    assert [set(outputs) for outputs in seen] == [{"loss", "predictions", "targets"}] * 2
    assert torch.equal(torch.cat([outputs["targets"] for outputs in seen]), data.val[1])


@pytest.mark.parametrize("value", [0, -3])
@pytest.mark.parametrize("name", ["every_n_epochs", "max_rows"])
def test_numbers_are_at_least_one(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        EvaluationPictures(**{name: value})
