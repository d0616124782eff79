"""Whatever a block does to a model and to random numbers, nothing of it is left."""

import copy
import os
import random

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything
from model_state import same, snapshot
from torch import nn

from hybridlit import SequentialHybrid
from hybridlit.undisturbed import undisturbed


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    model(torch.randn(8, 3)).sum().backward()
    model[3].bias.grad = None
    model[0].bias.requires_grad_(False)
    model[1].eval()
    return model


def disturb(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.train().requires_grad_()
    model(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    model.zero_grad()
    model.eval()
    random.random()
    np.random.rand()


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_all_is_as_before(model, error):
    before, parameters = snapshot(model), list(model.parameters())
    try:
        with undisturbed(model, whole=True):
            disturb(model)
            assert not same(snapshot(model), before)
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert same(snapshot(model), before)
    assert all(now is then for now, then in zip(model.parameters(), parameters, strict=True))


@pytest.mark.parametrize("given", [{}, {"PL_GLOBAL_SEED": "7"}])
def test_a_seed_of_lightning_is_not_left_for_later_trainings(given, monkeypatch):
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with undisturbed():
        seed_everything(1, workers=True, verbose=False)
        assert os.environ["PL_GLOBAL_SEED"] == "1"
    assert dict(os.environ) == before


class RunningMean(nn.Module):
    """Assigns its buffer anew in each forward pass."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x * self.weight - self.mean


def test_what_is_assigned_anew_gives_way_to_what_was_there():
    model = RunningMean()
    mean, weight = model.mean, model.weight
    with undisturbed(model, whole=True):
        model(torch.ones(3, 2))
        assert model.mean.sum() > 0
        model.weight = nn.Parameter(torch.full((2,), 5.0))
        model.register_buffer("other", torch.ones(1))
    assert model.mean is mean and not mean.any()
    assert model.weight is weight and torch.equal(weight, torch.ones(2))
    assert list(model.state_dict()) == ["weight", "mean"] and not hasattr(model, "other")


def test_expanded_buffers_are_restored():
    model = nn.Linear(2, 2)
    base = torch.tensor([[1.0], [torch.nan]])
    model.register_buffer("wide", base.expand(2, 4))
    with undisturbed(model, whole=True):
        base.fill_(7.0)
        assert model.wide.sum() == 56
    wanted = torch.tensor([[1.0] * 4, [torch.nan] * 4])
    assert torch.equal(model.wide.nan_to_num(9.0), wanted.nan_to_num(9.0))
    assert model.wide.stride() == (1, 0)


class OwnLog(nn.Module):
    """A method and a submodule with the names of what a LightningModule logs with."""

    def __init__(self):
        super().__init__()
        self.log_dict = nn.Linear(2, 2)

    def log(self, x):
        return torch.log1p(x.square())

    def forward(self, x):
        return self.log(self.log_dict(x))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_a_module_calls_log_is_its_own(whole, compiled):
    model = OwnLog()
    x = torch.rand(3, 2)
    expected = model(x)
    looked_at = torch.compile(model, backend="eager") if compiled else model
    with undisturbed(looked_at, evaluation=True, whole=whole):
        assert not model.training
        assert torch.equal(looked_at(x), expected)
        assert torch.equal(copy.deepcopy(model)(x), expected)
    assert model.training and "log" not in vars(model)


def test_a_silent_module_logs_nothing_and_logs_again():
    model = SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2)
    with undisturbed(model, silent=True):
        model.log("loss", torch.zeros(()))  # without a Trainer it would warn
        model.log_dict({"loss": torch.zeros(())})
    assert model.log.__func__ is LightningModule.log


def test_generators_are_restored_and_cuda_is_not_begun(monkeypatch):
    def begun(*_):
        raise AssertionError("CUDA is begun")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", begun)
    generator = torch.Generator().manual_seed(3)
    states = torch.get_rng_state(), generator.get_state(), random.getstate()
    with undisturbed(generators=[generator]):
        torch.rand(5), torch.rand(5, generator=generator), random.random(), np.random.rand()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(generator.get_state(), states[1]) and random.getstate() == states[2]


def test_a_normal_number_of_numpy_that_waits_goes_on_waiting():
    """It is no part of the words and the position of the generator."""
    np.random.seed(0)
    np.random.standard_normal()
    waiting = np.random.get_state()[3:]
    assert waiting[0] == 1
    for inside in (np.random.standard_normal, np.random.rand, lambda: None):
        with undisturbed():
            inside()
            with undisturbed():
                pass
            inside()
        assert np.random.get_state()[3:] == waiting
