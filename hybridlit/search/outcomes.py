"""What became of the trials of a search, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from hybridlit.analysis.ablation.evidence import last_gain
from hybridlit.search.drawing import is_done

__all__ = ["OUTCOMES", "Outcome", "found_late", "outcome_of", "outcomes"]

OUTCOMES = {
    "complete": "trained to its end and scored",
    "pruned": "ended early, since others of its arm were better by then",
    "refused": "over the budget, or not to be built at all, and drawn again",
    "failed": "ended by an error",
}
"""What can become of a trial; the refused ones do not count as trials."""


_COUNTED = ("parameters", "photonic_parameters")
"""What is known of a model that was built."""


class Outcome(NamedTuple):
    """A trial that has ended.

    Attributes:
        number: Its number among the trials of the search, from 1; of one that was refused that of
            the trial it was drawn for.
        arm: `"hybrid"` or `"classical"`.
        outcome: A key of `OUTCOMES`.
        score: Score of its best weights on the validation rows; None if it has none.
        metric: Name of the score, `"acc"` or `"r2"`.
        changes: What it changes in the recipe, by dotted name.
        cost: What its model costs, as `ModelCost` has it; empty if that is not known.
        seconds: Duration of its training.
        epochs: Epochs that it was trained for.
        history: Its validation losses.
        on_front: Whether it is on the Pareto front; of one objective, whether it is the best.
        reason: Why it was refused, or has failed.
    """

    number: int
    arm: str
    outcome: str
    score: float | None = None
    metric: str = "score"
    changes: Mapping[str, Any] = {}
    cost: Mapping[str, Any] = {}
    seconds: float | None = None
    epochs: int | None = None
    history: Sequence[float] = ()
    on_front: bool = False
    reason: str | None = None


def outcomes(study: optuna.Study) -> list[Outcome]:
    """Return what became of the trials of a study of a search, in their order."""
    front = {trial.number for trial in study.best_trials}
    ended = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
    found = [outcome_of(trial, trial.number in front) for trial in ended]
    return sorted(found, key=lambda each: (each.number, each.outcome != "refused"))


def found_late(trials: Iterable[Outcome]) -> bool:
    """Tell whether the best score of some trials was found among the last fifth of them.

    It is `last_gain` of the best score so far: that of a search which may well go on gaining.
    """
    best: list[float] = []
    for each in trials:
        if each.score is not None and each.outcome == "complete":
            best.append(min([-each.score, *best[-1:]]))
    return bool(best) and last_gain(best) > 0


def outcome_of(trial: FrozenTrial, on_front: bool = False) -> Outcome:
    """Return what became of a trial that has ended."""
    known = trial.user_attrs
    if not is_done(trial):
        outcome = "refused"
    elif trial.state is TrialState.FAIL:
        outcome = "failed"
    else:
        outcome = "pruned" if trial.state is TrialState.PRUNED else "complete"
    return Outcome(
        number=int(known["index"]) + 1,
        arm=known["arm"],
        outcome=outcome,
        score=known.get("score"),
        metric=known.get("metric") or "score",
        changes=known.get("changes") or {},
        cost={name: known[name] for name in _COUNTED if name in known} | (known.get("cost") or {}),
        seconds=known.get("seconds"),
        epochs=known.get("epochs"),
        history=known.get("history") or (),
        on_front=on_front,
        reason=known.get("reason"),
    )
