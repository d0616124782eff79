"""A search at its end: trials, final, conclusion; as text, numbers and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from hybridlit.analysis.report import Report, code
from hybridlit.analysis.statistics import shown
from hybridlit.argument_types import checked
from hybridlit.search.cluster import ClusterName, spread
from hybridlit.search.conclusion import conclusion
from hybridlit.search.finals import Finals, train_finals
from hybridlit.search.outcomes import OUTCOMES, Outcome, outcomes
from hybridlit.search.pictures import add_pictures
from hybridlit.search.study import Search
from hybridlit.templates.tasks import NoScoreError
from hybridlit.words import in_bytes, piped, plural

__all__ = ["SearchSummary", "summarize_search"]

_WORDS = {
    "helps": "hybrid better",
    "neutral": "alike",
    "hurts": "classical better",
    "inconclusive": "inconclusive",
}
"""What a verdict on the hybrid model says of the two arms."""

_BEST = 10
"""Trials of an arm in the table of the best."""


@dataclass(frozen=True)
class SearchSummary:
    """What a search found.

    Attributes:
        search: The search.
        finals: The final; None if there was none.
        why_no_finals: Why there was none.

    Example:
        >>> import optuna
        >>> from hybridlit.search.settings import SearchSettings
        >>> from hybridlit.search.worker import Task
        >>> settings = SearchSettings.read({"space": {"model.n_photons": [1, 2]}})
        >>> task = Task("wine", "sqlite:///wine.db", {}, settings, trials=40, seed=0, epochs=15)
        >>> search = Search(optuna.create_study(direction="maximize"), settings, {}, task)
        >>> print(SearchSummary(search))
        - Nothing is decided: the best trials were not trained again with other seeds.
        - Of 0 trials, 0 were hybrid and 0 classical.
        - Fewer than 10 trials of an arm see little of a space: the best of either may be luck.
    """

    search: Search
    finals: Finals | None = None
    why_no_finals: str = "the best trials were not trained again with other seeds"

    @cached_property
    def trials(self) -> list[Outcome]:
        """What became of each trial, in their order."""
        return outcomes(self.search.study)

    @property
    def objectives(self) -> tuple[str, ...]:
        """What trials were judged by."""
        return self.search.settings.objective

    @property
    def conclusion(self) -> str:
        """What this search supports and what it does not, as a list in Markdown."""
        return conclusion(self)

    def __str__(self) -> str:
        return self.conclusion

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "name": self.search.task.name,
            "objectives": list(self.objectives),
            "trials": [each._asdict() for each in self.trials],
            "finals": None if self.finals is None else self.finals.to_dict(),
            "conclusion": self.conclusion,
        }

    def report(self, command: str = "") -> Report:
        """Return a report with tables and Optuna's plots.

        Args:
            command: The command that has made the search.
        """
        report = Report(f"Search {self.search.task.name}")
        report.text(f"## In short\n\n{self.conclusion}")
        if self.finals is not None:
            report.text(f"## The final\n\n{_final_table(self.finals)}")
        for arm in ("hybrid", "classical"):
            report.text(f"## The best {arm} trials\n\n{_best(self.trials, arm)}")
        if len(self.objectives) > 1:
            front = sorted((t for t in self.trials if t.on_front), key=_worst_first)
            report.text(f"## The Pareto front\n\n{_table(front[::-1])}")
        report.text("## The search in pictures")
        add_pictures(report, self.search, self.trials)
        report.text(f"## All trials\n\n{_counts(self.trials)}\n\n{_table(self.trials)}")
        reasons = [t for t in self.trials if t.reason]
        if reasons:
            rows = [(str(t.number), t.arm, t.outcome, t.reason or "", _changes(t)) for t in reasons]
            head = ("trial", "arm", "outcome", "why", "changes")
            report.text(f"## Refused and failed\n\n{piped(head, rows)}")
        if command:
            report.text(f"## How this was made\n\n```\n{command}\n```")
        return report


@checked
def summarize_search(
    search: Search,
    seeds: int | None = None,
    *,
    margin: float = 0.01,
    jobs: int = 1,
    cluster: ClusterName | None = None,
) -> SearchSummary:
    """Train the best hybrid and the best classical model over seeds, and say what follows.

    Each training is told in a line.

    Args:
        search: A search, as `run_search` returns it.
        seeds: Number of seeds, at least 2; None: as many as the recipe says.
        margin: The smallest difference of the score that matters, above 0.
        jobs: Number of processes, at least 1.
        cluster: A key of `CLUSTERS`, where each training is a task; None: this machine.

    Returns:
        The summary: print it, or write its `report()`. Where nothing can be tested, for want of
        test rows or of a complete trial, it says so.

    Raises:
        RuntimeError: If a training fails.
        ValueError: If an argument is out of range.

    Example:
        >>> import optuna
        >>> from hybridlit.search.settings import SearchSettings
        >>> from hybridlit.search.worker import Task
        >>> settings = SearchSettings.read({"space": {"model.n_photons": [1, 2]}})
        >>> task = Task("wine", "sqlite:///wine.db", {}, settings, trials=40, seed=0, epochs=15)
        >>> search = Search(optuna.create_study(direction="maximize"), settings, {}, task)
        >>> summarize_search(search).why_no_finals
        'no hybrid trial was trained to its end, so that there is none to test'
    """
    run = spread(search.task.name, search.settings.slurm, jobs, cluster)
    try:
        return SearchSummary(search, train_finals(search, seeds, margin=margin, run=run))
    except NoScoreError as error:
        return SearchSummary(search, None, str(error))


def _final_table(finals: Finals) -> str:
    head = ("model", "trial", finals.metric, "hybrid - it", "verdict", "parameters", "seconds")
    rows = []
    for arm in finals.arms:
        trial = str(finals.contenders[arm.name].trial)
        parameters = f"{arm.parameters:,} ({arm.photonic_parameters:,} photonic)"
        difference = "" if arm.difference is None else shown(arm.difference, "+.3f")
        verdict = "" if arm.verdict is None else _WORDS[arm.verdict]
        verdict += f": {arm.reason}" if arm.reason else ""
        row = arm.name, trial, _spread(arm.scores), difference, verdict, parameters
        rows.append((*row, f"{arm.seconds:.1f}"))
    for each in finals.baselines:
        difference = shown(each.difference, "+.3f")
        row = each.name, "", _spread(each.scores), difference, each.verdict, ""
        rows.append((*row, f"{each.seconds:.1f}"))
    if finals.constant is not None:
        rows.append(("constant answer", "", f"{finals.constant:.3f}", "", "", "", ""))
    left = [f"{name}: {reason}." for name, reason in finals.left_out.items()]
    changes = [
        f"The best {arm} trial, {each.trial}, had {finals.metric} {each.score:.4f} on validation "
        f"rows, with {code(_settings(each.changes))}."
        for arm, each in finals.contenders.items()
    ]
    return "\n\n".join([piped(head, rows), *changes, *left])


def _spread(scores: Sequence[float]) -> str:
    return f"{fmean(scores):.3f} ± {stdev(scores):.3f}"


def _best(trials: Sequence[Outcome], arm: str) -> str:
    own = [t for t in trials if t.arm == arm and t.outcome == "complete"]
    return _table(sorted(own, key=_worst_first)[::-1][:_BEST])


def _worst_first(trial: Outcome) -> tuple[float, int]:
    return (trial.score if trial.score is not None else float("-inf"), -trial.number)


def _counts(trials: Sequence[Outcome]) -> str:
    found = ((name, [t for t in trials if t.outcome == name]) for name in OUTCOMES)
    listed = (
        f"{plural(len(own), 'trial')} {name} ({OUTCOMES[name]})" for name, own in found if own
    )
    return f"{'; '.join(listed)}."


def _table(trials: Sequence[Outcome]) -> str:
    if not trials:
        return "None."
    head = ("trial", "arm", "outcome", "score", "parameters", "states", "peak", "seconds", "epochs")
    rows = []
    for each in trials:
        cost = each.cost
        cells = [
            str(each.number),
            each.arm,
            each.outcome,
            _number(each.score, ".4f"),
            _number(cost.get("parameters"), ","),
            _number(cost.get("states"), ","),
            in_bytes(int(cost["peak_bytes"])) if cost.get("peak_bytes") else "",
            _number(each.seconds, ".1f"),
            _number(each.epochs, "d"),
            _changes(each),
        ]
        rows.append(cells)
    return piped((*head, "changes"), rows)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _changes(trial: Outcome) -> str:
    return code(_settings(trial.changes))


def _settings(changes: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={f'{value:.3g}' if isinstance(value, float) else value}"
        for name, value in changes.items()
    )
