"""Several validation and test loaders: the first is as one alone, the others have a name."""

import pytest
import torch
from lightning.pytorch import LightningDataModule

from hybridlit import ArrayDataModule, HybridCheckpoint, SequentialHybrid
from hybridlit.analysis.splits import batches_of


class Several(LightningDataModule):
    """The rows of a data module, and as validation and test data those of others as well."""

    def __init__(self, first, *others, names=None):
        super().__init__()
        self.modules, self.names = [first, *others], names

    def _loaders(self, name):
        found = [getattr(each, name)() for each in self.modules]
        return found if self.names is None else dict(zip(self.names, found, strict=True))

    def train_dataloader(self):
        return self.modules[0].train_dataloader()

    def val_dataloader(self):
        return self._loaders("val_dataloader")

    def test_dataloader(self):
        return self._loaders("test_dataloader")

    def predict_dataloader(self):
        return self._loaders("test_dataloader")


def rows(seed, count=60):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, generator=generator)
    return ArrayDataModule(x, (x[:, 0] > seed / 2).long(), scaling=None, batch_size=8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SequentialHybrid(5, 2, 2, n_modes=4, n_photons=2, metrics=["acc", "auroc", "mcc"])


@pytest.mark.parametrize("names", [None, ["own", "night", "rain"]])
def test_each_loader_is_scored_as_it_is_alone(model, names, make_trainer):
    parts = [rows(0), rows(1), rows(2)]
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, Several(*parts, names=names))
    logged = dict(trainer.callback_metrics)
    tested = make_trainer().test(model, Several(*parts, names=names), verbose=False)
    ends = ["", "/dataloader_idx_1", "/dataloader_idx_2"]
    if names is not None:
        ends = ["", "/night", "/rain"]
    for part, end, found in zip(parts, ends, tested, strict=True):
        (alone,) = make_trainer().validate(model, part, verbose=False)
        for name, value in alone.items():
            assert logged[f"{name}{end}"].item() == pytest.approx(value, abs=1e-6)
        (alone,) = make_trainer().test(model, part, verbose=False)
        assert found == {f"{name}{end}": pytest.approx(v, abs=1e-6) for name, v in alone.items()}
    assert set(trainer.progress_bar_metrics) == {"loss", "val/loss", "val/acc"}


def test_more_loaders_change_neither_training_nor_the_best_checkpoint(make_trainer, tmp_path):
    def trained(data, folder):
        torch.manual_seed(0)
        model = SequentialHybrid(5, 2, 2, n_modes=4, n_photons=2, dropout=0.2)
        kept = HybridCheckpoint(dirpath=str(tmp_path / folder))
        make_trainer([kept], max_epochs=3, enable_checkpointing=True).fit(model, data)
        return kept.best_model_path.rpartition("/")[2], model.state_dict()

    (one, weights), (other, same) = (
        trained(rows(0), "one"),
        trained(Several(rows(0), rows(1)), "several"),
    )
    assert one == other
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


def test_predictions_of_each_loader(model, make_trainer):
    first, other = make_trainer().predict(model, Several(rows(0), rows(1)))
    assert sum(map(len, first)) == sum(map(len, other)) == 12


@pytest.mark.parametrize("names", [None, ["own", "night"]])
def test_analyses_take_the_first_one(names):
    parts = [rows(0), rows(1)]
    batches = batches_of(Several(*parts, names=names), "test")
    assert torch.equal(torch.cat([batch[0] for batch in batches]), parts[0].test[0])
