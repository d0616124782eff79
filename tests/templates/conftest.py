"""A tiny problem that every template can be trained on in a second."""

import pytest
import torch
from lightning.pytorch import Trainer
from process_group import LeaveGroup

from hybridlit.data import ArrayDataModule
from hybridlit.templates import SequentialHybrid


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 5, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return ArrayDataModule(x, y, batch_size=10)


@pytest.fixture
def make_model():
    def make(cls=SequentialHybrid, **changes):
        arguments = dict(input_dim=5, quantum_dim=2, output_dim=3, n_modes=4, n_photons=2)
        return cls(**(arguments | changes))

    return make


@pytest.fixture
def make_trainer(tmp_path):
    def make(**changes):
        quiet = dict(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[LeaveGroup()] if "strategy" in changes else None,
        )
        return Trainer(**(quiet | changes))

    return make
