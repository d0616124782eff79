"""The final of a search: the best trial of each arm over seeds, on test rows that no trial saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from hybridlit.analysis.ablation.baselines import (
    Baseline,
    BaselineRun,
    baseline_names,
    compared,
    fit_baselines,
)
from hybridlit.analysis.ablation.measure import Bench, Measure, ScoredRows
from hybridlit.analysis.ablation.retrained import RetrainedArm, Runs, compared_arms
from hybridlit.analysis.ablation.retraining import Run
from hybridlit.analysis.ablation.tables import plain_values
from hybridlit.analysis.splits import batches_of, prepared, same_rows
from hybridlit.checks import integer, number
from hybridlit.constructors import taken_arguments
from hybridlit.recipe import build_data, changed, train
from hybridlit.recipe.reading import Settings
from hybridlit.search.cluster import RunJobs
from hybridlit.search.names import applied, class_of
from hybridlit.search.settings import ARMS
from hybridlit.templates.tasks import NoScoreError
from hybridlit.undisturbed import undisturbed
from hybridlit.workers import run_jobs

if TYPE_CHECKING:
    from hybridlit.search.study import Search

__all__ = ["Contender", "Finals", "train_finals"]


class Contender(NamedTuple):
    """The best trial of an arm.

    Attributes:
        trial: Its number, from 1.
        changes: What it changes in the recipe, by dotted name.
        score: Its score on the validation rows.
    """

    trial: int
    changes: Mapping[str, Any]
    score: float


@dataclass(frozen=True)
class Finals:
    """What the final of a search found.

    Attributes:
        metric: Name of the score, of which more is better.
        margin: The smallest difference of it that matters.
        seeds: Seeds of the trainings, none of which a trial had.
        test_rows: Number of test rows of each training.
        same_rows: Whether all trainings are tested on the test rows of the trials' split, which no
            trial and no training has seen. Otherwise each seed draws its own.
        contenders: The best trial of each arm.
        arms: What both arms scored, the hybrid one first, and the verdict in the classical one, of
            the hybrid model: see `compared_arms`.
        baselines: Classical models of scikit-learn, compared with the hybrid model.
        constant: Score of the best constant answer; None where that is not known.
        left_out: Why a baseline is missing, by name.
    """

    metric: str
    margin: float
    seeds: tuple[int, ...]
    test_rows: int
    same_rows: bool
    contenders: Mapping[str, Contender]
    arms: tuple[RetrainedArm, ...]
    baselines: tuple[Baseline, ...]
    constant: float | None
    left_out: Mapping[str, str]

    @property
    def hybrid(self) -> RetrainedArm:
        """What the best hybrid model scored."""
        return self.arms[0]

    @property
    def classical(self) -> RetrainedArm:
        """What the best classical model scored, and how the hybrid one compares."""
        return self.arms[1]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; None where an interval has no end."""
        return plain_values(self)


class _FinalRun(NamedTuple):
    """One training of the final, and what was fitted to the same rows."""

    run: Run
    metric: str
    test_per_train: float
    constant: ScoredRows | None
    baselines: dict[str, BaselineRun]
    left_out: dict[str, str]


@undisturbed()
def train_finals(
    search: Search,
    seeds: int | None = None,
    *,
    margin: float = 0.01,
    baselines: bool = True,
    run: RunJobs = run_jobs,
    tell: Callable[[str], object] = print,
) -> Finals:
    """Train the best hybrid and the best classical model over seeds, and test both.

    A seed decides initial weights, order of the batches, and which rows are for training and which
    for validation. The test rows are those of the trials' split, so that nothing was chosen or
    trained by them (`test_seed` of the data modules). Data modules of other packages may draw test
    rows of their own for each seed, which trials may have seen: that is looked at. Epochs are those
    of the recipe.

    Args:
        search: The search, with at least one complete trial of each arm.
        seeds: Number of seeds, at least 2: those behind the seed of the trials. None: as many as
            the recipe says.
        margin: The smallest difference of the score that matters, above 0.
        baselines: Whether classical models of scikit-learn are tuned and tested on the same rows.
        run: What calls a function with each of some arguments.
        tell: Called with a line for each training.

    Returns:
        Scores, verdict and baselines.

    Raises:
        NoScoreError: If there are no test rows, or an arm has no complete trial.
        RuntimeError: If a training fails; the message names arm and seed.
    """
    number(margin, "margin", above=0.0)
    count = search.settings.seeds if seeds is None else integer(seeds, "seeds", 2)
    contenders = {arm: _contender(search, arm) for arm in ARMS}
    first = search.task.seed
    numbers = [first + 1 + index for index in range(count)]
    same_rows, fixed = _with_test_rows_of(search.recipe, first)
    wanted = {arm: applied(fixed, each.changes) for arm, each in contenders.items()}
    calls = [
        (each, search.task.epochs, seed, arm, baselines and arm == "hybrid")
        for seed in numbers
        for arm, each in wanted.items()
    ]

    def told(index: int, found: _FinalRun) -> None:
        _, _, seed, arm, _ = calls[index]
        training, score = found.run.training, found.run.scored.mean
        head = f"final {index + 1:{len(str(len(calls)))}} of {len(calls)}  {arm:9}  seed {seed}"
        tell(f"{head}  {found.metric} {score:.4f}  {training.seconds:.1f} s")

    found: list[_FinalRun] = run(_final_run, calls, on_done=told)
    of_arm = {arm: found[index::2] for index, arm in enumerate(wanted)}
    hybrid = of_arm["hybrid"]
    left_out = {name: why for each in hybrid for name, why in each.left_out.items()}
    names = [name for name in hybrid[0].baselines if name not in left_out]
    runs = Runs(
        {arm: [each.run for each in own] for arm, own in of_arm.items()},
        {name: [each.baselines[name] for each in hybrid] for name in names},
        [each.constant for each in hybrid if each.constant is not None],
    )
    share = 0.0 if same_rows else fmean(each.test_per_train for each in hybrid)
    return Finals(
        metric=hybrid[0].metric,
        margin=margin,
        seeds=tuple(numbers),
        test_rows=len(hybrid[0].run.scored.rows),
        same_rows=same_rows,
        contenders=contenders,
        arms=compared_arms(runs, share, margin),
        baselines=compared(runs.baselines, runs.scored("hybrid"), margin, share),
        constant=fmean(each.mean for each in runs.constants) if runs.constants else None,
        left_out=left_out,
    )


def _contender(search: Search, arm: str) -> Contender:
    best = search.best(arm)
    if best is None:
        raise NoScoreError(f"no {arm} trial was trained to its end, so that there is none to test")
    known = best.user_attrs
    return Contender(int(known["index"]) + 1, known["changes"], float(known["score"]))


def _with_test_rows_of(settings: Mapping[str, Any], seed: int) -> tuple[bool, Settings]:
    """Whether all seeds have the test rows of the trials, and settings in which they do if so."""
    own = changed(settings, {})
    if "test_seed" in taken_arguments(class_of(own["data"]["class_path"], "data")):
        arguments = own["data"].get("init_args") or {}
        given = arguments.get("test_seed")  # that of the recipe was the trials' as well
        return True, changed(own, {"data.test_seed": seed if given is None else given})
    of_trials, other = build_data(own, seed), build_data(own, seed + 1)
    with prepared(of_trials), prepared(other):
        return same_rows(of_trials, other, "test"), own


def _final_run(
    settings: Mapping[str, Any], epochs: int, seed: int, arm: str, baselines: bool
) -> _FinalRun:
    own = (settings.get("trainer") or {}).get("max_epochs")  # a search may have had fewer
    try:
        trained = train(settings, seed, max_epochs=own or epochs)
    except (RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"the best {arm} model cannot be trained with seed {seed}: {error}"
        ) from error
    if trained.tested is None:
        raise NoScoreError("the data have no test rows, on which the best models are compared")
    model, histories = trained.model, [trained.training.history]
    run = Run(
        trained.tested,
        trained.training,
        trained.parameters,
        trained.photonic_parameters,
        None,
        tuple(each for each in histories if each),
    )
    measure = Measure(model)
    names, left_out = baseline_names(model, measure) if baselines else ([], {})
    with prepared(trained.data) as data:
        bench = Bench(measure, data, batches_of(data, "test"), seed)
        fitted, reasons = fit_baselines(names, model, bench, bool(histories))
        constant = bench.constant(model)
    return _FinalRun(
        run, trained.metric, trained.test_per_train, constant, fitted, {**left_out, **reasons}
    )
