"""What paired runs of two models tell: a mean, an interval and a plain word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from hybridlit.analysis.row_errors import RowErrors, row_errors, student_quantile
from hybridlit.words import written

__all__ = [
    "CONFIDENCE",
    "Interval",
    "ends",
    "holm",
    "interval",
    "mean_interval",
    "p_value",
    "row_interval",
    "share_interval",
    "shown",
    "verdict",
]

CONFIDENCE = 0.95

_LOG_OF_NOTHING = math.log(1e-300)
"""Log of the smallest p value that is told from 0."""


@dataclass(frozen=True)
class Interval:
    """A mean, and the ends of the interval in which the true mean lies at 95 % confidence."""

    mean: float
    low: float
    high: float

    @property
    def tells_nothing(self) -> bool:
        """Whether it has no end, as of rows that are too few."""
        return math.isinf(self.low) and math.isinf(self.high)


def ends(found: Interval, form: str = ".3f") -> str:
    """Return the ends of an interval in words, each as `format` writes it.

    Example:
        >>> ends(Interval(0.1, 0.05, 0.15), "+.2f"), ends(Interval(0.1, -math.inf, 0.15))
        ('+0.05 to +0.15', '0.150 or less')
        >>> ends(Interval(0.1, -math.inf, math.inf))
        'anything, of so few rows'
    """
    if found.tells_nothing:
        return "anything, of so few rows"
    low, high = written(found.low, form), written(found.high, form)
    if math.isinf(found.low):
        return f"{high} or less"
    return f"{low} or more" if math.isinf(found.high) else f"{low} to {high}"


def shown(found: Interval, form: str = ".3f") -> str:
    """Return a mean with the ends of its interval in parentheses, numbers as `format` has them."""
    return f"{written(found.mean, form)} ({ends(found, form)})"


def interval(
    values: Sequence[float], test_per_train: float = 0.0, of_rows: RowErrors | float = 0.0
) -> Interval:
    """Return Student's t interval of the mean of values from several runs.

    Runs on random splits of one data set share most of their training rows, so that their scores
    vary less among one another than scores on fresh data would. Nadeau and Bengio (Machine Learning
    52, 2003) correct for that: the variance of the mean becomes (1/n + test/train) s^2, not s^2/n.

    Args:
        values: One value a run, at least two, or a ValueError.
        test_per_train: Test rows for each training row; 0 leaves the correction out.
        of_rows: Another error of the mean that the values share and so do not show: that of the
            test rows, from `row_errors`, or a standard error that is known well. The half widths
            that either alone would have are added in quadrature, which errs towards too wide.

    Returns:
        The interval.
    """
    return _Errors.of(values, test_per_train, of_rows).interval(float(np.mean(values)))


def p_value(
    values: Sequence[float], test_per_train: float = 0.0, of_rows: RowErrors | float = 0.0
) -> float:
    """Return the two-sided p value of the test that the true mean is 0, arguments as `interval`.

    It is the chance of error of the interval that just reaches 0, Student's t test if `of_rows` is
    0; below 0.05 exactly where `interval` does not hold 0. Values that are all the same give 1 if
    they are 0, and 0 otherwise.
    """
    return _Errors.of(values, test_per_train, of_rows).p_value(float(np.mean(values)))


def row_interval(differences: npt.ArrayLike, shares: bool) -> tuple[Interval, float]:
    """Return the interval of a mean over rows, of one run, and the p value of a difference of 0.

    Arguments are those of `row_errors`, which says how the interval is made.
    """
    errors = _Errors(0.0, 2, 0.0, row_errors(differences, shares))
    mean = float(np.asarray(differences, dtype=float).mean())
    return errors.interval(mean), errors.p_value(mean)


def share_interval(right: int, count: int) -> Interval:
    """Return the interval of a share of rows, `right` of `count`, which is at least 1.

    It is exact (Clopper and Pearson, Biometrika 26, 1934), 95 % at least, also where all rows are
    right or there are only a few.
    """
    from scipy.special import betaincinv  # scipy.stats takes a second to import

    chance = (1 - CONFIDENCE) / 2
    low = float(betaincinv(right, count - right + 1, chance)) if right else 0.0
    high = float(betaincinv(right + 1, count - right, 1 - chance)) if right < count else 1.0
    return Interval(right / count, low, high)


def mean_interval(values: npt.ArrayLike) -> Interval:
    """Return Student's t interval of the mean of independent values, shape (groups,).

    It is infinitely wide for fewer than 5 values, which say too little.
    """
    given = np.asarray(values, dtype=float)
    mean, half = float(given.mean()), math.inf
    if len(given) >= 5:
        error = float(given.std(ddof=1)) / math.sqrt(len(given))
        half = student_quantile(1 - CONFIDENCE, len(given) - 1) * error
    return Interval(mean, mean - half, mean + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for having tested several hypotheses (Holm, Scand. J. Stat. 6, 1979).

    Those that stay below 0.05 are all true discoveries with 95 % probability at least. That covers
    what is said to help or to hurt; `neutral` in `verdict` rests on the interval of each difference
    by itself, so that one in forty differences as large as the margin passes for none. The
    corrected values, at most 1, come in the same order.
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
    return "hurts" if difference.high < 0 else "inconclusive"


@dataclass(frozen=True)
class _Errors:
    """What makes a mean of several runs uncertain: their spread, and the rows that they share.

    The two have quantiles of their own, which are added like standard errors. Degrees of freedom of
    their sum, as of Satterthwaite, would have to be guessed from the spread, and two or three runs
    that happen to agree would count as very many.
    """

    spread: float
    count: int
    test_per_train: float
    of_rows: RowErrors | float

    @classmethod
    def of(
        cls, values: Sequence[float], test_per_train: float, of_rows: RowErrors | float
    ) -> _Errors:
        if len(values) < 2:
            raise ValueError(
                f"an interval needs at least 2 values, got {len(values)}: run more seeds"
            )
        return cls(float(np.std(values, ddof=1)), len(values), test_per_train, of_rows)

    def half_widths(self, chance: float) -> tuple[float, float]:
        factor = self.spread * math.sqrt(1 / self.count + self.test_per_train)
        of_runs = student_quantile(chance, self.count - 1) * factor
        if isinstance(self.of_rows, RowErrors):
            below, above = self.of_rows.half_widths(chance)
        else:
            below = above = -NormalDist().inv_cdf(chance / 2) * self.of_rows
        return math.hypot(of_runs, below), math.hypot(of_runs, above)

    def center(self, mean: float) -> float:
        return mean + (self.of_rows.shift if isinstance(self.of_rows, RowErrors) else 0.0)

    def interval(self, mean: float) -> Interval:
        below, above = self.half_widths(1 - CONFIDENCE)
        center = self.center(mean)
        return Interval(mean, min(mean, center - below), max(mean, center + above))

    def p_value(self, mean: float) -> float:
        center = self.center(mean)

        def reaches_zero(log_chance: float) -> bool:
            below, above = self.half_widths(math.exp(log_chance))
            return (below if center > 0 else above) >= abs(center)

        if mean == 0 or reaches_zero(0.0):
            return 1.0
        low, high = _LOG_OF_NOTHING, 0.0
        if not reaches_zero(low):
            return 0.0
        # half widths only grow as the chance falls, in steps where rows are resampled: unlike a
        # root finder, bisection says on which side of a step it ends
        while high - low > 1e-9:
            middle = (low + high) / 2
            low, high = (middle, high) if reaches_zero(middle) else (low, middle)
        return math.exp(low)
