"""Optuna's own plots of a search, by matplotlib, and the Pareto front by arm."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import optuna

from hybridlit.analysis.pictures.style import COMPONENT_COLOURS, new_figure, tidy
from hybridlit.analysis.report import Report
from hybridlit.search.drawing import studied
from hybridlit.search.outcomes import Outcome
from hybridlit.search.settings import ARMS
from hybridlit.search.storage import quiet
from hybridlit.search.study import Search

__all__ = ["add_pictures"]

_COLOURS = {"hybrid": COMPONENT_COLOURS["photonic"], "classical": COMPONENT_COLOURS["classical"]}

_SLICES = 4
"""Settings side by side in one picture of slices."""

_MANY = 20
"""Trials from which on a legend of all of them would be longer than the picture."""


def add_pictures(report: Report, search: Search, trials: Sequence[Outcome]) -> None:
    """Add the plots of a search to a report; one that cannot be drawn is said there.

    Args:
        report: The report.
        search: The search.
        trials: What became of all trials.
    """
    objectives = search.settings.objective
    with quiet():
        studies = {
            arm: studied(search.trials, arm, search.settings, study_name=arm) for arm in ARMS
        }
    for cost in objectives:
        if cost != "score":
            with _drawn(report, f"Pareto front of score and {cost}"):
                figure = _front(trials, cost)
                report.figure(figure, f"Score and {cost} of each trial; the front is ringed.")
    for index, name in enumerate(objectives):
        with _drawn(report, f"history of {name}"):
            figure = _plotted("optimization_history", list(studies.values()), name, index)
            report.figure(
                figure,
                f"The {name} of each trial of an arm, and the best so far; numbers are of the arm.",
            )
    for arm, study in studies.items():
        _add_of_arm(report, arm, study, objectives.index("score"))


def _add_of_arm(report: Report, arm: str, study: optuna.Study, index: int) -> None:
    name = "score"
    report.text(f"### The {arm} arm")
    with _drawn(report, f"importances of the {arm} arm"):
        figure = _plotted("param_importances", study, name, index)
        report.figure(figure, f"How much of the spread of the {name} each setting explains: {arm}.")
    with _drawn(report, f"parallel coordinates of the {arm} arm"):
        figure = _plotted("parallel_coordinate", study, name, index)
        figure.set_size_inches(12, 5)
        for lines in figure.axes[0].collections:  # Optuna turns colours round for one of several
            lines.set_cmap("Blues")
        report.figure(figure, f"Each line is a trial, the darker the higher its {name}: {arm}.")
    settings = sorted({each for trial in study.trials for each in trial.params})
    for first in range(0, len(settings), _SLICES):
        with _drawn(report, f"slices of the {arm} arm"):
            some = settings[first : first + _SLICES]
            figure = _plotted("slice", study, name, index, params=some)
            for axes in figure.axes:
                axes.tick_params("x", labelrotation=20)
            report.figure(figure, f"The {name} by each setting, later trials darker: {arm}.")
    if len(study.directions) == 1 and any(trial.intermediate_values for trial in study.trials):
        with _drawn(report, f"curves of the {arm} arm"):
            figure = _plotted("intermediate_values", study)
            legend = figure.axes[0].get_legend()
            if legend is not None and len(study.trials) > _MANY:
                legend.remove()
            report.figure(figure, f"What trials were pruned by, epoch by epoch: {arm}.")


def _plotted(kind: str, study: Any, name: str | None = None, index: int = 0, **options: Any) -> Any:
    """Draw a plot of Optuna, of an objective if it is of one."""
    draw = getattr(import_module("optuna.visualization.matplotlib"), f"plot_{kind}")
    first = study[0] if isinstance(study, list) else study
    options |= {} if name is None else {"target_name": name}
    if len(first.directions) > 1 and name is not None:
        options["target"] = lambda trial: trial.values[index]
    axes = draw(study, **options)
    return axes.flat[0].figure if hasattr(axes, "flat") else axes.figure


def _front(trials: Sequence[Outcome], cost: str) -> Any:
    """Draw scores against a cost, by arm."""
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    for arm, colour in _COLOURS.items():
        own = [t for t in trials if t.arm == arm and t.outcome == "complete" and cost in t.cost]
        points = [(float(t.cost[cost]), t.score or 0.0) for t in own]
        best = [point for point, t in zip(points, own, strict=True) if t.on_front]
        axes.scatter([x for x, _ in points], [y for _, y in points], color=colour, label=arm)
        ring: dict[str, Any] = dict(s=110, facecolors="none", edgecolors="black")
        axes.scatter([x for x, _ in best], [y for _, y in best], **ring)
    none = any(t.cost.get(cost) == 0 for t in trials)  # classical models have no states
    axes.set_xscale("symlog" if none else "log")
    axes.legend(frameon=False)
    tidy(axes, "", cost, "score")
    return figure


@contextmanager
def _drawn(report: Report, what: str) -> Iterator[None]:
    """Draw in Optuna's style and with no window left; an error is a line of the report."""
    try:
        matplotlib, pyplot = (import_module(name) for name in ("matplotlib", "matplotlib.pyplot"))
    except ImportError:
        report.text(f"Not drawn: {what}, since pictures need matplotlib.")
        return
    before = set(pyplot.get_fignums())
    try:
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # all of these plots are called experimental
            yield
    except Exception as error:  # such as too few trials to tell importances from
        said, *_ = str(error).splitlines() or [type(error).__name__]
        report.text(f"Not drawn: {what} ({said}).")
    finally:
        for number in set(pyplot.get_fignums()) - before:
            pyplot.close(number)
