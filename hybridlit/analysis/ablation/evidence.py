"""What the rows of paired runs tell about a difference, whatever the runs are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.analysis.row_errors import RowErrors, row_errors
from hybridlit.analysis.statistics import Interval, interval, p_value, row_interval

__all__ = ["Evidence", "ScoredRows", "beats", "evidence"]


@dataclass(frozen=True)
class ScoredRows:
    """The scores of one run.

    Attributes:
        rows: Score of each test row, shape (rows,).
        outputs: What the model returned, shape (rows, ...); None for what is no network.
    """

    rows: npt.NDArray[np.float64]
    outputs: Tensor | None = None


@dataclass(frozen=True)
class Evidence:
    """The difference between two kinds of runs.

    Attributes:
        difference: Its mean, with an interval.
        p_value: Of a difference of 0, not corrected for other comparisons.
    """

    difference: Interval
    p_value: float


def evidence(
    ours: Sequence[ScoredRows], theirs: Sequence[ScoredRows], test_per_train: float = 0.0
) -> Evidence:
    """Compare runs pair by pair.

    Args:
        ours: At least one run; on the same split all have the same test rows.
        theirs: As many, run by run on the rows of `ours`.
        test_per_train: Test rows for each training row where runs have splits of their own; 0 if
            they share one split.

    Returns:
        The difference of the scores, over runs and rows, or over rows alone for one run.
    """
    pairs = list(zip(ours, theirs, strict=True))
    rows = [one.rows - other.rows for one, other in pairs]
    values = [float(each.mean()) for each in rows]
    if all(_same(one.outputs, other.outputs) for one, other in pairs):
        return Evidence(Interval(0.0, 0.0, 0.0), 1.0)  # no row of any data could tell them apart
    shares = bool(all(np.isin(run.rows, (0, 1)).all() for pair in pairs for run in pair))
    if len(pairs) == 1:
        return Evidence(*row_interval(rows[0], shares))
    of_rows: RowErrors | float
    if test_per_train:  # other splits have other test rows, so the values show their error
        of_rows = shares / (sum(map(len, rows)) + 2)
    else:
        of_rows = row_errors(np.mean(rows, axis=0), shares)
    given = values, test_per_train, of_rows
    return Evidence(interval(*given), p_value(*given))


def beats(
    ours: Sequence[ScoredRows], theirs: Sequence[ScoredRows], test_per_train: float = 0.0
) -> bool:
    """Tell whether runs, as they are, score better than others: at 95 % confidence.

    On one split only the rows count as drawn at random, not the seeds: two seeds are enough to see
    that both have learned something.

    Args:
        ours: As for `evidence`.
        theirs: As for `evidence`.
        test_per_train: As for `evidence`.

    Returns:
        Whether the interval of the difference lies above 0.
    """
    if test_per_train:
        return evidence(ours, theirs, test_per_train).difference.low > 0
    mean, other = (np.mean([run.rows for run in runs], axis=0) for runs in (ours, theirs))
    shares = all(np.isin(run.rows, (0, 1)).all() for run in [*ours, *theirs])
    return row_interval(mean - other, bool(shares))[0].low > 0


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)
