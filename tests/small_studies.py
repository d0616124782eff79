"""Models, data and ablation studies that take a second."""

import torch
from lightning.pytorch import Callback

from hybridlit import ArrayDataModule, ParallelBankHybrid, SequentialHybrid
from hybridlit.analysis.ablation.study import ablation_study

SMALL = dict(n_modes=4, n_photons=2)


def small_model(cls, **changes):
    arguments = dict(input_dim=5, output_dim=3, **SMALL)
    if cls is SequentialHybrid:
        arguments["quantum_dim"] = 2
    if cls is ParallelBankHybrid:
        arguments |= dict(scales=[1, 2])
    return cls(**(arguments | changes))


def make_data(seed=0, rows=60, **options):
    x = torch.randn(rows, 5, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return ArrayDataModule(x, y, **(dict(batch_size=12, seed=seed) | options))


class Break(Callback):
    """Here, since other processes find modules of this folder by their names."""

    def on_train_epoch_start(self, trainer, pl_module):
        raise OSError("disk full")


def study(model, data, **changes):
    options = dict(
        seeds=2,
        max_epochs=1,
        permutations=30,
        draws=2,
        baselines=False,
        progress=False,
        trainer_options=dict(accelerator="cpu"),
    )
    return ablation_study(model, data, **(options | changes))
