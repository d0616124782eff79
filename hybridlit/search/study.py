"""A search: a study of many trials of a recipe, by this process or several."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer
from hybridlit.recipe import read_recipe
from hybridlit.recipe.cost import dtype_of
from hybridlit.search.board import log_trial
from hybridlit.search.cluster import ClusterName, spread
from hybridlit.search.drawing import done_trials
from hybridlit.search.judging import Judge, note_speed, noted_budget
from hybridlit.search.names import applied, bound_to_constructors
from hybridlit.search.outcomes import outcome_of
from hybridlit.search.settings import ARMS, SearchSettings
from hybridlit.search.storage import default_storage, folder_of, open_storage, open_study, quiet
from hybridlit.search.worker import Task, line_of, work

__all__ = ["Search", "prepared_search", "run_search"]

_SECTION = "search"
_EPOCHS = "trainer.max_epochs"
_OF_NO_TRIAL = ("trials", "seeds", "slurm")
"""What of the section changes no trial, so that a study can go on with another value."""


@dataclass(frozen=True)
class Search:
    """A search, as far as it has come.

    Attributes:
        study: The study of Optuna. Its trials that count have `index` among their `user_attrs` and
            no `draw`; those with a `draw` were never built: see `refused`.
        settings: The `search:` section.
        recipe: What trials change.
        task: What its workers were told.

    Example:
        >>> settings = SearchSettings.read({"space": {"model.n_photons": [1, 2]}})
        >>> task = Task("wine", "sqlite:///wine.db", {}, settings, trials=40, seed=0, epochs=15)
        >>> search = Search(optuna.create_study(direction="maximize"), settings, {}, task)
        >>> search.trials, search.settings.objective
        ([], ('score',))
    """

    study: optuna.Study
    settings: SearchSettings
    recipe: Mapping[str, Any]
    task: Task

    @property
    def trials(self) -> list[FrozenTrial]:
        """Return the trials that count, in the order in which they were drawn."""
        return done_trials(self.study.get_trials(deepcopy=False))

    @property
    def refused(self) -> list[FrozenTrial]:
        """Return what was drawn and never built, since it cannot be or is over the budget.

        The `user_attrs` have the `reason`.
        """
        return [t for t in self.study.get_trials(deepcopy=False) if "draw" in t.user_attrs]

    def best(self, arm: str) -> FrozenTrial | None:
        """Return the trial of an arm with the best score; None if none was trained to the end.

        Args:
            arm: `"hybrid"` or `"classical"`.
        """
        choice(arm, "arm", ARMS)
        own = [t for t in self._complete() if t.user_attrs["arm"] == arm]
        return max(own, key=lambda trial: float(trial.user_attrs["score"]), default=None)

    def front(self) -> list[FrozenTrial]:
        """Return the trials that no other one beats in every objective; with one, the best."""
        best = {trial.number for trial in self.study.best_trials} if self._complete() else set()
        return [trial for trial in self.trials if trial.number in best]

    def recipe_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return the recipe of a trial, for `hybridlit.recipe.train`."""
        return applied(self.recipe, trial.user_attrs["changes"])

    def _complete(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state is TrialState.COMPLETE]


@checked
def run_search(
    recipe: str | os.PathLike[str] | dict[str, Any],
    *,
    trials: int | None = None,
    jobs: int = 1,
    storage: str | None = None,
    name: str | None = None,
    cluster: ClusterName | None = None,
) -> Search:
    """Search for the best settings of a recipe, and go on where the same search was left.

    Half of the trials are of the recipe's hybrid model, half of a classical one (`quantum: mlp`)
    with as many parameters, in turn and in the same space. Each is trained on the same rows with
    the same seed, and judged by the validation rows; the test rows take no part.

    What trial comes next depends on the trials that are done, and on the seed of the recipe. So a
    search that was killed ends with the trials of one that was not, unless several workers were
    under way: then the order in which they finish counts as well.

    Args:
        recipe: Path of a recipe with a section `search`, or its content.
        trials: Number of trials, those that are done included; None: that of the recipe, or 40.
        jobs: Number of processes, each with one thread; or of tasks of the cluster.
        storage: URL of where the study is kept: `sqlite:///FILE`, `journal:///FILE` on a disk that
            several machines share, or a database. None: a file under `runs/search/<name>`. Workers
            in other processes or on other machines with the same storage share the trials.
        name: Name of the study; None: that of the file of the recipe.
        cluster: A key of `CLUSTERS`, whose tasks do the trials, with the options `slurm` of the
            section; None: this machine. Its study is in a journal, unless `storage` says where.

    Returns:
        The search, whose trials are all done.

    Raises:
        TypeError: If an argument, or a value in the section, has the wrong type.
        ValueError: If the section is wrong, names what the classes do not take, or is not that
            with which the study was begun; or nothing is within its budget.
        RuntimeError: If all of the first three trials fail.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> recipe = {
        ...     "model": {
        ...         "class_path": "SequentialHybrid",
        ...         "init_args": {"input_dim": 4, "quantum_dim": 2, "output_dim": 3},
        ...     },
        ...     "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
        ...     "search": {"space": {"model.n_photons": [1, 2]}, "epochs": 1},
        ... }
        >>> with TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
        ...     search = run_search(recipe, trials=2, storage=f"journal:///{folder}/search.log")
        trial 1 of 2  hybrid ...
        trial 2 of 2  classical ...
    """
    integer(jobs, "jobs", 1)
    shared = cluster is not None
    search = prepared_search(recipe, trials=trials, storage=storage, name=name, shared=shared)
    note_speed(search.study, dtype_of(search.recipe))
    tell = _teller(search)
    run = spread(search.task.name, search.settings.slurm, jobs, cluster, tell)
    run(work, [(search.task,)] * jobs)
    if shared:  # what workers print is in their logs
        tell()
    for trial in search.trials:  # a worker may have been killed before it wrote this
        log_trial(search.task.name, outcome_of(trial))
    return search


def _teller(search: Search) -> Callable[[], None]:
    """Return what tells trials that others have done since it was called last."""
    told = {trial.number for trial in search.trials}

    def tell() -> None:
        for trial in search.trials:
            if trial.number not in told:
                told.add(trial.number)
                print(line_of(trial, search.task.trials), flush=True)

    return tell


def prepared_search(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    *,
    trials: int | None = None,
    storage: str | None = None,
    name: str | None = None,
    shared: bool = False,
) -> Search:
    """Return a search as it is on its storage, begun if it is not; see `run_search`."""
    if isinstance(recipe, Mapping):
        content, known = dict(recipe), "search"
    else:
        path = Path(recipe)
        content, known = read_recipe(path), path.stem
    settings = SearchSettings.read(content.get(_SECTION))
    settings = replace(settings, budget=settings.budget or content.get("budget"))
    if trials is not None:
        integer(trials, "trials", 2)
    base = _sections(content)
    space = bound_to_constructors(settings.space, base)
    settings = replace(settings, space=space, trials=trials or settings.trials)
    seed = content.get("seed_everything")
    seed = seed if type(seed) is int else 0
    name = known if name is None else name
    folder_of(name)
    storage = storage or default_storage(name, shared)
    epochs = settings.epochs or (base.get("trainer") or {}).get("max_epochs")
    if epochs is None:
        raise ValueError("the recipe has no trainer.max_epochs: give search.epochs")
    integer(epochs, "epochs", 1)
    if settings.epochs is not None and any(each.name == _EPOCHS for each in space.dimensions):
        raise ValueError(f"space has {_EPOCHS}, and search has epochs as well: leave one out")
    kept = {key: value for key, value in asdict(settings).items() if key not in _OF_NO_TRIAL}
    identity = {"recipe": base, "seed": seed, "search": kept | {"space": _by_name(kept["space"])}}
    with quiet():
        opened = open_storage(storage)
        if name not in optuna.get_all_study_names(opened):  # one that is begun keeps its recipe
            Judge(base, settings).refuse_unbuildable()
        study = open_study(name, opened, settings.directions, identity)
    settings = replace(settings, budget=noted_budget(study, settings.budget))
    task = Task(name, storage, base, settings, settings.trials, seed, epochs)
    return Search(study, settings, base, task)


def _sections(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe trials change, each class with its path and arguments."""
    found = {"trainer": content.get("trainer") or {}}
    for name in ("model", "data"):
        given = content.get(name)
        if isinstance(given, str):  # a class without arguments
            given = {"class_path": given}
        if not isinstance(given, Mapping) or not isinstance(given.get("class_path"), str):
            raise ValueError(f"the recipe must name a class in its section {name!r}, got {given!r}")
        found[name] = {**given, "init_args": given.get("init_args") or {}}
    return found


def _by_name(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dimensions of a space by name, for messages about what has changed."""
    return {each["name"]: each for each in space["dimensions"]}
