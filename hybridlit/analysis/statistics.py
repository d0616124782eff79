"""What paired runs of two models tell: a mean, an interval and a plain word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CONFIDENCE", "Interval", "interval", "verdict"]

CONFIDENCE = 0.95


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


def interval(values: Sequence[float], test_per_train: float = 0.0) -> Interval:
    """Return Student's t interval of the mean of values from several runs.

    Runs on random splits of one data set share most of their training rows, so that their scores
    vary less among one another than scores on fresh data would. Nadeau and Bengio (Machine Learning
    52, 2003) correct for that: the variance of the mean becomes (1/n + test/train) s^2, not s^2/n.

    Args:
        values: One value a run, at least two.
        test_per_train: Test rows for each training row; 0 leaves the correction out.

    Returns:
        The interval.

    Raises:
        ValueError: If there are fewer than two values.
        ImportError: If scipy, of the extra `analysis`, is not installed.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs at least 2 values, got {len(values)}: run more seeds")
    try:
        from scipy.stats import t as student
    except ImportError as error:
        raise ImportError("intervals need scipy: pip install 'hybridlit[analysis]'") from error
    quantile = student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    half = quantile * np.std(values, ddof=1) * np.sqrt(1 / len(values) + test_per_train)
    mean = float(np.mean(values))
    return Interval(mean, float(mean - half), float(mean + half))


def verdict(difference: Interval, margin: float) -> str:
    """Say what a difference means to somebody who does not care about less than `margin`.

    `neutral` comes first: a difference that is surely too small to matter neither helps nor hurts.
    `inconclusive` says that these runs cannot tell.

    Args:
        difference: How much better the model with the component is than the one without.
        margin: The smallest difference that matters, at least 0.

    Returns:
        `"helps"`, `"neutral"`, `"hurts"` or `"inconclusive"`.
    """
    if -margin <= difference.low and difference.high <= margin:
        return "neutral"
    if difference.low > 0:
        return "helps"
    if difference.high < 0:
        return "hurts"
    return "inconclusive"
