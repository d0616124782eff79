"""What a recipe describes, built and trained in Python."""

import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

from hybridlit import (
    ComponentProfiler,
    ParallelHybrid,
    PhotonicInspector,
    SklearnDataModule,
    split_parameters,
)
from hybridlit.recipe import build, changed, model_of_recipe, read_recipe, train

RECIPES = Path(__file__).parents[2] / "recipes"


def wine(**changes):
    settings = read_recipe(RECIPES / "wine_parallel.yaml")
    return changed(settings, {"trainer.max_epochs": 2} | changes)


def test_built_is_what_fit_would_train(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model, data, trainer = build(wine(), accelerator="cpu", max_steps=3)
    assert type(model) is ParallelHybrid and type(data) is SklearnDataModule
    assert (trainer.max_epochs, trainer.max_steps) == (2, 3)
    assert model.hparams["n_modes"] == 5
    torch.manual_seed(0)
    again = model_of_recipe(RECIPES / "wine_parallel.yaml")
    assert all(map(torch.equal, model.parameters(), again.parameters()))
    assert not any(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_seed_decides_weights_and_split():
    first, second, other = (build(wine(), seed=seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first.model.parameters(), second.model.parameters()))
    assert not all(map(torch.equal, first.model.parameters(), other.model.parameters()))
    assert first.data.seed == 1 and other.data.seed == 2
    assert build(wine(**{"data.seed": 7})).data.seed == 7


def test_sizes_are_those_of_the_data():
    model = build(wine(**{"model.input_dim": "auto", "model.output_dim": "auto"})).model
    assert (model.hparams["input_dim"], model.hparams["output_dim"]) == (13, 3)


def test_callbacks_of_the_recipe_stay_except_those_of_files():
    callbacks = [
        {"class_path": "HybridCheckpoint"},
        {"class_path": "LearningRateMonitor"},
        {"class_path": "PhotonicInspector"},
        {"class_path": "ComponentProfiler"},
        {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss"}},
    ]
    mine = Callback()
    trainer = build(wine(**{"trainer.callbacks": callbacks}), callbacks=[mine]).trainer
    assert any(isinstance(each, EarlyStopping) for each in trainer.callbacks)
    assert mine in trainer.callbacks and trainer.checkpoint_callback is None
    writers = (PhotonicInspector, ComponentProfiler)
    assert not any(isinstance(each, writers) for each in trainer.callbacks)


def test_a_training_is_scored_at_its_best_validation():
    found = train(wine(**{"trainer.max_epochs": 6}), seed=3)
    history = found.training.history
    assert len(history) == found.training.epochs == 6
    assert found.training.lowest == min(history)
    assert history.index(min(history)) + 1 == found.training.best_epoch
    inputs, targets = found.data.val
    with torch.no_grad():
        outputs = found.model(inputs)
    assert torch.nn.functional.cross_entropy(outputs, targets).item() == pytest.approx(
        found.training.lowest, rel=1e-5
    )
    right = (outputs.argmax(1) == targets).double().mean().item()
    assert found.metric == "acc" and found.validation == pytest.approx(right)
    assert len(found.tested.rows) == len(found.data.test[0])
    assert found.test_per_train == len(found.data.test[0]) / len(found.data.train[0])
    trainable = sum(p.numel() for p in found.model.parameters() if p.requires_grad)
    assert found.parameters == trainable
    photonic = split_parameters(found.model)["photonic"].values()
    assert 0 < found.photonic_parameters == sum(p.numel() for p in photonic) < trainable
    state, environment = torch.get_rng_state(), dict(os.environ)
    again = train(wine(**{"trainer.max_epochs": 6}), seed=3, test=False)
    assert again.training.history == history and again.tested is None
    assert torch.equal(torch.get_rng_state(), state) and dict(os.environ) == environment


def test_without_validation_rows_the_last_weights_count():
    found = train(wine(**{"data.val_fraction": 0.0}))
    assert found.validation is None and found.training.history == ()
    assert found.tested is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.n_photon": 2}, "ParallelHybrid has no argument 'n_photon' .did you mean"),
        ({"model.class_path": "ParalelHybrid"}, "no class 'ParalelHybrid' .did you mean"),
        ({"trainer.max_epoch": 2}, "no setting 'trainer.max_epoch'.*mean 'trainer.max_epochs'"),
        ({"model.experiment.n_photons": 1}, "^input_state must hold n_photons=1"),
        ({"model": None}, "no section 'model'"),
    ],
)
def test_what_cannot_be_built_is_said_in_a_line(changes, said):
    with pytest.raises(ValueError, match=said) as error:
        build(wine(**changes))
    assert "\n" not in str(error.value)
