"""What a trial is: drawn from the trials of its arm that are done, and never over the budget.

Draws are made in a study in memory that holds the trials of one arm. The seed of its sampler
follows the number of the trial: a sampler that begins with the same seed at every resume would
draw the first trials again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hybridlit.search.settings import ARMS, SAMPLERS, SearchSettings

__all__ = ["Draw", "arm_of", "done_trials", "draw_trial", "is_done", "studied"]

_DRAWS = 100
"""Draws for one trial, after which budget or space, and not chance, are to blame."""

_RATES = ("quantum_lr", "quantum_optimizer", "quantum_schedule", "quantum_warmup_epochs")
_OF_PHOTONS = tuple(
    f"model.{name}"
    for name in (*_RATES, "quantum_weight_decay", "reservoir_mode", "experiment.reservoir_mode")
)
"""What changes nothing in a classical arm; sizes of the circuit set its number of parameters."""


@dataclass(frozen=True)
class Draw:
    """What has been drawn for a trial.

    Attributes:
        arm: A key of `ARMS`.
        changes: Settings that differ from the recipe, by dotted name, those of the arm among them.
        params: What the sampler has suggested, as Optuna keeps it.
        distributions: What that was drawn from.
        cost: What the model costs, as plain values, if that is known.
    """

    arm: str
    changes: Mapping[str, Any]
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    cost: Mapping[str, Any] | None = None

    def noted(self) -> dict[str, Any]:
        """Return it as plain values."""
        texts = {name: distribution_to_json(each) for name, each in self.distributions.items()}
        return {**vars(self), "distributions": texts}

    @classmethod
    def of_note(cls, note: Mapping[str, Any]) -> Draw:
        """Make it of what `noted` has returned."""
        kinds = {name: json_to_distribution(text) for name, text in note["distributions"].items()}
        return cls(**{**note, "distributions": kinds})


Judge = Callable[[Mapping[str, Any]], tuple[Mapping[str, Any] | None, str | None]]
"""From the changes of a trial to its cost, and why it is refused, if it is."""


def arm_of(index: int) -> str:
    """Return the arm of a trial, by its number: they take turns."""
    return list(ARMS)[index % len(ARMS)]


def is_done(trial: FrozenTrial) -> bool:
    """Whether a trial of a study counts: those that are over budget do not."""
    return trial.state.is_finished() and "draw" not in trial.user_attrs


def done_trials(history: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of a study that count, by their index.

    Of two with one index the first counts: a worker that was silent for too long has been taken for
    dead, and has added its trial all the same.
    """
    found: dict[int, FrozenTrial] = {}
    for trial in history:
        if is_done(trial):
            found.setdefault(int(trial.user_attrs["index"]), trial)
    return [found[index] for index in sorted(found)]


def draw_trial(
    index: int,
    settings: SearchSettings,
    seed: int,
    history: Iterable[FrozenTrial],
    running: Iterable[Draw],
    judge: Judge,
    refuse: Callable[[int, Draw, str], None],
) -> Draw:
    """Draw a trial that is within the budget.

    Args:
        index: Its number, from 0.
        settings: Those of the search.
        seed: Of the search.
        history: The trials of the search that are done.
        running: What has been drawn for trials under way.
        judge: Says what a trial would cost, and why it is refused.
        refuse: Called for each draw that is, with its number, from 0, and the reason.

    Raises:
        ValueError: If 100 draws are refused.
    """
    arm = arm_of(index)
    own = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
    study = studied(history, arm, settings, sampler=SAMPLERS[settings.sampler](own))
    for each in running:
        if each.arm == arm:
            study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=dict(each.params),
                    distributions=dict(each.distributions),
                )
            )
    reason: str | None = None
    for number in range(_DRAWS):
        trial = study.ask()
        changes = settings.space.draw(trial, without=_OF_PHOTONS if ARMS[arm] else ())
        changes |= ARMS[arm]
        cost, reason = judge(changes)
        draw = Draw(arm, changes, trial.params, trial.distributions, cost)
        if reason is None:
            return draw
        study.tell(trial, state=TrialState.FAIL)
        refuse(number, draw, reason)
    within = "" if settings.budget is None else f" within the budget {settings.budget!r}"
    raise ValueError(
        f"no trial{within} was found in {_DRAWS} draws of the {arm} arm; of the last one: {reason}"
    )


def studied(
    history: Iterable[FrozenTrial], arm: str, settings: SearchSettings, **options: Any
) -> optuna.Study:
    """Return a study in memory of the trials of an arm, in their order."""
    study = optuna.create_study(directions=settings.directions, **options)
    for trial in done_trials(history):
        if trial.user_attrs["arm"] == arm:
            study.add_trial(trial)
    return study
