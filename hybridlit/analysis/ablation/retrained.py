"""Models trained from scratch with something else in the place of their photonic layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule, LightningModule

from hybridlit.analysis.ablation.arms import ARMS, DoesNotApply, Widths, apply_arm, observed_widths
from hybridlit.analysis.ablation.baselines import Baseline, BaselineRun, compared, fit_baselines
from hybridlit.analysis.ablation.evidence import beats, evidence, judged, may_catch_up
from hybridlit.analysis.ablation.measure import Bench, Measure, ScoredRows
from hybridlit.analysis.ablation.retraining import Recipe, Run, best_of_trials
from hybridlit.analysis.replacement import replaced
from hybridlit.analysis.splits import batches_of, count_rows, first_batches
from hybridlit.analysis.statistics import Interval
from hybridlit.components import photonic_modules

__all__ = [
    "ARM_IMPROVING",
    "MODEL_IMPROVING",
    "REASONS",
    "Applicable",
    "DataOf",
    "Retrained",
    "RetrainedArm",
    "applicable_arms",
    "retrained_arms",
]

DataOf = Callable[[int], AbstractContextManager[LightningDataModule]]

_MANY = 0.5
"""Share of runs that were still improving from which on a verdict is held back."""

ARM_IMPROVING, MODEL_IMPROVING = "was still improving", "the model was still improving"
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
    """All that was trained from scratch, with the score of the best constant if that is known."""

    arms: tuple[RetrainedArm, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    constant: float | None = None
    left_out: Mapping[str, str] = {}


class Applicable(NamedTuple):
    """Arms that make sense for a model, widths of its photonic modules, reasons of other arms."""

    names: list[str]
    widths: dict[str, Widths]
    left_out: dict[str, str]


@dataclass
class _Runs:
    """Runs of everything, seed by seed, and test rows for each training row of their splits."""

    arms: dict[str, list[Run]]
    baselines: dict[str, list[BaselineRun]]
    constants: list[ScoredRows] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def scored(self, arm: str) -> list[ScoredRows]:
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
    data_of: DataOf,
    seeds: Sequence[int],
    *,
    baselines: Sequence[str],
    splits_vary: bool,
    margin: float,
    advance: Callable[[], object],
) -> Retrained:
    """Train every arm with every seed, and compare them with the hybrid model seed by seed.

    Args:
        arms: What `applicable_arms` found, `"hybrid"` first.
        recipe: How models are made and trained.
        measure: How a row is scored.
        data_of: From a seed to the datamodule, set up inside the context.
        seeds: At least two.
        baselines: Names of the baselines to fit to the same data.
        splits_vary: Whether seeds have splits of their own.
        margin: The smallest difference that matters.
        advance: Called after each run.

    Returns:
        The arms and what they are compared with. A run that fails is a RuntimeError, which names
        arm and seed.
    """
    if not arms.names:
        return Retrained()
    runs = _Runs({arm: [] for arm in arms.names}, {name: [] for name in baselines})
    for seed in seeds:  # seeds outside: whatever else the machine does hits all arms alike
        with data_of(seed) as data:
            bench = Bench(measure, data, batches_of(data, "test"), seed)
            if splits_vary:
                runs.shares.append(count_rows(data, "test") / count_rows(data, "train"))
            constant = bench.constant(recipe.model)
            runs.constants += [] if constant is None else [constant]
            for arm, own in runs.arms.items():
                try:
                    own.append(best_of_trials(arm, arms.widths, recipe, bench))
                except Exception as error:
                    raise RuntimeError(
                        f"arm {arm!r} failed with seed {seed}: {type(error).__name__}: {error}"
                    ) from error
                advance()
            validates = recipe.validates(data)
            found, reasons = fit_baselines(baselines, recipe.model, bench, validates, advance)
            runs.left_out |= reasons
            for name, baseline in found.items():
                runs.baselines[name].append(baseline)
    share = fmean(runs.shares) if runs.shares else 0.0
    complete = {name: own for name, own in runs.baselines.items() if len(own) == len(seeds)}
    return Retrained(
        _compared(runs, share, margin),
        compared(complete, runs.scored("hybrid"), margin, share),
        fmean(each.mean for each in runs.constants) if runs.constants else None,
        runs.left_out,
    )


def _goes_around(model: LightningModule, measure: Measure, batches: Sequence[Any]) -> bool:
    """Whether the outputs depend on the inputs with all photonic outputs at zero."""
    with ExitStack() as stack:
        for module in photonic_modules(model).values():
            stack.enter_context(replaced(module, torch.zeros_like))
        outputs, _ = measure.outputs(model, batches)
    return not torch.allclose(outputs, outputs[:1].expand_as(outputs), rtol=1e-5, atol=1e-6)


# --- verdicts -------------------------------------------------------------------------------------


def _compared(runs: _Runs, share: float, margin: float) -> tuple[RetrainedArm, ...]:
    """The arms, `"hybrid"` first, each with what its comparison with that means."""
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


def _summary(arm: str, runs: _Runs, share: float) -> RetrainedArm:
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
