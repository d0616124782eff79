"""The cost of a section of a recipe is that of the model that it describes."""

import pytest
import torch

from hybridlit import ArrayDataModule, ParallelHybrid, SequentialHybrid
from hybridlit.photonics import sizes as memory
from hybridlit.photonics.speed import Speed, assume_speed
from hybridlit.recipe import cost_of_model
from hybridlit.templates.sizes import Sizes, sizes_of


@pytest.fixture(autouse=True)
def known_speed():
    """Measuring takes seconds, and its result does not matter here."""
    for dtype in ("float32", "float64"):
        assume_speed(Speed(dtype, 1e-4, (10**4, 10**8), (5e-10, 1e-9), 5e-10, 5e-6, 2e-11, 2e-10))
    yield
    assume_speed(None)


def section(**arguments):
    auto = dict(input_dim="auto", output_dim="auto", quantum_dim=3)
    return {"class_path": "SequentialHybrid", "init_args": auto | arguments}


def test_sizes_of_the_data_are_filled_in(data):
    found = cost_of_model(section(n_modes=5), data, batch_size=16)
    model = SequentialHybrid(5, 3, 3, n_modes=5)
    assert found == model.cost(16)
    assert cost_of_model(section(n_modes=5), sizes_of(data), 16) == found
    assert cost_of_model(section(n_modes=5), Sizes((5,), 1, 3, "rows"), 16) == found


def test_double_precision_takes_twice_the_memory(data):
    single, double = (
        cost_of_model(section(n_modes=8), data, 256, dtype)
        for dtype in (torch.float32, torch.float64)
    )
    assert double.peak_bytes == pytest.approx(2 * single.peak_bytes, rel=0.05)


def test_nothing_large_is_built(data, monkeypatch):
    """A circuit that would be refused on this machine has a cost all the same."""
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    found = cost_of_model(section(n_modes=24, n_photons=12), data)
    assert found.states == 834_451_800
    assert found.peak_bytes > 2**34


def test_metrics_by_class_path_and_named_inputs(data):
    metrics = [{"class_path": "torchmetrics.CohenKappa"}]
    assert cost_of_model(section(metrics=metrics), data).parameters > 0
    named = Sizes((5,), 1, 3, "rows", inputs={"a": [2], "b": [3]})
    assert cost_of_model(section(), named).states == 56


def test_wrong_arguments_are_those_of_the_class(data):
    with pytest.raises(ValueError, match=r"SequentialHybrid.*n_mode.*n_modes"):
        cost_of_model(section(n_mode=5), data)
    with pytest.raises(ValueError, match="n_photons must be at least 1"):
        cost_of_model(section(n_photons=0), data)


def test_regression_needs_no_classes():
    data = ArrayDataModule(torch.randn(40, 6), torch.randn(40, 2))
    arguments = dict(input_dim="auto", output_dim="auto", task="regression")
    found = cost_of_model({"class_path": "ParallelHybrid", "init_args": arguments}, data, 8)
    assert found == ParallelHybrid(6, 2, task="regression").cost(8)
