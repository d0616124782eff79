"""One worker of a search: takes trials until all are done, and tells each in a line."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from lightning.pytorch import Callback, LightningModule, Trainer
from optuna.trial import FrozenTrial, TrialState, create_trial

from hybridlit.recipe import Trained, train
from hybridlit.search.board import log_trial
from hybridlit.search.claims import Claims
from hybridlit.search.drawing import Draw, done_trials, draw_trial, is_done, studied
from hybridlit.search.judging import Judge, the_same_speed
from hybridlit.search.names import applied
from hybridlit.search.outcomes import outcome_of
from hybridlit.search.settings import PRUNERS, SearchSettings
from hybridlit.search.storage import open_storage, quiet
from hybridlit.undisturbed import undisturbed

__all__ = ["Task", "line_of", "work"]

_LOOKS = 0.5
"""Seconds between two looks at trials that others have under way."""

_FAILURES = 3
"""Failed trials without one that has not, after which a search ends: it is not by chance."""


@dataclass(frozen=True)
class Task:
    """All that a worker needs to know.

    Attributes:
        name: Of the study.
        storage: URL of where it is.
        recipe: The settings that trials change.
        settings: The `search:` section, bound to the constructors.
        trials: Number of trials.
        seed: Of weights and data of every trial, and of the sampler.
        epochs: Number of epochs of every trial, unless it is searched for.
    """

    name: str
    storage: str
    recipe: Mapping[str, Any]
    settings: SearchSettings
    trials: int
    seed: int
    epochs: int


def work(task: Task) -> None:
    """Do trials until all are done, by this worker or by others.

    Raises:
        RuntimeError: If nothing but failed trials happens.
        ValueError: If no trial can be drawn that is within the budget.
    """
    with quiet(), undisturbed():
        storage = open_storage(task.storage)
        study = optuna.load_study(study_name=task.name, storage=storage)
        with the_same_speed(study), Claims(task.name, storage) as claims:
            _Worker(task, study, claims).run()


class _Worker:
    def __init__(self, task: Task, study: optuna.Study, claims: Claims) -> None:
        self.task, self.study, self.claims = task, study, claims
        self.judge = Judge(task.recipe, task.settings)

    def run(self) -> None:
        while True:
            history = self._history()
            done = {t.user_attrs["index"] for t in done_trials(history)}
            left = [index for index in range(self.task.trials) if index not in done]
            if not left:
                return
            index = self.claims.take(left)
            if index is None:
                time.sleep(_LOOKS)
                continue
            history = self._history()  # it may have been done a moment ago
            if all(t.user_attrs["index"] != index for t in done_trials(history)):
                self._do(index, history)

    def _history(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _do(self, index: int, history: list[FrozenTrial]) -> None:
        notes = self.claims.drawn()
        if index in notes:
            draw = Draw.of_note(notes[index])
        else:
            draw = self._draw(index, history, notes)
        started = datetime.now()
        watch = _Watch(self.task, draw.arm, history)
        found: dict[str, Any] = {}
        try:
            trained = train(
                applied(self.task.recipe, draw.changes),
                self.task.seed,
                callbacks=[watch],
                test=False,
                **(
                    {} if "trainer.max_epochs" in draw.changes else {"max_epochs": self.task.epochs}
                ),
            )
            found = _found(trained)
            state = TrialState.PRUNED if watch.pruned else TrialState.COMPLETE
            values = None if watch.pruned else self._values(found["score"], draw)
        # other settings may not have it, be it weights that diverge or a fault in a class
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            state, values, found = TrialState.FAIL, None, {"reason": reason}
        trial = create_trial(
            state=state,
            values=values,
            params=dict(draw.params),
            distributions=dict(draw.distributions),
            user_attrs=self._attributes(index, draw) | found,
            system_attrs=watch.noted(),
            intermediate_values=watch.scores,
        )
        trial.datetime_start = started
        if self.claims.owners()[index] == self.claims.worker:  # and nobody has thought us dead
            self.study.add_trial(trial)
            print(line_of(trial, self.task.trials), flush=True)
            log_trial(self.task.name, outcome_of(trial))
            self._refuse_nothing_but_failures()

    def _draw(self, index: int, history: list[FrozenTrial], notes: Mapping[int, Any]) -> Draw:
        done = {t.user_attrs["index"] for t in done_trials(history)}
        running = [Draw.of_note(note) for other, note in notes.items() if other not in done]
        refused = {
            t.user_attrs["draw"]
            for t in history
            if not is_done(t) and t.user_attrs["index"] == index
        }

        def refuse(number: int, draw: Draw, reason: str) -> None:
            if number in refused:  # by a worker that has died since
                return
            trial = create_trial(
                state=TrialState.FAIL,
                params=dict(draw.params),
                distributions=dict(draw.distributions),
                user_attrs=self._attributes(index, draw) | {"draw": number, "reason": reason},
            )
            self.study.add_trial(trial)
            if number == 0:  # the others are in the study, and the report tells them all
                print(line_of(trial, self.task.trials), flush=True)

        draw = draw_trial(
            index,
            self.task.settings,
            self.task.seed,
            history,
            running,
            self.judge,
            refuse,
        )
        self.claims.note(index, draw.noted())
        return Draw.of_note(self.claims.drawn()[index])  # as whoever takes it over reads it

    def _attributes(self, index: int, draw: Draw) -> dict[str, Any]:
        return {
            "index": index,
            "arm": draw.arm,
            "changes": dict(draw.changes),
            "seed": self.task.seed,
            "cost": None if draw.cost is None else dict(draw.cost),
        }

    def _values(self, score: float, draw: Draw) -> list[float]:
        if not math.isfinite(score):
            raise ValueError(f"the validation score is {score}")
        costs = draw.cost or {}
        return [score if n == "score" else float(costs[n]) for n in self.task.settings.objective]

    def _refuse_nothing_but_failures(self) -> None:
        trials = done_trials(self._history())
        if len(trials) >= _FAILURES and all(t.state is TrialState.FAIL for t in trials):
            raise RuntimeError(
                f"all of the first {len(trials)} trials have failed, the last one with "
                f"{trials[-1].user_attrs['reason']}"
            )


class _Watch(Callback):
    """Keeps the score of each validation, and ends a training that the pruner gives up."""

    def __init__(self, task: Task, arm: str, history: list[FrozenTrial]) -> None:
        self.scores: dict[int, float] = {}
        self.pruned = False
        pruner = PRUNERS[task.settings.pruner](task.epochs)
        self._study = studied(history, arm, task.settings, pruner=pruner)
        self._trial = self._study.ask()
        self._several = len(task.settings.objective) > 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or self._several:
            return
        score = trainer.callback_metrics.get(f"val/{pl_module.task.score}")  # type: ignore[union-attr]
        if score is None:  # the user's class has other metrics
            return
        step = len(self.scores) + 1
        self.scores[step] = float(score)
        self._trial.report(self.scores[step], step)
        unfinished = trainer.current_epoch + 1 < (trainer.max_epochs or 0)
        if unfinished and not self.pruned and self._trial.should_prune():
            self.pruned = trainer.should_stop = True

    def noted(self) -> dict[str, Any]:
        """Return what the pruner has noted of the trial, for itself."""
        return self._study.trials[-1].system_attrs


def _found(trained: Trained) -> dict[str, Any]:
    if trained.validation is None:
        raise ValueError("a search needs validation rows, and the data have none")
    training = trained.training
    return {
        "metric": trained.metric,
        "score": trained.validation,
        "seconds": training.seconds,
        "epochs": training.epochs,
        "best_epoch": training.best_epoch,
        "history": list(training.history),
        "parameters": trained.parameters,
        "photonic_parameters": trained.photonic_parameters,
    }


def line_of(trial: FrozenTrial, trials: int) -> str:
    """Tell a trial, of so many, in a line."""
    found = trial.user_attrs
    chosen = ", ".join(
        f"{name.removeprefix('model.')} {_shown(value)}"
        for name, value in found["changes"].items()
        if name != "model.quantum"
    )
    head = f"trial {found['index'] + 1:{len(str(trials))}} of {trials}  {found['arm']:9}"
    if "draw" in found:
        return f"{head}  drawn again: {found['reason']}  ({chosen})"
    if trial.state is TrialState.FAIL:
        return f"{head}  failed: {found['reason']}  ({chosen})"
    word = f"  pruned at epoch {found['epochs']}" if trial.state is TrialState.PRUNED else ""
    score = f"{found['metric']} {found['score']:.4f}  {found['seconds']:.1f} s"
    return f"{head}  {score}{word}  {chosen}"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
