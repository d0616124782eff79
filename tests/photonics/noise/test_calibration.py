"""The noise of a device from its counts, as the recipe finds it."""

import runpy
from pathlib import Path

import pytest
from scipy import stats

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
