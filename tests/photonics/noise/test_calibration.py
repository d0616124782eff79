"""The noise of a device from its counts, as the recipe finds it."""

import runpy
from pathlib import Path

import pytest

RECIPE = runpy.run_path(str(Path(__file__).parents[3] / "recipes" / "calibrate_noise.py"))


@pytest.mark.slow
def test_a_million_counts_say_each_number_to_a_hundredth():
    for name, (value, error) in RECIPE["main"](1_000_000).items():
        truth = RECIPE["DEVICE"][name]
        assert abs(value - truth) < 0.01 * truth
        assert error < 0.006 * truth


@pytest.mark.slow
def test_standard_errors_are_what_results_scatter_by():
    """Chi-square of 3 numbers from 20 devices' counts, at a probability of 1e-4 on each side."""
    total = 0.0
    for seed in range(20):
        found = RECIPE["main"](100_000, seed, 5)
        deviations = [
            (value - RECIPE["DEVICE"][name]) / error for name, (value, error) in found.items()
        ]
        total += sum(each**2 for each in deviations)
    assert 20 < total < 130  # correlated, so wider than 60 numbers of their own


def test_exact_counts_give_the_device_exactly():
    import torch

    device = RECIPE["circuit"](RECIPE["DEVICE"])
    settings = torch.rand(2, 3, dtype=torch.float64)
    counts = 1e5 * device.probabilities(settings)
    start = RECIPE["circuit"](RECIPE["START"], tuple(RECIPE["START"]))
    for name, (value, _) in RECIPE["fit"](start, settings, counts).items():
        assert abs(value - RECIPE["DEVICE"][name]) < 1e-3
