"""What is said after the first epoch about targets that do not fit the task, and what is not."""

import re
import warnings

import pytest
import torch
from torch import nn

from hybridlit import ArrayDataModule, SequentialHybrid


def advice(model, data, make_trainer, **options):
    """Return what a run warns of that is about targets or classes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_trainer(max_epochs=2, **options).fit(model, data)
    found = [str(w.message) for w in caught]
    return [text for text in found if "output_dim" in text or "training targets" in text]


def make(task="multiclass", output_dim=3):
    return SequentialHybrid(2, 2, output_dim, n_modes=4, n_photons=2, task=task)


def rows(targets, **options):
    return ArrayDataModule(torch.randn(len(targets), 2), targets, batch_size=16, **options)


def test_classes_that_never_occur_are_named_once(make_trainer):
    said = advice(make(output_dim=5), rows(torch.arange(90) % 3), make_trainer)
    assert len(said) == 1
    assert "output_dim=5, and no training target of this epoch is of class 3, 4" in said[0]
    assert "give output_dim=3 if there are only 3" in said[0]
    assert not advice(make(output_dim=3), rows(torch.arange(90) % 3), make_trainer)


@pytest.mark.parametrize("options", [dict(limit_train_batches=1), dict(max_steps=1)])
def test_a_part_of_an_epoch_says_nothing_about_classes(options, make_trainer):
    assert not advice(make(output_dim=3), rows(torch.arange(90) % 3), make_trainer, **options)
    assert not advice(make(output_dim=5), rows(torch.arange(90) % 3), make_trainer, **options)


def test_regression_on_yes_or_no_is_told_of_the_binary_task(make_trainer):
    data = rows((torch.arange(90) % 2).float())
    (said,) = advice(make("regression", 1), data, make_trainer)
    assert "0 or 1" in said and "task='binary'" in said
    assert not advice(make("binary", 1), data, make_trainer)


@pytest.mark.parametrize(("mean", "std"), [(150, 77), (0, 1e-4), (-20, 3)])
def test_targets_far_off_scale_are_told_to_be_scaled(mean, std, make_trainer):
    torch.manual_seed(0)
    targets = mean + std * torch.randn(90, dtype=torch.float64)
    data = rows(targets, target_scaling=None)
    (said,) = advice(make("regression", 1), data, make_trainer)
    found = re.search(r"mean (\S+) and standard deviation (\S+),", said)
    seen = data.train[1].double()
    assert float(found[1]) == pytest.approx(seen.mean().item(), rel=0.01)
    assert float(found[2]) == pytest.approx(seen.std(correction=0).item(), rel=0.01)
    assert "target_scaling='standard'" in said
    for scaled in (dict(), dict(target_scaling="minmax")):
        assert not advice(make("regression", 1), rows(targets, **scaled), make_trainer)


def test_targets_of_ordinary_size_are_not_commented_on(make_trainer):
    for scale in (0.1, 1.0, 5.0):
        data = rows(scale * torch.randn(90, 2, dtype=torch.float64), target_scaling=None)
        assert not advice(make("regression", 2), data, make_trainer)


def test_targets_that_a_subclass_prepares_otherwise_are_left_alone(make_trainer):
    class Smoothed(SequentialHybrid):
        def prepare_targets(self, outputs, targets):
            return nn.functional.one_hot(targets, 3).float() * 0.9 + 0.1 / 3

        def loss(self, outputs, targets):
            return nn.functional.cross_entropy(outputs, targets)

        def build_metrics(self):
            from torchmetrics import MeanSquaredError, MetricCollection

            return MetricCollection({"mse": MeanSquaredError()})

    model = Smoothed(2, 2, 3, n_modes=4, n_photons=2)
    assert not advice(model, rows(torch.arange(90) % 3), make_trainer)


def test_looking_changes_nothing(make_trainer, monkeypatch):
    def trained():
        torch.manual_seed(0)
        model = make(output_dim=5)
        make_trainer(max_epochs=2).fit(model, rows(torch.arange(90) % 3))
        return model.state_dict()

    with_advice = trained()
    monkeypatch.setattr(SequentialHybrid, "on_train_epoch_end", lambda self: None)
    monkeypatch.setattr("hybridlit.templates.tasks.FirstTargets.add", lambda *_: None)
    without = trained()
    assert all(torch.equal(value, without[name]) for name, value in with_advice.items())


def test_a_batch_of_one_row_and_batch_norm_of_ones_own_names_the_remedies(make_trainer):
    class Own(SequentialHybrid):
        def build_classical_pre(self):
            return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sigmoid())

    model = Own(2, 2, 3, n_modes=4, n_photons=2)
    x, y = torch.randn(33, 2), torch.arange(33) % 3
    data = ArrayDataModule(x, y, batch_size=16, val_fraction=0, test_fraction=0)
    with pytest.raises(ValueError, match=r"one row .* drop_last=True .*\.RowSafeBatch"):
        make_trainer().fit(model, data)
    data = ArrayDataModule(x, y, batch_size=16, val_fraction=0, test_fraction=0, drop_last=True)
    make_trainer(max_epochs=2).fit(model, data)


def test_r2_of_one_validation_row_is_explained_once(make_trainer):
    x, y = torch.randn(40, 2), torch.randn(40)
    data = ArrayDataModule(x, y, val=(x[:1], y[:1]), test_fraction=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make_trainer(max_epochs=3)
        trainer.fit(make("regression", 1), data)
    assert torch.isnan(trainer.callback_metrics["val/r2"])
    said = [str(w.message) for w in caught if "r2" in str(w.message)]
    assert len(said) == 1 and "at least two validation or test rows" in said[0]
