"""A datamodule that an analysis has set up stays as it is until the analysis ends."""

from typing import ClassVar

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, TensorDataset, random_split

from hybridlit import ParallelHybrid
from hybridlit.analysis.ablation.study import ablation_study
from hybridlit.analysis.splits import loader_of, prepared


class Resplit(LightningDataModule):
    """Draws another split whenever it is set up, and forgets it when it is torn down."""

    def __init__(self):
        super().__init__()
        x = torch.arange(40.0)[:, None].expand(-1, 3).contiguous() / 40
        self.rows, self.calls = TensorDataset(x, torch.arange(40) % 2), []

    def prepare_data(self):
        self.calls.append("prepare_data")

    def setup(self, stage):
        self.calls.append(stage)
        self.train, self.test = random_split(self.rows, [28, 12])

    def teardown(self, stage):
        self.calls.append("teardown")
        del self.train, self.test

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=14)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=12)


def make():
    return ParallelHybrid(input_dim=3, output_dim=2, n_modes=4, n_photons=2)


def fit(model, data):
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet).fit(model, data)


def test_a_fit_does_not_draw_another_split():
    data = Resplit()
    with prepared(data):
        before = list(data.train.indices)
        fit(make(), data)
        assert data.train.indices == before
        with prepared(data):
            assert data.train.indices == before
        fit(make(), data)
        assert data.train.indices == before
    assert data.calls == ["prepare_data", "fit", "test"]
    data.setup("fit")
    assert data.calls[-1] == "fit" and not {"prepare_data", "setup", "teardown"} & set(vars(data))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_gives_the_methods_back(error):
    data, own = Resplit(), lambda stage: None
    data.teardown = own
    with pytest.raises(error), prepared(data):
        raise error
    assert data.teardown is own and "setup" not in vars(data)


class Noted(ParallelHybrid):
    """Keeps the rows that it is run on, of all its copies."""

    seen: ClassVar = {True: set(), False: set()}

    def forward(self, x):
        self.seen[self.training].update(x[:, 0].tolist())
        return super().forward(x)


def test_arms_are_not_trained_on_test_rows():
    model, data = Noted(input_dim=3, output_dim=2, n_modes=4, n_photons=2), Resplit()
    for rows in Noted.seen.values():
        rows.clear()
    with prepared(data):
        test = {data.rows[i][0][0].item() for i in data.test.indices}
        options = dict(posthoc=False, retrained=["linear"], seeds=2, max_epochs=1, progress=False)
        ablation_study(model, data, **options)
    assert Noted.seen[True] and not Noted.seen[True] & test
    assert test <= Noted.seen[False]


class Several(LightningDataModule):
    """Has any number of loaders for the test data."""

    def __init__(self, loaders):
        super().__init__()
        self.loaders = loaders

    def test_dataloader(self):
        return self.loaders

    train_dataloader = test_dataloader


def test_a_split_has_one_loader_or_the_first_of_several():
    first, second = DataLoader(torch.rand(4, 2)), DataLoader(torch.rand(5, 2))
    assert loader_of(Several(first), "test") is first
    assert loader_of(Several([first]), "test") is first
    assert list(loader_of(Several([]), "test")) == list(loader_of(Several(first), "val")) == []
    for several, words in (([first, second], "list of 2"), ({"a": first}, "dict of 1")):
        assert loader_of(Several(several), "test") is first
        with pytest.raises(
            ValueError, match=f"train_dataloader must return one loader, got a {words}"
        ):
            loader_of(Several(several), "train")
