"""The noise of a device from its counts, as the recipe finds it."""

import runpy
from pathlib import Path

import pytest
import torch
from scipy import stats

import hybridlit as ML

RECIPE = runpy.run_path(str(Path(__file__).parents[3] / "recipes" / "calibrate_noise.py"))


@pytest.mark.slow
def test_a_million_counts_say_each_number_to_a_hundredth():
    for name, (value, error) in RECIPE["main"](1_000_000).items():
        truth = RECIPE["DEVICE"][name]
        assert abs(value - truth) < 0.01 * truth
        assert error < 0.006 * truth


@pytest.mark.slow
def test_standard_errors_are_what_results_scatter_by():
    """Of each number the chi-square of 20 devices' counts, at 1e-3 on each side.

    Numbers of one device are correlated, those of different devices are not.
    """
    total = dict.fromkeys(RECIPE["DEVICE"], 0.0)
    for seed in range(20):
        for name, (value, error) in RECIPE["main"](100_000, seed, 5).items():
            total[name] += ((value - RECIPE["DEVICE"][name]) / error) ** 2
    for name, found in total.items():
        assert 1e-3 < stats.chi2.sf(found, 20) < 1 - 1e-3, (name, found)


def test_exact_counts_give_the_device_exactly():
    import torch

    device = RECIPE["circuit"](RECIPE["DEVICE"])
    settings = torch.rand(2, 3, dtype=torch.float64)
    counts = 1e5 * device.probabilities(settings)
    start = RECIPE["circuit"](RECIPE["START"], tuple(RECIPE["START"]))
    for name, (value, _) in RECIPE["fit"](start, settings, counts).items():
        assert abs(value - RECIPE["DEVICE"][name]) < 1e-3


@pytest.mark.parametrize("far", [-200.0, 200.0])
def test_values_that_ran_to_an_end_keep_finite_gradients(far):
    noise = {"brightness": 0.9, "indistinguishability": 0.5, "g2": 0.3}
    layer = ML.QuantumLayer(
        1, n_modes=3, n_photons=2, noise={**noise, "trainable": list(noise)}, dtype=torch.float32
    )
    with torch.no_grad():
        for value in layer.noise.parameters():
            value.fill_(far)
    layer(torch.full((1, 1), 0.3)).square().sum().backward()
    assert all(value.grad.isfinite().all() for value in layer.noise.parameters())
    assert layer.noise.present.g2 < 0.5
