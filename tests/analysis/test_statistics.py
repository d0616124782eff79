"""Intervals and verdicts against known numbers."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from hybridlit.analysis.row_errors import row_errors
from hybridlit.analysis.statistics import (
    Interval,
    ends,
    holm,
    interval,
    mean_interval,
    p_value,
    row_interval,
    shown,
    verdict,
)


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


def test_a_corrected_p_value_withholds_the_verdict():
    assert verdict(Interval(0.02, 0.002, 0.038), 0.01, p=0.04) == "helps"
    assert verdict(Interval(0.02, 0.002, 0.038), 0.01, p=0.06) == "inconclusive"
    assert verdict(Interval(0.00, -0.002, 0.002), 0.01, p=0.9) == "neutral"


def test_a_p_value_is_students():
    """t = 3 / sqrt(2.5 / 5) = 4.2426 with 4 degrees of freedom has p = 0.0132, from tables."""
    assert p_value([1, 2, 3, 4, 5]) == pytest.approx(0.0132, abs=5e-5)
    assert p_value([0.0, 0.0]) == 1 and p_value([0.5, 0.5]) == 0


def test_a_p_value_agrees_with_the_interval(generator):
    for row in generator.normal(0.7, 1.0, (200, 5)):
        for share in (0.0, 0.3):
            found = interval(row, share)
            assert (p_value(row, share) < 0.05) == (found.low > 0 or found.high < 0)


def test_p_values_are_uniform_where_there_is_nothing(generator):
    found = [p_value(row) for row in generator.normal(0.0, 3.0, (2000, 4))]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_holm_by_hand():
    """0.01 * 4, 0.02 * 3, then no less than those before."""
    assert holm([0.02, 0.01, 0.025, 0.9]) == pytest.approx([0.06, 0.04, 0.06, 0.9])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8]) and holm([]) == []


def test_holm_seldom_finds_anything_in_noise(generator):
    families = generator.uniform(size=(3000, 5))
    wrong = np.mean([min(holm(list(family))) < 0.05 for family in families])
    assert wrong == pytest.approx(0.05, abs=0.015)


def test_rows_agree_with_students_where_there_are_many(generator):
    rows = generator.normal(0.1, 1.0, 500)
    found, probability = row_interval(rows, False)
    students = interval(rows)
    assert found.mean == pytest.approx(rows.mean())
    assert students.low >= found.low > students.low - 0.02
    assert students.high <= found.high < students.high + 0.02
    assert p_value(rows) <= probability < 2.5 * p_value(rows)


def test_shares_of_agresti_and_min():
    """40 rows, 8 against 2 discordant: (8.5 - 2.5) / 42 with error sqrt(11 - 36 / 42) / 42."""
    rows = [1] * 8 + [-1] * 2 + [0] * 30
    found, probability = row_interval(rows, True)
    error = np.sqrt(11 - 36 / 42) / 42
    assert found.mean == pytest.approx(6 / 40)
    assert found.low == pytest.approx(6 / 42 - 2.0227 * error, rel=1e-4)  # t(0.975, 39)
    assert found.high == pytest.approx(6 / 42 + 2.0227 * error, rel=1e-4)
    assert probability == pytest.approx(0.0671, abs=5e-4)  # t = 1.8838


def test_agreement_on_few_rows_proves_little():
    assert verdict(row_interval(np.zeros(20), True)[0], 0.01) == "inconclusive"
    assert verdict(row_interval(np.zeros(400), True)[0], 0.01) == "neutral"


@pytest.mark.slow
def test_seeds_and_rows_together_cover_the_truth(generator):
    """Five runs on the same 100 rows, with effects of the run, of the row, and of both."""
    covered = []
    for _ in range(600):
        runs, rows = generator.normal(0, 0.05, (5, 1)), generator.normal(0, 0.5, (1, 100))
        table = 0.2 + runs + rows + generator.normal(0, 0.5, (5, 100))
        found = interval(list(table.mean(1)), 0.0, row_errors(table.mean(0), shares=False))
        covered.append(found.low <= 0.2 <= found.high)
    assert np.mean(covered) == pytest.approx(0.96, abs=0.02)  # both spreads hold the third effect


def test_the_error_of_rows_is_a_part_of_the_interval():
    """Half widths 4.3027 * 0.0577 and 1.96 * 0.05, in quadrature."""
    both = interval([0.1, 0.2, 0.3], 0.0, 0.05)
    assert both.high - both.mean == pytest.approx(np.hypot(4.30265 * 0.057735, 0.097998), rel=1e-5)
    certain = interval([0.1, 0.1], 0.0, 0.05)
    assert certain.high == pytest.approx(0.1 + 1.96 * 0.05, abs=1e-4)  # normal: no spread of runs
    assert p_value([0.1, 0.1], 0.0, 0.05) == pytest.approx(0.0455, abs=1e-4)


@pytest.mark.parametrize("runs", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.0, 1.0, 2.0, 4.0])
def test_few_seeds_seldom_find_anything_in_noise(generator, runs, ratio):
    """Runs on the same 50 rows, whose spread is `ratio` times that of the rows' mean."""
    count, chance = 1500, 0.05 / 7  # the smallest of seven p values that Holm corrects
    rows = generator.normal(0, 1, (count, 50))
    effects = generator.normal(0, ratio * np.sqrt(runs / 50), (count, runs))
    values = rows.mean(1, keepdims=True) + effects
    errors = rows.std(1, ddof=1) / np.sqrt(50)
    found = [interval(row, 0.0, error) for row, error in zip(values, errors, strict=True)]
    wrong = np.array([each.low > 0 or each.high < 0 for each in found])
    assert wrong.mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)
    # a p value is needed only where the interval leaves out 0
    small = sum(p_value(values[i], 0.0, errors[i]) < chance for i in wrong.nonzero()[0])
    assert small / count < chance + 3 * np.sqrt(chance / count)


def test_p_values_agree_with_intervals_that_know_of_rows(generator):
    for row in generator.normal(0.7, 1.0, (100, 3)):
        for error in (0.0, 0.1, 1.0):
            found = interval(row, 0.0, error)
            assert (p_value(row, 0.0, error) < 0.05) == (found.low > 0 or found.high < 0)
    assert p_value([0.5, 0.5], 0.0, 1e-9) == 0 and p_value([-1.0, 1.0], 0.0, 0.1) == 1


def test_row_errors():
    rows = [0.5, -0.5, 0.25, 0.0]
    assert row_errors(rows, shares=False).error == pytest.approx(np.std(rows, ddof=1) / 2)
    assert row_errors(np.zeros(98), shares=True).error == pytest.approx(1 / 100)


@pytest.mark.parametrize("rows", [5, 6, 10, 32, 300])
def test_the_interval_of_groups_is_students(rows):
    values = torch.randn(rows, generator=torch.Generator().manual_seed(rows)).double()
    found = mean_interval(values)
    half = student.ppf(0.975, rows - 1) * values.std().item() / math.sqrt(rows)
    assert found.mean == pytest.approx(values.mean().item())
    assert found.high - found.mean == pytest.approx(half, rel=1e-12)
    assert found.mean - found.low == pytest.approx(half, rel=1e-12)


def test_few_values_say_nothing():
    found = mean_interval(torch.tensor([1.0, 1.0, 1.0, 1.0]))
    assert (found.low, found.mean, found.high) == (-math.inf, 1.0, math.inf)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.0004, 0.25, "+0.000 to +0.250"),
        (-math.inf, 0.25, "+0.250 or less"),
        (-0.25, math.inf, "-0.250 or more"),
        (-math.inf, math.inf, "anything, of so few rows"),
    ],
)
def test_ends_in_words(low, high, said):
    found = Interval(-0.0001, low, high)
    assert ends(found, "+.3f") == said and shown(found, "+.3f") == f"+0.000 ({said})"
    assert found.tells_nothing == ("anything" in said)


def test_three_rows_tell_nothing():
    found, _ = row_interval([0.1, 0.5, 0.3], shares=False)
    assert found.tells_nothing
