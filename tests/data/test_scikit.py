import sys

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from sklearn import datasets

from hybridlit.data import SklearnDataModule
from hybridlit.templates import SequentialHybrid


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer", "diabetes"])
def test_every_data_set(name):
    module = SklearnDataModule(name, scaling=None)
    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    got = torch.cat([module.train[0], module.val[0], module.test[0]])
    assert got.shape == inputs.shape
    assert got.double().sum() == pytest.approx(inputs.sum(), rel=1e-4, abs=1e-3)
    if name != "diabetes":
        assert module.num_classes == len(set(targets))


def test_its_arguments_are_plain_and_kept_out_of_the_logs():
    module = SklearnDataModule("iris", batch_size=8, seed=3)
    assert dict(module.hparams)["dataset"] == "iris" and module.hparams.seed == 3
    assert isinstance(module, LightningDataModule)
    assert not module._log_hyperparams


def test_a_model_argument_of_the_same_name_does_not_clash(tmp_path):
    class Seeded(SequentialHybrid):
        def __init__(self, seed=1, batch_size=2, **kwargs):
            super().__init__(**kwargs)

    from lightning.pytorch.loggers import TensorBoardLogger

    trainer = Trainer(fast_dev_run=False, max_steps=1, logger=TensorBoardLogger(tmp_path))
    model = Seeded(input_dim=4, quantum_dim=2, output_dim=3, n_modes=4)
    trainer.fit(model, SklearnDataModule("iris", seed=5))
    assert trainer.global_step == 1


def test_a_checkpoint_brings_it_back(tmp_path):
    module = SklearnDataModule("wine", batch_size=8, seed=3)
    trainer = Trainer(
        max_epochs=1,
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        accelerator="cpu",
    )
    trainer.fit(SequentialHybrid(13, 2, 3, n_modes=4), module)
    path = trainer.checkpoint_callback.best_model_path
    restored = SklearnDataModule.load_from_checkpoint(path)
    assert torch.equal(restored.test[0], module.test[0])


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"dataset must be one of .* got 'mnist'"):
        SklearnDataModule("mnist")


def test_a_missing_scikit_learn_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "hybridlit\[recipes\]"'):
        SklearnDataModule("iris")
