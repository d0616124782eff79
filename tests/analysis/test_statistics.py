"""Intervals and verdicts against known numbers."""

import numpy as np
import pytest

from hybridlit.analysis.statistics import Interval, interval, verdict

pytest.importorskip("scipy", reason="analysis extra")


def test_an_interval_is_students():
    """t(0.975, 4) = 2.7764 and t(0.975, 1) = 12.7062, from printed tables."""
    five = interval([1, 2, 3, 4, 5])
    assert five.mean == 3 and five.high - 3 == pytest.approx(2.7764 * np.sqrt(2.5 / 5), rel=1e-4)
    assert five.high - 3 == pytest.approx(3 - five.low)
    two = interval([0.0, 1.0])
    assert two.high - 0.5 == pytest.approx(12.7062 * np.sqrt(0.5 / 2), rel=1e-4)


def test_the_correction_of_nadeau_and_bengio():
    corrected = interval([1, 2, 3, 4, 5], test_per_train=1 / 3)
    assert corrected.high - 3 == pytest.approx(2.7764 * np.sqrt((1 / 5 + 1 / 3) * 2.5), rel=1e-4)


def test_an_interval_covers_the_truth_19_times_in_20(generator):
    intervals = [interval(row) for row in generator.normal(2.0, 3.0, (2000, 4))]
    share = np.mean([each.low <= 2.0 <= each.high for each in intervals])
    assert share == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_one_run_is_refused():
    with pytest.raises(ValueError, match="at least 2 values, got 1: run more seeds"):
        interval([0.9])


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.002, 0.030, "helps"),
        (-0.030, -0.002, "hurts"),
        (-0.030, 0.002, "inconclusive"),
        (-0.004, 0.009, "neutral"),
        (0.001, 0.009, "neutral"),
        (0.0, 0.0, "neutral"),
        (0.011, 0.012, "helps"),
    ],
)
def test_a_plain_word(low, high, word):
    difference = Interval((low + high) / 2, low, high)
    assert verdict(difference, margin=0.01) == word
