"""Models trained from scratch with something else in the place of their photonic layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from hybridlit.analysis.ablation.arms import (
    STAND_INS,
    DoesNotApply,
    Widths,
    apply_arm,
    observed_widths,
)
from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.ablation.retraining import Recipe, Training, seeded
from hybridlit.analysis.replacement import replaced_output
from hybridlit.analysis.splits import batches_of, count_rows, first_batches
from hybridlit.analysis.statistics import (
    Interval,
    holm,
    interval,
    p_value,
    row_error,
    verdict,
)
from hybridlit.components import photonic_modules, split_parameters

__all__ = ["Applicable", "RetrainedArm", "applicable_arms", "retrained_arms"]

DataOf = Callable[[int], AbstractContextManager[LightningDataModule]]


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
            Where it is the last one, more epochs would have done better.
        rates: Whose optimizer settings what stands in for the photonic layers had, `"classical"` or
            `"photonic"`, seed by seed: the better by validation of the two; empty where they are
            the same, in other arms, and in trainings with a photonic stage.
        difference: Score of the hybrid model minus this score, seed by seed, with an interval over
            seeds and test rows; None for the hybrid model itself, and so are the rest.
        p_value: Of a difference of 0, corrected by Holm for the other retrained arms.
        verdict: What the difference means: is the photonic layer better than what stands in for it?
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


@dataclass(frozen=True)
class _Run:
    rows: npt.NDArray[np.float64]
    outputs: Tensor
    training: Training
    parameters: int
    photonic_parameters: int
    rate: str | None


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
    splits_vary: bool,
    margin: float,
    advance: Callable[[], object],
) -> tuple[RetrainedArm, ...]:
    """Train every arm with every seed, and compare them with the hybrid model seed by seed.

    Args:
        arms: What `applicable_arms` found, `"hybrid"` first.
        recipe: How models are made and trained.
        measure: How a row is scored.
        data_of: From a seed to the datamodule, set up inside the context.
        seeds: At least two.
        splits_vary: Whether seeds have splits of their own.
        margin: The smallest difference that matters.
        advance: Called after each run.

    Returns:
        The arms, `"hybrid"` first.

    Raises:
        RuntimeError: If a run fails; the message names arm and seed.
    """
    if not arms.names:
        return ()
    runs: dict[str, list[_Run]] = {arm: [] for arm in arms.names}
    shares = []
    for seed in seeds:  # seeds outside: whatever else the machine does hits all arms alike
        with data_of(seed) as datamodule:
            test = batches_of(datamodule, "test")
            if splits_vary:
                shares.append(count_rows(datamodule, "test") / count_rows(datamodule, "train"))
            for arm in arms.names:
                try:
                    run = _run(arm, arms.widths, seed, recipe, measure, datamodule, test)
                except Exception as error:
                    raise RuntimeError(
                        f"arm {arm!r} failed with seed {seed}: {type(error).__name__}: {error}"
                    ) from error
                runs[arm].append(run)
                advance()
    test_per_train = fmean(shares) if shares else 0.0
    reference, *others = (_summary(arm, runs[arm]) for arm in arms.names)
    evidence = [_differences(runs["hybrid"], runs[arm.name], test_per_train) for arm in others]
    p_values = holm([p_value(*each) for each in evidence])
    arguments = zip(others, evidence, p_values, strict=True)
    return reference, *(_judged(*each, margin) for each in arguments)


def _run(
    arm: str,
    widths: dict[str, Widths],
    seed: int,
    recipe: Recipe,
    measure: Measure,
    datamodule: LightningDataModule,
    test: list[object],
) -> _Run:
    """Train an arm, stand-ins at both rates where there are two, and score the better one."""
    choose = arm in STAND_INS and recipe.rates_differ and not recipe.photonic_stage
    best: tuple[LightningModule, Training, str | None] | None = None
    for rate in ("classical", "photonic") if choose else (None,):
        seeded(seed)  # so that arms start from the same weights wherever they share a module
        model = recipe.fresh_model()
        apply_arm(model, arm, widths, recipe.photonic_stage, rate == "photonic")
        seeded(seed)  # again: what the arm drew must not move dropout or the order of the data
        training = recipe.train(model, datamodule)
        if best is None or _better(training, best[1]):
            best = model, training, rate
        if training.lowest is None:
            break  # nothing to choose by, the test data least of all
    assert best is not None
    model, training, rate = best
    counts = {
        component: sum(p.numel() for p in parameters.values() if p.requires_grad)
        for component, parameters in split_parameters(model).items()
    }
    photonic = 0 if rate == "photonic" else counts["photonic"]  # marked for its rate only
    rows, outputs = measure(model, test)
    return _Run(rows, outputs, training, sum(counts.values()), photonic, rate)


def _better(one: Training, other: Training) -> bool:
    return one.lowest is not None and other.lowest is not None and one.lowest < other.lowest


def _goes_around(model: LightningModule, measure: Measure, batches: list[object]) -> bool:
    """Whether the outputs depend on the inputs with all photonic outputs at zero."""
    with ExitStack() as stack:
        for module in photonic_modules(model).values():
            stack.enter_context(replaced_output(module, torch.zeros_like))
        outputs, _ = measure.outputs(model, batches)
    return not torch.allclose(outputs, outputs[:1].expand_as(outputs), rtol=1e-5, atol=1e-6)


def _summary(arm: str, runs: Sequence[_Run]) -> RetrainedArm:
    return RetrainedArm(
        name=arm,
        scores=tuple(float(run.rows.mean()) for run in runs),
        parameters=runs[0].parameters,
        photonic_parameters=runs[0].photonic_parameters,
        seconds=median(run.training.seconds for run in runs),
        epochs=max(run.training.epochs for run in runs),
        best_epochs=tuple(
            run.training.best_epoch for run in runs if run.training.best_epoch is not None
        ),
        rates=tuple(run.rate for run in runs if run.rate is not None),
    )


def _differences(
    hybrid: Sequence[_Run], other: Sequence[_Run], test_per_train: float
) -> tuple[list[float], float, float]:
    """What `interval` takes: differences seed by seed, the correction, the error of the rows."""
    pairs = list(zip(hybrid, other, strict=True))
    rows = [ours.rows - theirs.rows for ours, theirs in pairs]
    values = [float(each.mean()) for each in rows]
    if all(torch.equal(ours.outputs, theirs.outputs) for ours, theirs in pairs):
        return values, test_per_train, 0.0  # the very same numbers: no row of any data could tell
    shares = all(np.isin(run.rows, (0, 1)).all() for pair in pairs for run in pair)
    if test_per_train:  # other splits have other test rows, so the values show their error
        return values, test_per_train, shares / (sum(map(len, rows)) + 2)
    return values, 0.0, row_error(np.mean(rows, axis=0), shares)


def _judged(
    arm: RetrainedArm,
    evidence: tuple[list[float], float, float],
    p: float,
    margin: float,
) -> RetrainedArm:
    difference = interval(*evidence)
    word = verdict(difference, margin, p)
    return replace(arm, difference=difference, p_value=p, verdict=word)
