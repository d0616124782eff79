"""Models trained from scratch with something else in the place of their photonic layers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule, LightningModule

from hybridlit.analysis.ablation.arms import ARMS, DoesNotApply, Widths, apply_arm, observed_widths
from hybridlit.analysis.ablation.baselines import Baseline, BaselineRun, compared
from hybridlit.analysis.ablation.evidence import beats, evidence, judged, may_catch_up
from hybridlit.analysis.ablation.kept import Kept
from hybridlit.analysis.ablation.measure import Measure, ScoredRows
from hybridlit.analysis.ablation.progress import Progress
from hybridlit.analysis.ablation.retraining import Recipe, Run
from hybridlit.analysis.ablation.runs import Data, Trials, all_runs
from hybridlit.analysis.replacement import replaced
from hybridlit.analysis.splits import first_batches
from hybridlit.analysis.statistics import Interval
from hybridlit.components import photonic_modules

__all__ = [
    "ARM_IMPROVING",
    "MODEL_IMPROVING",
    "REASONS",
    "Applicable",
    "Retrained",
    "RetrainedArm",
    "Runs",
    "applicable_arms",
    "compared_arms",
    "retrained_arms",
]

_MANY = 0.5
"""Share of runs that were still improving from which on a verdict is held back."""

ARM_IMPROVING = "was still improving"
MODEL_IMPROVING = "the model was still improving"
_UNJUDGED, _UNWATCHED = "no better than a constant", "no validations"

REASONS = {
    None: "cannot be told from the model",
    ARM_IMPROVING: "had not finished learning",
    MODEL_IMPROVING: "had a model beside it that had not finished learning",
    _UNJUDGED: "cannot be judged, since neither it nor the model is surely better than a constant "
    "answer",
    _UNWATCHED: "may not have been trained to the end",
}
"""Why nothing is known of an arm, `RetrainedArm.reason`, and what is said of it then."""


@dataclass(frozen=True)
class RetrainedArm:
    """Models of one kind, one a seed.

    Attributes:
        name: A key of `ARMS`.
        scores: Test score of each seed.
        parameters: Number of parameters that an optimizer holds. In `classical_only` those that
            lead to the zeros are among them, though they have nothing to learn from.
        photonic_parameters: Number of these that are photonic.
        seconds: Median duration of a training run.
        epochs: Largest number of epochs of a training run.
        best_epochs: Epoch of the best validation of each seed, from 1; empty without validations.
        rates: Which optimizer settings validation preferred, seed by seed: `"own"`, those of the
            model; `"classical"`, those of its classical parameters for all; or `"photonic"`. Empty
            where they are the same.
        difference: Score of the hybrid model minus this score, seed by seed, with an interval over
            seeds and test rows; None for the hybrid model itself, and so are the next two.
        p_value: Of a difference of 0, corrected by Holm for the other retrained arms.
        verdict: What the difference means: is the photonic layer better than what stands in for it?
        reason: Why nothing is said to help, to hurt or to make no difference though the numbers
            would allow it, a key of `REASONS`; None if nothing was held back.
        improving: Whether the arm was still improving when its training ended, fast enough to catch
            up with the hybrid model, see `may_catch_up`, seed by seed; empty without validations.
        beats_constant: Whether it is better than the best constant answer, see `beats`; None where
            that is not known.
    """

    name: str
    scores: tuple[float, ...]
    parameters: int
    photonic_parameters: int
    seconds: float
    epochs: int
    best_epochs: tuple[int, ...] = ()
    rates: tuple[str, ...] = ()
    difference: Interval | None = None
    p_value: float | None = None
    verdict: str | None = None
    reason: str | None = None
    improving: tuple[bool, ...] = ()
    beats_constant: bool | None = None

    @property
    def said(self) -> str:
        """The verdict, and what speaks against saying more; "reference" for the hybrid model."""
        word = self.verdict or "reference"
        return word if self.reason is None else f"{word}: {self.reason}"


class Retrained(NamedTuple):
    """All that was trained from scratch, the best constant, runs that were kept before."""

    arms: tuple[RetrainedArm, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    constant: float | None = None
    left_out: Mapping[str, str] = {}
    earlier_runs: int = 0


class Applicable(NamedTuple):
    """Arms that make sense for a model, widths of its photonic modules, reasons of other arms."""

    names: list[str]
    widths: dict[str, Widths]
    left_out: dict[str, str]


@dataclass
class Runs:
    """Runs of everything, seed by seed, and test rows for each training row of their splits.

    Attributes:
        arms: Runs of each arm, `"hybrid"` first.
        baselines: Runs of each baseline.
        constants: Scores of the best constant answer; none where that is not known.
        shares: Test rows for each training row where runs have test rows of their own.
        left_out: Why a baseline is missing, by name.
    """

    arms: dict[str, list[Run]]
    baselines: dict[str, list[BaselineRun]]
    constants: list[ScoredRows] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def scored(self, arm: str) -> list[ScoredRows]:
        """Return the scores of the test rows of an arm, run by run."""
        return [run.scored for run in self.arms[arm]]


def applicable_arms(
    wanted: Sequence[str], recipe: Recipe, measure: Measure, datamodule: LightningDataModule
) -> Applicable:
    """Find out which arms make sense, by making a model of each."""
    if not wanted:
        return Applicable([], {}, {})
    batches = first_batches(datamodule, "train", 2)
    if not batches:
        raise ValueError(f"{type(datamodule).__name__} has no training data")
    widths = observed_widths(recipe.model, lambda: measure.outputs(recipe.model, batches))
    found = Applicable([], widths, {})
    for arm in wanted:
        try:
            apply_arm(recipe.fresh_model(), arm, widths, recipe.photonic_stage)
            if ARMS[arm].around and not _goes_around(recipe.model, measure, batches):
                raise DoesNotApply("nothing goes around the photonic layers")
            found.names.append(arm)
        except DoesNotApply as reason:
            found.left_out[arm] = str(reason)
    return found


def retrained_arms(
    arms: Applicable,
    recipe: Recipe,
    measure: Measure,
    data: Data,
    seeds: Sequence[int],
    *,
    baselines: Sequence[str],
    margin: float,
    jobs: int | None,
    progress: Progress,
    kept: Kept,
) -> Retrained:
    """Train every arm with every seed, and compare them with the hybrid model seed by seed.

    Args:
        arms: What `applicable_arms` found, `"hybrid"` first.
        recipe: How models are made and trained.
        measure: How a row is scored.
        data: The datamodule, or from a seed to the datamodule of its split.
        seeds: At least two.
        baselines: Names of the baselines to fit to the same data.
        margin: The smallest difference that matters.
        jobs: As for `run_jobs`.
        progress: Is told of each run.
        kept: Runs that need not be done again; the others are added.

    Returns:
        The arms and what they are compared with. A run that fails is a RuntimeError, which names
        arm and seed.
    """
    if not arms.names:
        return Retrained()
    one_split = isinstance(data, LightningDataModule)
    if isinstance(data, LightningDataModule):
        data = copy.copy(data)
        data.trainer = None  # of which other processes know nothing
    split = seeds[0] if one_split else None
    trials = Trials(recipe, measure, arms.widths, data, split, baselines)
    runs = Runs({arm: [] for arm in arms.names}, {name: [] for name in baselines})
    earlier = {*kept.runs}
    done = all_runs(trials, arms.names, seeds, jobs, progress, kept)
    for (_, arm), found in done.items():
        if isinstance(found, Run):
            assert arm is not None
            runs.arms[arm].append(found)
            continue
        runs.left_out |= found.left_out
        runs.constants += [] if found.constant is None else [found.constant]
        runs.shares += [] if one_split else [found.test_per_train]
        for name, baseline in found.baselines.items():
            runs.baselines[name].append(baseline)
    share = fmean(runs.shares) if runs.shares else 0.0
    complete = {name: own for name, own in runs.baselines.items() if len(own) == len(seeds)}
    return Retrained(
        compared_arms(runs, share, margin),
        compared(complete, runs.scored("hybrid"), margin, share),
        fmean(each.mean for each in runs.constants) if runs.constants else None,
        runs.left_out,
        sum(key in earlier and trials.models(key[1]) > 0 for key in done),
    )


def _goes_around(model: LightningModule, measure: Measure, batches: Sequence[Any]) -> bool:
    """Whether the outputs depend on the inputs with all photonic outputs at zero."""
    with ExitStack() as stack:
        for module in photonic_modules(model).values():
            stack.enter_context(replaced(module, torch.zeros_like))
        outputs, _ = measure.outputs(model, batches)
    return not torch.allclose(outputs, outputs[:1].expand_as(outputs), rtol=1e-5, atol=1e-6)


# --- verdicts -------------------------------------------------------------------------------------


def compared_arms(runs: Runs, share: float, margin: float) -> tuple[RetrainedArm, ...]:
    """Return the arms, `"hybrid"` first, each with what its comparison with that means.

    `share` is the mean of `shares`, 0 where all runs have the same test rows.
    """
    ahead, names = runs.arms["hybrid"], [name for name in runs.arms if name != "hybrid"]
    hybrid = _summary("hybrid", runs, share)
    proofs = [evidence(runs.scored("hybrid"), runs.scored(name), share) for name in names]
    arms = [hybrid]
    for name, judgement in zip(names, judged(proofs, margin), strict=True):
        behind = runs.arms[name]
        arm = replace(_summary(name, runs, share), improving=_improving(behind, ahead), **judgement)
        reason = _objection(judgement["verdict"], arm, hybrid, _improving(ahead, behind))
        arms.append(replace(arm, verdict="inconclusive", reason=reason) if reason else arm)
    return tuple(arms)


def _summary(arm: str, runs: Runs, share: float) -> RetrainedArm:
    scored, own = runs.scored(arm), runs.arms[arm]
    trainings = [run.training for run in own]
    return RetrainedArm(
        name=arm,
        scores=tuple(each.mean for each in scored),
        parameters=own[0].parameters,
        photonic_parameters=own[0].photonic_parameters,
        seconds=median(each.seconds for each in trainings),
        epochs=max(each.epochs for each in trainings),
        best_epochs=tuple(e.best_epoch for e in trainings if e.best_epoch is not None),
        rates=tuple(run.rate for run in own if run.rate is not None),
        beats_constant=beats(scored, runs.constants, share) if runs.constants else None,
    )


def _improving(runs: Sequence[Run], rivals: Sequence[Run]) -> tuple[bool, ...]:
    return tuple(
        may_catch_up(run.histories, rival.histories)
        for run, rival in zip(runs, rivals, strict=True)
        if run.histories and rival.histories
    )


def _objection(
    word: str, arm: RetrainedArm, hybrid: RetrainedArm, improving: Sequence[bool]
) -> str | None:
    """Say why a verdict would not survive a sceptic, if so; `improving` is of the hybrid model."""
    winners = {"helps": [hybrid], "hurts": [arm], "neutral": [hybrid, arm]}.get(word, [])
    if winners and all(each.beats_constant is False for each in winners):
        return _UNJUDGED
    loser = {"helps": arm.improving, "hurts": improving}.get(word)
    if loser is None:
        return None
    if not loser:
        return _UNWATCHED
    if sum(loser) < _MANY * len(loser):
        return None
    return ARM_IMPROVING if word == "helps" else MODEL_IMPROVING
