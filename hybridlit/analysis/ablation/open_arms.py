"""What would tell an open arm from the model: more seeds, or more test rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hybridlit.analysis.statistics import CONFIDENCE, interval
from hybridlit.words import quoted

if TYPE_CHECKING:
    from hybridlit.analysis.ablation.result import AblationStudy
    from hybridlit.analysis.ablation.retrained import RetrainedArm

__all__ = ["Remedy", "remedy"]


class Remedy(NamedTuple):
    """What takes open arms further.

    Attributes:
        seeds: Names of arms that more seeds may tell from the model.
        rows: Names of those for which there are too few test rows, whatever the number of seeds.
        why: What these rows leave open, in words; nothing if `rows` is empty.
    """

    seeds: list[str]
    rows: list[str]
    why: str = ""

    def words(self, splits_vary: bool) -> str:
        """Return what is to be raised, where each seed has a split of its own or all have one."""
        if not self.rows:
            return "more seeds or test rows" if splits_vary else "more seeds"
        if not self.seeds:
            return "more test rows"
        named = [quoted(names, quote=False) for names in (self.seeds, self.rows)]
        return f"more seeds for {named[0]} and more test rows for {named[1]}"


def remedy(study: AblationStudy, arms: Sequence[RetrainedArm]) -> Remedy:
    """Say for arms that cannot be told from the model whether more seeds could tell them."""
    left = {arm.name: _left_by_rows(study, arm) for arm in arms}
    few = {arm.name: left[arm.name] for arm in arms if not _decides(study, arm, left[arm.name])}
    seeds = [name for name in left if name not in few]
    if not few:
        return Remedy(seeds, [])
    least = min(few.values())
    leave = "tell nothing" if math.isinf(least) else f"leave ±{least:.3f}"
    return Remedy(seeds, [*few], f"{study.test_rows:,} alone {leave}, however many seeds")


def _left_by_rows(study: AblationStudy, arm: RetrainedArm) -> float:
    """Return the half width of an arm's interval that its test rows leave, however many seeds.

    It is infinite where these rows are too few for an interval, and 0 where each seed has a split
    of its own, so that more of them bring other test rows.
    """
    if study.splits_vary or arm.difference is None:
        return 0.0
    of_seeds = interval(np.subtract(study.retrained[0].scores, arm.scores).tolist())
    whole, part = ((found.high - found.low) / 2 for found in (arm.difference, of_seeds))
    return math.sqrt(max(0.0, whole**2 - part**2))


def _decides(study: AblationStudy, arm: RetrainedArm, half: float) -> bool:
    """Whether a difference like an arm's would be decided by an interval of a half width."""
    if not half or arm.difference is None:
        return True
    chance = 1 - CONFIDENCE
    chances = (chance, chance / max(1, len(study.retrained) - 1))
    alone, corrected = (-NormalDist().inv_cdf(each / 2) for each in chances)
    size = abs(arm.difference.mean)
    # that it helps or hurts is corrected for the other arms, at most as if it were the first
    return size > half * corrected / alone or size + half <= study.margin
