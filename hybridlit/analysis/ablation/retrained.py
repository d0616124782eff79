"""Models trained from scratch with something else in the place of their photonic layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from statistics import fmean, median

import torch
from lightning.pytorch import LightningDataModule, LightningModule

from hybridlit.analysis.ablation.arms import (
    STAND_INS,
    DoesNotApply,
    Widths,
    apply_arm,
    observed_widths,
)
from hybridlit.analysis.ablation.baselines import Baseline, BaselineRun, compared, fit_baselines
from hybridlit.analysis.ablation.constant import constant_predictor
from hybridlit.analysis.ablation.evidence import ScoredRows, beats, evidence
from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.ablation.retraining import Recipe, Training
from hybridlit.analysis.ablation.trials import best_of_trials, may_catch_up
from hybridlit.analysis.replacement import replaced_output
from hybridlit.analysis.splits import batches_of, count_rows, first_batches
from hybridlit.analysis.statistics import Interval, holm, verdict
from hybridlit.components import photonic_modules, split_parameters

__all__ = ["Applicable", "Retrained", "RetrainedArm", "applicable_arms", "retrained_arms"]

DataOf = Callable[[int], AbstractContextManager[LightningDataModule]]

_MANY = 0.5
"""Share of runs that were still improving from which on a verdict is held back."""


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
            would allow it; None if nothing was held back.
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


@dataclass(frozen=True)
class Retrained:
    """Everything that was trained from scratch, on the same rows.

    Attributes:
        arms: The arms, `"hybrid"` first.
        baselines: Classical models of scikit-learn.
        constant: Mean score of the best constant answer; None where that is not known.
        left_out: Why baselines are missing, by name.
    """

    arms: tuple[RetrainedArm, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    constant: float | None = None
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Run:
    scored: ScoredRows
    training: Training
    parameters: int
    photonic_parameters: int
    rate: str | None
    histories: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Applicable:
    """The arms that make sense for a model.

    Attributes:
        names: Keys of `ARMS`.
        widths: Widths of the model's photonic modules.
        left_out: Why other arms are missing, by name.
    """

    names: tuple[str, ...]
    widths: dict[str, Widths]
    left_out: dict[str, str]


def applicable_arms(
    wanted: Sequence[str], recipe: Recipe, measure: Measure, datamodule: LightningDataModule
) -> Applicable:
    """Find out which arms make sense, by making a model of each.

    Args:
        wanted: Keys of `ARMS`.
        recipe: How a model is made.
        measure: How a model is run.
        datamodule: A datamodule that is set up.

    Returns:
        The arms.

    Raises:
        ValueError: If there are no training data.
    """
    if not wanted:
        return Applicable((), {}, {})
    batches = first_batches(datamodule, "train", 2)
    if not batches:
        raise ValueError(f"{type(datamodule).__name__} has no training data")
    widths = observed_widths(recipe.model, lambda: measure.outputs(recipe.model, batches))
    names, left_out = [], {}
    for arm in wanted:
        try:
            apply_arm(recipe.fresh_model(), arm, widths, recipe.photonic_stage)
            if arm == "classical_only" and not _goes_around(recipe.model, measure, batches):
                raise DoesNotApply("nothing goes around the photonic layers")
            names.append(arm)
        except DoesNotApply as reason:
            left_out[arm] = str(reason)
    return Applicable(tuple(names), widths, left_out)


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
        The arms and what they are compared with.

    Raises:
        RuntimeError: If a run fails; the message names arm and seed.
    """
    if not arms.names:
        return Retrained()
    runs: dict[str, list[_Run]] = {arm: [] for arm in arms.names}
    fitted: dict[str, list[BaselineRun]] = {name: [] for name in baselines}
    constants, shares = [], []
    left_out: dict[str, str] = {}
    for seed in seeds:  # seeds outside: whatever else the machine does hits all arms alike
        with data_of(seed) as datamodule:
            test = batches_of(datamodule, "test")
            if splits_vary:
                shares.append(count_rows(datamodule, "test") / count_rows(datamodule, "train"))
            constants.append(constant_predictor(recipe.model, measure, datamodule, test))
            for arm in arms.names:
                try:
                    run = _run(arm, arms.widths, seed, recipe, measure, datamodule, test)
                except Exception as error:
                    raise RuntimeError(
                        f"arm {arm!r} failed with seed {seed}: {type(error).__name__}: {error}"
                    ) from error
                runs[arm].append(run)
                advance()
            validates = recipe.validates(datamodule)
            given = (baselines, recipe.model, measure, datamodule, test, seed, validates, advance)
            found, reasons = fit_baselines(*given)
            left_out |= reasons
            for name, baseline in found.items():
                fitted[name].append(baseline)
    share = fmean(shares) if shares else 0.0
    scored = {arm: [run.scored for run in own] for arm, own in runs.items()}
    known = [each for each in constants if each is not None]
    reference, *others = (_summary(arm, runs[arm], known, share) for arm in arms.names)
    proofs = [evidence(scored["hybrid"], scored[arm.name], share) for arm in others]
    p_values = holm([proof.p_value for proof in proofs])
    judged = []
    for other, proof, p in zip(others, proofs, p_values, strict=True):
        behind, ahead = runs[other.name], runs["hybrid"]
        known_of = replace(other, improving=_improving(behind, ahead))
        word = verdict(proof.difference, margin, p)
        reason = _objection(word, known_of, reference, _improving(ahead, behind))
        judged.append(
            replace(
                known_of,
                difference=proof.difference,
                p_value=p,
                verdict="inconclusive" if reason else word,
                reason=reason,
            )
        )
    complete = {name: own for name, own in fitted.items() if len(own) == len(seeds)}
    return Retrained(
        (reference, *judged),
        compared(complete, scored["hybrid"], margin, share),
        fmean(float(each.rows.mean()) for each in known) if known else None,
        left_out,
    )


def _run(
    arm: str,
    widths: dict[str, Widths],
    seed: int,
    recipe: Recipe,
    measure: Measure,
    datamodule: LightningDataModule,
    test: list[object],
) -> _Run:
    """Train an arm at every setting, and score the best."""
    trained = best_of_trials(arm, widths, seed, recipe, datamodule)
    counts = {
        component: sum(p.numel() for p in parameters.values() if p.requires_grad)
        for component, parameters in split_parameters(trained.model).items()
    }
    photonic = 0 if arm in STAND_INS else counts["photonic"]  # marked for its settings only
    return _Run(
        ScoredRows(*measure(trained.model, test)),
        trained.training,
        sum(counts.values()),
        photonic,
        trained.setting if trained.choices > 1 else None,
        trained.histories,
    )


def _goes_around(model: LightningModule, measure: Measure, batches: list[object]) -> bool:
    """Whether the outputs depend on the inputs with all photonic outputs at zero."""
    with ExitStack() as stack:
        for module in photonic_modules(model).values():
            stack.enter_context(replaced_output(module, torch.zeros_like))
        outputs, _ = measure.outputs(model, batches)
    return not torch.allclose(outputs, outputs[:1].expand_as(outputs), rtol=1e-5, atol=1e-6)


def _summary(
    arm: str, runs: Sequence[_Run], constants: Sequence[ScoredRows], share: float
) -> RetrainedArm:
    scored = [run.scored for run in runs]
    return RetrainedArm(
        name=arm,
        scores=tuple(float(each.rows.mean()) for each in scored),
        parameters=runs[0].parameters,
        photonic_parameters=runs[0].photonic_parameters,
        seconds=median(run.training.seconds for run in runs),
        epochs=max(run.training.epochs for run in runs),
        best_epochs=tuple(
            run.training.best_epoch for run in runs if run.training.best_epoch is not None
        ),
        rates=tuple(run.rate for run in runs if run.rate is not None),
        beats_constant=beats(scored, constants, share) if constants else None,
    )


def _improving(runs: Sequence[_Run], rivals: Sequence[_Run]) -> tuple[bool, ...]:
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
        return "no better than a constant"
    loser = {"helps": arm.improving, "hurts": improving}.get(word)
    if loser is None:
        return None
    if not loser:
        return "no validations"
    if sum(loser) < _MANY * len(loser):
        return None
    return "was still improving" if word == "helps" else "the model was still improving"
