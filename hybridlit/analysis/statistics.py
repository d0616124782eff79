"""What paired runs of two models tell: a mean, an interval and a plain word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CONFIDENCE",
    "Interval",
    "bootstrap_interval",
    "holm",
    "interval",
    "p_value",
    "paired_shares",
    "row_error",
    "verdict",
]

CONFIDENCE = 0.95

_LOG_OF_NOTHING = math.log(1e-300)
"""Log of the smallest p value that is told from 0."""


@dataclass(frozen=True)
class Interval:
    """A mean with the interval in which the true mean lies at 95 % confidence.

    Attributes:
        mean: The mean.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def interval(
    values: Sequence[float], test_per_train: float = 0.0, error_of_rows: float = 0.0
) -> Interval:
    """Return Student's t interval of the mean of values from several runs.

    Runs on random splits of one data set share most of their training rows, so that their scores
    vary less among one another than scores on fresh data would. Nadeau and Bengio (Machine Learning
    52, 2003) correct for that: the variance of the mean becomes (1/n + test/train) s^2, not s^2/n.

    Args:
        values: One value a run, at least two.
        test_per_train: Test rows for each training row; 0 leaves the correction out.
        error_of_rows: Another standard error of the mean, known well, that the values share and so
            do not show; see `row_error`. The half widths that either alone would have are added in
            quadrature, which errs towards too wide.

    Returns:
        The interval.

    Raises:
        ValueError: If there are fewer than two values.
        ImportError: If scipy, of the extra `analysis`, is not installed.
    """
    mean, spread = _mean_and_spread(values)
    half = _half_width(1 - CONFIDENCE, spread, len(values), test_per_train, error_of_rows)
    return Interval(mean, mean - half, mean + half)


def p_value(
    values: Sequence[float], test_per_train: float = 0.0, error_of_rows: float = 0.0
) -> float:
    """Return the two-sided p value of the test that the true mean is 0.

    It is the chance of error of the interval that just reaches 0, Student's t test if
    `error_of_rows` is 0; below 0.05 exactly where `interval` does not hold 0.

    Args:
        values: One value a run, at least two.
        test_per_train: As for `interval`.
        error_of_rows: As for `interval`.

    Returns:
        The p value, 0 to 1; values that are all the same give 1 if they are 0, and 0 otherwise.

    Raises:
        ValueError: If there are fewer than two values.
        ImportError: If scipy, of the extra `analysis`, is not installed.
    """
    mean, spread = _mean_and_spread(values)
    _distributions()
    from scipy.optimize import brentq

    def beyond(log_chance: float) -> float:
        given = (len(values), test_per_train, error_of_rows)
        return _half_width(math.exp(log_chance), spread, *given) - abs(mean)

    if mean == 0:
        return 1.0
    if beyond(_LOG_OF_NOTHING) <= 0:
        return 0.0
    return math.exp(brentq(beyond, _LOG_OF_NOTHING, 0.0))


def row_error(differences: npt.ArrayLike, shares: bool) -> float:
    """Return the standard error of a mean over rows.

    Args:
        differences: Difference of two scores for each row, shape (rows,).
        shares: Whether the scores are shares, right (1) or wrong (0) or means of that. Half a row
            is then added to each of the four cells (right or wrong, right or wrong), as Agresti and
            Min do (Statistics in Medicine 24, 2005), so that a few rows without a difference do not
            prove that there is none.

    Returns:
        The standard error, above 0 for shares.
    """
    rows = np.asarray(differences, dtype=float)
    if not shares:
        return float(rows.std(ddof=1) / math.sqrt(len(rows)))
    count = len(rows) + 2
    return math.sqrt(((rows**2).sum() + 1) / count - (rows.sum() / count) ** 2) / math.sqrt(count)


def bootstrap_interval(
    values: npt.ArrayLike, resamples: int = 10_000, seed: int = 0
) -> tuple[Interval, float]:
    """Return the percentile bootstrap interval of a mean, which assumes no distribution.

    It is for many values, such as one for each row of the test data; of few values it is too
    narrow (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        values: Shape (rows,), at least two.
        resamples: Number of resamples, at least 1.
        seed: Seed of the resamples.

    Returns:
        The interval, and the two-sided p value for a mean of 0, at least 1 / (resamples + 1);
        values that are all 0 have p value 1.

    Raises:
        ValueError: If there are fewer than two values.
    """
    rows = np.asarray(values, dtype=float)
    if len(rows) < 2:
        raise ValueError(
            f"an interval needs at least 2 values, got {len(rows)}: use more test rows"
        )
    generator = np.random.default_rng(seed)
    step = max(1, 2**22 // len(rows))  # bounds the table of drawn rows at 32 MiB
    means = np.concatenate(
        [
            rows[
                generator.integers(len(rows), size=(min(step, resamples - first), len(rows)))
            ].mean(1)
            for first in range(0, resamples, step)
        ]
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    beyond = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    probability = min(1.0, 2 * (int(beyond) + 1) / (resamples + 1))
    mean = float(rows.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean)), probability


def paired_shares(differences: npt.ArrayLike) -> tuple[Interval, float]:
    """Return the interval of a difference of two shares of the same rows, accuracies for instance.

    It is that of Agresti and Min, see `row_error`: 20 rows without a difference leave up to 9 %.

    Args:
        differences: Right (1) or wrong (0) of the one model minus that of the other for each row,
            shape (rows,), in [-1, 1]; averages over several runs of a model are allowed.

    Returns:
        The interval around the mean difference, and the two-sided p value for a difference of 0.

    Raises:
        ValueError: If there are no rows, or a difference is out of range.
    """
    rows = np.asarray(differences, dtype=float)
    if not len(rows) or np.abs(rows).max() > 1:
        raise ValueError(
            f"differences must be at least one number in [-1, 1], got {len(rows)} up to "
            f"{np.abs(rows).max(initial=0):g}"
        )
    center, error = rows.sum() / (len(rows) + 2), row_error(rows, shares=True)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    probability = 2 * NormalDist().cdf(-abs(center) / error)
    return Interval(float(rows.mean()), float(center - half), float(center + half)), probability


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for having tested several hypotheses (Holm, Scand. J. Stat. 6, 1979).

    Those that stay below 0.05 are all true discoveries with 95 % probability at least. That covers
    what is said to help or to hurt; `neutral` in `verdict` rests on the interval of each difference
    by itself, so that one in forty differences as large as the margin passes for none.

    Args:
        p_values: One for each hypothesis.

    Returns:
        The corrected values in the same order, at most 1.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def verdict(difference: Interval, margin: float, p: float = 0.0) -> str:
    """Say what a difference means to somebody who does not care about less than `margin`.

    `neutral` comes first: a difference that is surely too small to matter neither helps nor hurts.
    It is what two one-sided tests (TOST) of that say at 2.5 % each. `inconclusive` says that these
    runs cannot tell.

    Args:
        difference: How much better the model with the component is than the one without.
        margin: The smallest difference that matters, at least 0.
        p: P value of the difference, corrected for other comparisons if there are some: from 0.05
            on, nothing is said to help or to hurt.

    Returns:
        `"helps"`, `"neutral"`, `"hurts"` or `"inconclusive"`.
    """
    if -margin <= difference.low and difference.high <= margin:
        return "neutral"
    if p >= 1 - CONFIDENCE:
        return "inconclusive"
    if difference.low > 0:
        return "helps"
    if difference.high < 0:
        return "hurts"
    return "inconclusive"


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        raise ValueError(f"an interval needs at least 2 values, got {len(values)}: run more seeds")
    return float(np.mean(values)), float(np.std(values, ddof=1))


def _half_width(
    chance: float, spread: float, count: int, test_per_train: float, error_of_rows: float
) -> float:
    """Half the width of an interval that misses the truth with a given probability.

    The two errors have quantiles of their own, Student's and the normal one, which are added like
    standard errors. Degrees of freedom of their sum, as of Satterthwaite, would have to be guessed
    from the spread, and two or three runs that happen to agree would count as very many.
    """
    student, normal = _distributions()
    of_runs = student.isf(chance / 2, count - 1) * spread * math.sqrt(1 / count + test_per_train)
    return math.hypot(of_runs, normal.isf(chance / 2) * error_of_rows)


def _distributions() -> tuple[Any, Any]:
    try:
        from scipy.stats import norm, t
    except ImportError as error:
        raise ImportError("intervals need scipy: pip install 'hybridlit[analysis]'") from error
    return t, norm
