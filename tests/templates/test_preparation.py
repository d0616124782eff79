"""A model keeps what its data were prepared by, and speaks in the units of the data."""

import warnings

import numpy as np
import pytest
import torch

from hybridlit import ArrayDataModule, SequentialHybrid


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


def test_the_loss_of_a_subclass_need_not_know_weights(make_trainer):
    class Own(SequentialHybrid):
        def loss(self, outputs, targets):
            return (outputs - targets).abs().mean()

    one = Own(3, 2, 1, n_modes=4, n_photons=2, task="regression")
    make_trainer(max_epochs=1).fit(one, data())
