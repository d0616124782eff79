"""The runs of a study, every arm with every seed: those that are kept, and those still to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from lightning.pytorch import LightningDataModule

from hybridlit.analysis.ablation.arms import Widths
from hybridlit.analysis.ablation.baselines import Beside, fit_baselines
from hybridlit.analysis.ablation.kept import Kept, Key
from hybridlit.analysis.ablation.measure import Bench, Measure
from hybridlit.analysis.ablation.progress import Progress
from hybridlit.analysis.ablation.retraining import Recipe, Run, best_of_trials, seeded
from hybridlit.analysis.splits import batches_of, count_rows, prepared
from hybridlit.workers import run_jobs

__all__ = ["Data", "Trials", "all_runs", "prepared_split"]

Data = LightningDataModule | Callable[[int], LightningDataModule]
"""A datamodule, or a function from a seed to the datamodule of that split."""


class Trials(NamedTuple):
    """What the runs of a study share; other processes get it as well.

    `split` is the seed of the one split, or None if each seed has its own.
    """

    recipe: Recipe
    measure: Measure
    widths: Mapping[str, Widths]
    data: Data
    split: int | None
    baselines: Sequence[str]

    def models(self, arm: str | None) -> int:
        """Return how many models a run of an arm trains or fits; one of none is not counted."""
        return len(self.baselines) if arm is None else 1


@contextmanager
def prepared_split(data: Data, seed: int) -> Iterator[LightningDataModule]:
    """Set up the data of a seed, or the one datamodule that there is, within a context."""
    seeded(seed)  # for a split that is drawn without a seed of its own
    with prepared(data if isinstance(data, LightningDataModule) else data(seed)) as found:
        yield found


def all_runs(
    trials: Trials,
    arms: Sequence[str],
    seeds: Sequence[int],
    jobs: int | None,
    progress: Progress,
    kept: Kept,
) -> dict[Key, Run | Beside]:
    """Do the runs that are not kept, and keep each once it is done.

    Args:
        trials: What they share.
        arms: Keys of `ARMS`.
        seeds: The seeds.
        jobs: As for `run_jobs`; the function that is called has its own seeds.
        progress: Is told of each run.
        kept: Runs of an earlier call, if any.

    Returns:
        All of them, seed by seed and arm by arm, each seed with what is known of its split.
    """
    # seeds outside: whatever else the machine does hits all arms alike
    named: list[Key] = [(seed, arm) for seed in seeds for arm in [*arms, None]]
    left = [key for key in named if key not in kept.runs]
    tally = _Tally(trials, named, jobs or 1, progress, kept)

    def done(index: int, found: Run | Beside) -> None:
        kept.add(left[index], found)
        tally.done(left[index], found)

    tally.begin()
    try:
        run_jobs(partial(_run, trials), left, jobs, done)
    except KeyboardInterrupt:
        tally.say_what_is_kept("the same again goes on")
        raise
    return {key: kept.runs[key] for key in named}


class _Tally:
    """Counts runs, but for those that train and fit nothing, and tells which are running."""

    def __init__(
        self, trials: Trials, keys: Sequence[Key], side_by_side: int, progress: Progress, kept: Kept
    ) -> None:
        self._progress, self._kept, self._side_by_side = progress, kept, side_by_side
        self._metric = trials.measure.name
        self._models = {key: count for key in keys if (count := trials.models(key[1]))}

    def begin(self) -> None:
        """Tell what is kept, and which run is the first."""
        self._progress.skip(sum(n for key, n in self._models.items() if key in self._kept.runs))
        self.say_what_is_kept("the study goes on")
        self._tell_what_is_running()

    def done(self, key: Key, found: Run | Beside) -> None:
        """Tell of a run that is done and kept."""
        if key in self._models:
            line = f"{self._place(0)}  seed {key[0]}  {_line(key[1], found, self._metric)}"
            self._progress.done(self._models[key], line)
        self._tell_what_is_running()

    def say_what_is_kept(self, follows: str) -> None:
        """Say how many runs are in the file, if any, and what follows from it."""
        if self._kept.lasting and self._reached:
            told = f"{self._reached} of {len(self._models)} runs are kept in {self._kept.path}"
            self._progress.say(f"{told}: {follows}")

    @property
    def _reached(self) -> int:
        return sum(key in self._kept.runs for key in self._models)

    def _place(self, beyond: int) -> str:
        total = len(self._models)
        return f"{self._reached + beyond:{len(str(total))}} of {total}"

    def _tell_what_is_running(self) -> None:
        left = [key for key in self._models if key not in self._kept.runs]
        running = left[: self._side_by_side]  # since runs are handed out in their order
        if running:
            names = [f"seed {seed}  {arm or 'baselines'}" for seed, arm in running]
            self._progress.running(f"{self._place(1)}  {', '.join(names)}")


def _run(trials: Trials, seed: int, arm: str | None) -> Run | Beside:
    """Train an arm with a seed, or None: do what is to be done once for a split."""
    recipe, measure = trials.recipe, trials.measure
    with prepared_split(trials.data, seed if trials.split is None else trials.split) as data:
        bench = Bench(measure, data, batches_of(data, "test"), seed)
        if arm is None:
            found, reasons = fit_baselines(
                trials.baselines, recipe.model, bench, recipe.validates(data)
            )
            share = count_rows(data, "test") / count_rows(data, "train")
            return Beside(found, reasons, bench.constant(recipe.model), share)
        try:
            return best_of_trials(arm, trials.widths, recipe, bench)
        except Exception as error:
            raise RuntimeError(
                f"arm {arm!r} failed with seed {seed}: {type(error).__name__}: {error}"
            ) from error


def _line(arm: str | None, found: Run | Beside, metric: str) -> str:
    if isinstance(found, Run):
        score, seconds = found.scored.mean, found.training.seconds
        return f"{arm}: {metric} {score:.4f}, {seconds:.1f} s"
    return ", ".join(f"{name} {run.scored.mean:.4f}" for name, run in found.baselines.items())
