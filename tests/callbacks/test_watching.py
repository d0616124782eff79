"""Nothing that watches changes training by a bit: all callbacks that steer nothing, together."""

import random

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger

import hybridlit.callbacks
from hybridlit import ParallelHybrid, ResidualHybrid, SequentialHybrid

pytest.importorskip("matplotlib", reason="plot extra")

STEERING = {"AlternatingTraining", "WarmStart"}
OPTIONS = {
    "ComponentProfiler": dict(warmup=0, steps=2),
    "EvaluationPictures": dict(every_n_epochs=1),
    "GradientImbalanceMonitor": dict(every_n_steps=1),
    "MixedPrecision": dict(every_n_steps=1),
    "OverfittingDetector": dict(every_n_steps=2),
    "PhotonicInspector": dict(every_n_epochs=1),
}
"""So that each has something to do in two epochs of four steps."""

MODELS = {
    "sequential": (SequentialHybrid, dict(dropout=0.3)),
    "parallel": (
        ParallelHybrid,
        dict(
            fusion="gated",
            hidden_dims=[8, 6],
            path_dropout=0.2,
            class_weights="balanced",
            metrics=["f1", "auroc"],
            quantum_optimizer="torch.optim.SGD",
            gradient_clip={"photonic": 0.1},
            schedule={"class_path": "torch.optim.lr_scheduler.OneCycleLR"},
        ),
    ),
    "residual": (ResidualHybrid, dict(normalization="standard")),
}


def watching():
    classes = {name: getattr(hybridlit.callbacks, name) for name in hybridlit.callbacks.__all__}
    return [
        kind(**OPTIONS.get(name, {}))
        for name, kind in classes.items()
        if isinstance(kind, type) and issubclass(kind, Callback) and name not in STEERING
    ]


def trained(callbacks, case, make_model, make_trainer, data, tmp_path):
    """All that a training leaves: weights, states, what is drawn next, and what was measured."""
    seed_everything(3, verbose=False)
    cls, options = MODELS[case]
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    trainer = make_trainer(
        callbacks, max_epochs=2, logger=logger, log_every_n_steps=1, enable_checkpointing=True
    )
    model = make_model(cls, **options)
    trainer.fit(model, data)
    metrics = {
        name: value
        for name, value in trainer.callback_metrics.items()
        if name.startswith(("train/", "val/", "fusion/"))
    }
    drawn = [torch.rand(2), torch.from_numpy(np.random.rand(2)), torch.tensor(random.random())]
    states = [
        value
        for state in trainer.optimizers[0].state_dict()["state"].values()
        for value in state.values()
    ]
    return [*model.state_dict().values(), *metrics.values(), *states, *drawn]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case != "parallel")) for case in MODELS]
)
def test_all_of_them_together_leave_no_trace(case, make_model, make_trainer, data, tmp_path):
    given = case, make_model, make_trainer, data, tmp_path
    expected = trained([], *given)
    callbacks = watching()
    assert len(callbacks) == 10
    found = trained(callbacks, *given)
    assert len(found) == len(expected) and all(map(torch.equal, found, expected))
