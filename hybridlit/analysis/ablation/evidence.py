"""What paired runs tell about a difference, whatever they are of, and whether they were done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from hybridlit.analysis.ablation.measure import ScoredRows
from hybridlit.analysis.row_errors import RowErrors, row_errors
from hybridlit.analysis.statistics import Interval, holm, interval, p_value, row_interval, verdict

__all__ = ["Evidence", "beats", "evidence", "judged", "last_gain", "may_catch_up", "row_evidence"]

_LAST = 0.2
"""The share of a training that is looked at for improvements: its last fifth."""

_AGAIN = 5
"""Catching up counts within so many times as many epochs again."""

_NOTICEABLE = 0.01
"""A gain there that counts, relative to all that the training has gained."""


class Evidence(NamedTuple):
    """The difference between two kinds of runs; the p value is corrected for no others."""

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
    if len(ours) == 1 or _same(ours, theirs):
        return row_evidence(ours, theirs)
    rows = [one.rows - other.rows for one, other in zip(ours, theirs, strict=True)]
    shares = _shares([*ours, *theirs])
    of_rows: RowErrors | float
    if test_per_train:  # other splits have other test rows, so the values show their error
        of_rows = shares / (sum(map(len, rows)) + 2)
    else:
        of_rows = row_errors(np.mean(rows, axis=0), shares)
    given = [float(each.mean()) for each in rows], test_per_train, of_rows
    return Evidence(interval(*given), p_value(*given))


def row_evidence(ours: Sequence[ScoredRows], theirs: Sequence[ScoredRows]) -> Evidence:
    """Compare the means of runs on the same rows: only the rows count as drawn at random.

    Of `ours` there may be one, or as many as of `theirs`.
    """
    if _same(ours, theirs):  # no row of any data could tell them apart
        return Evidence(Interval(0.0, 0.0, 0.0), 1.0)
    mean, other = (np.mean([run.rows for run in runs], axis=0) for runs in (ours, theirs))
    return Evidence(*row_interval(mean - other, _shares([*ours, *theirs])))


def beats(
    ours: Sequence[ScoredRows], theirs: Sequence[ScoredRows], test_per_train: float = 0.0
) -> bool:
    """Tell whether runs, as they are, score better than others: at 95 % confidence.

    On one split only the rows count as drawn at random, not the seeds: two seeds are enough to see
    that both have learned something. Arguments are those of `evidence`.
    """
    if test_per_train:
        return evidence(ours, theirs, test_per_train).difference.low > 0
    return row_evidence(ours, theirs).difference.low > 0


def judged(
    found: Sequence[Evidence], margin: float, words: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return `difference`, `p_value` and `verdict` of each of several comparisons.

    P values are corrected for one another by `holm`; `words` says what is said for a word of
    `verdict`, where it is something else.
    """
    judgements = []
    for each, p in zip(found, holm([each.p_value for each in found]), strict=True):
        word = verdict(each.difference, margin, p)
        word = (words or {}).get(word, word)
        judgements.append({"difference": each.difference, "p_value": p, "verdict": word})
    return judgements


def may_catch_up(histories: Sequence[Sequence[float]], rivals: Sequence[Sequence[float]]) -> bool:
    """Tell whether an arm was still improving, and fast enough to catch up with another one.

    A learning rate that suits one arm may be far too small for another: the first then wins because
    the second has not finished. It had not if a training of it had its best validation in the last
    fifth and, at the pace of that fifth, would reach the other's best within five times as many
    epochs again. Paces fall off as a rule, so that this is generous; an arm that creeps on far
    behind is beaten all the same.

    Args:
        histories: What was monitored in each training of the arm, less is better.
        rivals: The same of the other arm.
    """
    wanted = min(min(history) for history in rivals)
    gains = [(min(history), last_gain(history)) for history in histories]
    return any(gain > 0 and best - gain * _AGAIN / _LAST <= wanted for best, gain in gains)


def last_gain(history: Sequence[float]) -> float:
    """Return by how much the last fifth of a training undercut the best validation before.

    A gain of less than a hundredth of all that was gained since the first validation is none, 0.
    It is infinite if there is nothing before.
    """
    count = math.ceil(_LAST * len(history))
    before, last = history[:-count], history[-count:]
    if not before:
        return math.inf
    gain = min(before) - min(last)
    return gain if gain > _NOTICEABLE * (history[0] - min(last)) else 0.0


def _same(ours: Sequence[ScoredRows], theirs: Sequence[ScoredRows]) -> bool:
    return all(one.same_outputs(other) for one, other in zip(cycle(ours), theirs, strict=False))


def _shares(runs: Sequence[ScoredRows]) -> bool:
    """Whether all scores are right (1) or wrong (0)."""
    return all(bool(np.isin(run.rows, (0, 1)).all()) for run in runs)
