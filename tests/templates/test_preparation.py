"""A model keeps what its data were prepared by, and speaks in the units of the data."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import ArrayDataModule, ExactResume, SequentialHybrid


def data(seed=0, offset=2000.0, **options):
    generator = np.random.default_rng(0)
    rows = generator.normal(5, 3, (120, 3))
    targets = offset + 10 * rows[:, 0] + generator.normal(size=120)
    return ArrayDataModule(rows, targets, seed=seed, batch_size=16, **options)


def model(**options):
    torch.manual_seed(0)
    return SequentialHybrid(3, 2, 1, n_modes=4, n_photons=2, task="regression", **options)


def test_metrics_and_predictions_are_in_the_units_of_the_targets(make_trainer):
    module, one = data(), model()
    trainer = make_trainer(max_epochs=3)
    trainer.fit(one, module)
    (found,) = trainer.test(one, module, verbose=False)
    scaled = one.eval()(module.test[0]).detach().double()[:, 0]
    scaler = module.preprocessing.targets.scaler
    values = (scaled * scaler.scale + scaler.offset).numpy()
    wanted = module.preprocessing.targets.inverse(module.test[1]).numpy()
    assert abs(wanted.mean() - 2050) < 20
    assert found["test/rmse"] == pytest.approx(np.sqrt(((values - wanted) ** 2).mean()), rel=1e-4)
    r2 = 1 - ((values - wanted) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum()
    assert found["test/r2"] == pytest.approx(r2, abs=1e-4)
    assert found["test/loss"] < 5
    predicted = torch.cat(trainer.predict(one, module))[:, 0]
    assert predicted.dtype == torch.float32
    np.testing.assert_allclose(predicted, values, rtol=1e-6)


def test_a_checkpoint_holds_it_and_a_state_dict_does_not(make_trainer, tmp_path):
    module, one = data(), model()
    trainer = make_trainer(max_epochs=1)
    trainer.fit(one, module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    torch.load(tmp_path / "a.ckpt", weights_only=True)
    again = SequentialHybrid.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.preprocessing.same_as(module.preprocessing)
    assert set(one.state_dict()) == set(model().state_dict())


def test_data_prepared_by_other_rows_are_told(make_trainer):
    module, one = data(), model()
    trainer = make_trainer(max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ".*many workers.*|.*logging interval.*")
        trainer.fit(one, module)
        trainer.test(one, module, verbose=False)
    with pytest.warns(UserWarning, match="prepared by other training rows than the model's"):
        trainer.test(one, data(seed=1), verbose=False)
    with pytest.warns(UserWarning, match="prepared otherwise than those that the model was"):
        make_trainer(max_epochs=1).fit(one, data(seed=1))
    assert one.preprocessing.same_as(data(seed=1).preprocessing)


def test_other_columns_or_classes_are_refused(make_trainer):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    table = pd.DataFrame(rows, columns=["a", "b", "c"])
    classes = np.arange(60) % 3
    one = SequentialHybrid(3, 2, 3, n_modes=4, n_photons=2)
    trainer = make_trainer()
    trainer.fit(one, ArrayDataModule(table, classes))
    with pytest.raises(ValueError, match=r"other columns .* raw rows to model\.predict"):
        trainer.test(one, ArrayDataModule(table[["b", "a", "c"]], classes), verbose=False)
    with pytest.raises(ValueError, match="other columns"):
        trainer.predict(one, ArrayDataModule(table.assign(d=1.0 * classes), classes))
    with pytest.warns(UserWarning, match="prepared by other training rows"):  # fewer classes
        trainer.validate(one, ArrayDataModule(table, classes % 2), verbose=False)
    one.preprocessing.targets.classes = ["x", "y", "z"]
    with pytest.raises(ValueError, match="other classes"):
        trainer.test(one, ArrayDataModule(table, classes), verbose=False)


def test_a_resumed_run_is_the_uninterrupted_one(make_trainer, tmp_path):
    def weights(trainer, module, ckpt=None):
        one = model(dropout=0.3)
        trainer.fit(one, module, ckpt_path=ckpt)
        return one

    whole = weights(make_trainer([ExactResume()], max_epochs=4), data())
    half = make_trainer([ExactResume()], max_epochs=2)
    weights(half, data())
    half.save_checkpoint(tmp_path / "half.ckpt")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*prepared.*")
        resumed = weights(
            make_trainer([ExactResume()], max_epochs=4), data(), tmp_path / "half.ckpt"
        )
    expected = resumed.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in whole.state_dict().items())
    assert resumed.preprocessing.same_as(whole.preprocessing)
    raw = np.random.default_rng(1).normal(5, 3, (7, 3))
    assert resumed.predict(raw).columns == whole.predict(raw).columns


def test_weights_of_rows_weigh_the_loss(make_trainer):
    one = model()
    outputs, targets = torch.randn(5, 1), torch.randn(5, 1)
    weights = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.0])
    expected = (weights * (outputs - targets).square()[:, 0]).sum() / weights.sum()
    torch.testing.assert_close(one.loss_of((None, None, weights), outputs, targets), expected)
    torch.testing.assert_close(
        one.loss_of((None, None, torch.full((5,), 3.0)), outputs, targets),
        one.loss(outputs, targets),
    )
    assert one.loss_of((None, None, torch.zeros(5)), outputs, targets) == 0
    chosen = SequentialHybrid(3, 2, 4, n_modes=4, n_photons=2)
    logits, classes = torch.randn(5, 4), torch.tensor([0, 3, 1, 2, 2])
    losses = torch.nn.functional.cross_entropy(logits, classes, reduction="none")
    expected = (weights * losses).sum() / weights.sum()
    torch.testing.assert_close(chosen.loss(logits, classes, weights), expected)
    yes = SequentialHybrid(3, 2, 1, n_modes=4, n_photons=2, task="binary")
    labels = torch.tensor([0.0, 1, 1, 0, 1])[:, None]
    losses = torch.nn.functional.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
    expected = (weights * losses[:, 0]).sum() / weights.sum()
    torch.testing.assert_close(yes.loss(outputs, labels, weights), expected)


def test_the_weighted_loss_of_an_epoch_is_that_of_any_batch_size(make_trainer):
    one = model().eval()
    inputs, targets = torch.randn(12, 3), torch.randn(12, 1)
    weights = torch.tensor([0.0, 0, 0, 3, 1, 0, 0.5, 0, 0, 0, 0, 2])  # none in three batches of two
    for size in (2, 5, 12):
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(inputs, targets, weights), batch_size=size
        )
        found = make_trainer(max_epochs=1).test(one, loader, verbose=False)[0]["test/loss"]
        expected = one.loss_of((None, None, weights), one(inputs), targets)
        assert found == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_of_a_subclass_need_not_know_weights(make_trainer):
    class Own(SequentialHybrid):
        def loss(self, outputs, targets):
            return (outputs - targets).abs().mean()

    one = Own(3, 2, 1, n_modes=4, n_photons=2, task="regression")
    make_trainer(max_epochs=1).fit(one, data())


def test_data_that_tell_nothing_end_the_preparation_and_loaders_of_ours_tell_it(make_trainer):
    ours, given = data(), model()
    make_trainer(max_epochs=1).fit(given, train_dataloaders=ours.train_dataloader())
    assert given.preprocessing.same_as(ours.preprocessing)
    prepared = DataLoader(TensorDataset(torch.randn(64, 3), torch.randn(64)), batch_size=32)
    trainer = make_trainer(max_epochs=1)
    with pytest.warns(UserWarning, match="do not tell how they were prepared"):
        trainer.fit(given, prepared, prepared)
    assert given.preprocessing is None
    assert trainer.callback_metrics["val/rmse"] < 5  # in the units of the first data, some 30


def test_a_fit_that_gives_weights_alone_back_says_so(make_trainer, monkeypatch):
    name = "hybridlit.templates.preparation.gets_weights_alone"
    monkeypatch.setattr(name, lambda trainer: True)
    ours = data()
    with pytest.warns(UserWarning, match=r"call model\.build\(data\) there before the fit"):
        make_trainer(max_epochs=1).fit(model(), ours)
    given = model().build(ours)
    assert given.preprocessing.same_as(ours.preprocessing)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*gets weights back")
        make_trainer(max_epochs=1).fit(given, ours)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_sums_of_scores_are_not_rounded_in_half_precision(precision, make_trainer):
    rows = np.random.default_rng(1).normal(5, 3, (4000, 3))
    ours = data(val=(rows, 2000 + 1000 * rows[:, 0]))
    given = model()
    trainer = make_trainer(max_epochs=1, precision=precision)
    trainer.fit(given, ours)
    found = trainer.callback_metrics["val/rmse"].item()
    predicted = torch.cat(trainer.predict(given, ours.val_dataloader())).double().flatten()
    error = predicted - torch.as_tensor(2000 + 1000 * rows[:, 0])
    assert found == pytest.approx(error.square().mean().sqrt().item(), rel=1e-3)


def test_a_model_is_fitted_again_after_its_validation(make_trainer):
    given, ours = model(), data()
    for _ in range(2):
        make_trainer(max_epochs=1).fit(given, ours)
        make_trainer().validate(given, ours, verbose=False)
