"""Does the photonic part of a model contribute? Ablations after training, and trained again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule

from hybridlit.analysis.ablation.arms import ARMS
from hybridlit.analysis.ablation.baselines import Baseline, baseline_names, compared, fit_baselines
from hybridlit.analysis.ablation.decided import decided_by
from hybridlit.analysis.ablation.kept import Kept
from hybridlit.analysis.ablation.measure import Bench, Forward, Measure, RowScore, ScoredRows
from hybridlit.analysis.ablation.parts import chosen_parts
from hybridlit.analysis.ablation.posthoc import REPLACEMENTS, Trained, posthoc_arms
from hybridlit.analysis.ablation.progress import Progress
from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.ablation.retrained import applicable_arms, retrained_arms
from hybridlit.analysis.ablation.retraining import Build, Recipe, seeded
from hybridlit.analysis.ablation.runs import Data, prepared_split
from hybridlit.analysis.splits import batches_of, count_rows, warn_of_shared_rows
from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer, number
from hybridlit.components import photonic_modules
from hybridlit.internals.lightning import attached_trainer
from hybridlit.undisturbed import undisturbed

__all__ = ["ablation_study"]


@checked
def ablation_study(
    model: LightningModule,
    datamodule: Data,
    *,
    posthoc: bool = True,
    retrained: bool | Sequence[str] = True,
    components: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 5,
    max_epochs: int | None = None,
    margin: float = 0.01,
    permutations: int = 100,
    draws: int = 5,
    baselines: bool = True,
    build: Build | None = None,
    score: RowScore | None = None,
    forward: Forward | None = None,
    monitor: str | None = "val/loss",
    trainer_options: dict[str, Any] | None = None,
    progress: bool | Callable[[str], object] = True,
    jobs: int | None = None,
    keep: str | os.PathLike[str] | None = None,
) -> AblationStudy:
    """Measure what the photonic part of a model is worth, on test rows, with intervals.

    Two kinds of comparison answer two questions. *Post-hoc* arms replace the output of a part of
    the trained model: they tell what this model relies on. *Retrained* arms are trained from
    scratch with something else in the place of the photonic layers, the same data, epochs, seeds
    and optimizer settings: they tell what the photonic layers are good for. A large loss post-hoc
    and none retrained is common, and means that something simpler would have done.

    Post-hoc, for each part: `zero`, `mean` (its mean over the training data), `permutation` (its
    outputs exchanged between test rows) and `reinitialised` (parameters drawn anew; of photonic
    layers the phases and bandwidths). Retrained:

    - `hybrid`: the model as it is, the reference.
    - `classical_only`: zeros, if something goes around the photonic layers.
    - `linear`: linear layers.
    - `mlp`: classical layers with as many trained parameters (`MatchedMLP`).
    - `random_features`: as many frozen random Fourier features as the circuit has outcomes, and the
      same linear readout; if it has none, or is unknown, as many as there are outputs.
    - `untrained`: the photonic layers, their phases and bandwidths kept as drawn.
    - `distinguishable`: the same circuits with photons that do not interfere with one another.
    - `single_photon`: the same circuits with one photon, in the first occupied mode. It has fewer
      outcomes to read, so `distinguishable` is the purer test of interference.

    Arms of a seed start from the same weights wherever they share a module. The weights of the
    lowest `monitor` are tested; the test data choose nothing. Where the model optimizes classical
    and photonic parameters differently, every arm, `hybrid` included, has the same search: it is
    trained with the model's settings, with the learning rate, weight decay and schedule of its
    classical parameters for all, and with those of its photonic ones for all; the lowest `monitor`
    decides. That is up to three trainings an arm and seed. Other settings are not tuned.

    Beside them stand `baselines` of scikit-learn on the same rows, each with a small grid that the
    validation data choose from, and the score of the best constant answer.

    Differences are the model's score minus the arm's, so that more than 0 speaks for the photonic
    part. Intervals have 95 % confidence; p values are corrected for the number of arms (Holm), and
    only those below 0.05 count as `helps` or `hurts`. `neutral` says that the interval lies within
    `margin`. Nothing is said to help where the beaten arm was still improving at the end in half of
    its runs or more, fast enough to catch up (see `may_catch_up`), where there were no validations
    to know that from, or where the model is no better than a constant answer; such verdicts are
    `inconclusive`, with a reason. So is `hurts` the other way round, and `neutral` between models
    that have learned nothing. On one split, intervals are over seeds and test rows; over splits
    they are corrected for shared rows (Nadeau and Bengio, 2003). Post-hoc intervals are over test
    rows; `row_errors` says how well they hold what they claim where rows are few. R2 is relative to
    the variance of the test targets as they are.

    Post-hoc arms have words of their own: the model `relies on` a part, `does not rely on` it, or
    is `better without` it.

    The model is left as it was, and so are all random number generators; after an error as well.

    Args:
        model: A trained model. Photonic layers of other libraries go through `mark_photonic`; their
            circuits are unknown, so that some arms do not apply.
        datamodule: Training, validation and test data, all test batches held in memory. Or a
            function from a seed to the datamodule of that split: then a seed decides the split as
            well, and intervals cover splits; otherwise only the training rows of this one. Post-hoc
            arms use the split of the first seed: the model must have been trained on it. A
            datamodule whose `setup` draws its split without a seed has another one here.
        posthoc: Whether to run the post-hoc arms.
        retrained: Whether to run the retrained arms: all that apply, or those named.
        components: Qualified names of the parts to replace post-hoc, as in `model_parts` or
            `photonic_modules`; None: the photonic layers.
        seeds: Number of seeds, 0, 1, ..., or a list of them; at least two.
        max_epochs: Epochs of each training; None: those of the Trainer that the model is attached
            to.
        margin: The smallest difference of the score that matters, above 0.
        permutations: Number of permutations, at least 30.
        draws: Number of draws of a part's parameters, at least 1.
        baselines: Whether to fit baselines as well: logistic or ridge regression, a support vector
            machine, and an MLP, for the scores of the template. Without scikit-learn, of the extra
            `analysis`, they are left out.
        build: Makes an untrained model like `model`; None: its class is called with the arguments
            that it was constructed with. Needed for models that are no `HybridModule`, and where
            layers were frozen or exchanged after the construction.
        score: From outputs and targets of all rows, as the loss takes them, to one number a row,
            more is better, shape (rows,); the score is their mean. None: accuracy, or R2 for
            regression.
        forward: From (model, batch) to outputs and targets, each of shape (batch, ...), for models
            that are no `HybridModule`.
        monitor: What validations are judged by, less is better; None, or without validation data:
            the last weights are tested.
        trainer_options: More arguments of the Trainer, the same for all arms, such as
            `accelerator`, `gradient_clip_val` or `callbacks`.
        progress: Whether to say on stderr how far it is: a bar that names what is running in a
            terminal, and a line for each run elsewhere; or what is called with these lines.
        jobs: Number of processes that train arms side by side, at least 1, each in one thread, so
            that any number gives the same numbers; None: all in this one, with its threads. Other
            processes get model, data and functions: those must be picklable, functions by their
            name in a module.
        keep: File in which runs are kept as they are done, such as `study.arms`; None: nowhere. The
            same call goes on where it was killed, and gives the same numbers, unless data draw
            from a generator of their own; more seeds or other arms take what is there, too. With
            another model, other data, settings, code or versions it says so and begins anew, as it
            does where they cannot be compared: a lambda, or a class typed into a notebook. The file
            stays until you remove it.

    Returns:
        The study: print it, or use `to_markdown()`, `to_dict()` and `figure()`.

    Raises:
        TypeError: If an argument has the wrong type, or a model that is no `HybridModule` lacks
            `build`, `score` or `forward`.
        ValueError: If an argument is out of range or unknown, the model has no photonic layer, or
            there are fewer than two test rows.
        RuntimeError: If an arm cannot be trained; the message names arm and seed.

    Example:
        >>> from hybridlit import ParallelHybrid, SklearnDataModule
        >>> model = ParallelHybrid(input_dim=13, output_dim=3, quantum_dim=3)
        >>> data = SklearnDataModule("wine")
        >>> study = ablation_study(
        ...     model,
        ...     data,
        ...     retrained=["linear"],
        ...     seeds=2,
        ...     max_epochs=1,
        ...     baselines=False,
        ...     progress=False,
        ... )
        >>> [arm.name for arm in study.retrained]
        ['hybrid', 'linear']
    """
    number(margin, "margin", above=0.0)
    integer(permutations, "permutations", 30)
    integer(draws, "draws", 1)
    measure, wanted = Measure(model, score, forward), _arms(retrained, model)
    numbers = _seeds(seeds, 2 if wanted else 1)
    parts = chosen_parts(model, components, photonic_modules(model)) if posthoc else {}
    epochs = _epochs(model, max_epochs) if wanted else 0
    recipe = Recipe(model, build, epochs, monitor, dict(trainer_options or {}))
    if jobs is not None:
        integer(jobs, "jobs", 1)
    compares = baselines and bool(wanted or parts)
    rivals, left_out = baseline_names(model, measure) if compares else ([], {})
    kept = Kept(keep if wanted else None)
    with undisturbed(model, whole=True), Progress(progress) as told:
        with prepared_split(datamodule, numbers[0]) as data:
            test_rows = _test_rows(data)
            seeded(numbers[0])
            shared = warn_of_shared_rows(data)
            seeded(numbers[0])
            arms = applicable_arms(wanted, recipe, measure, data)
            if kept.path is not None:
                seeded(numbers[0])
                of_seeds = None if isinstance(datamodule, LightningDataModule) else datamodule
                split = numbers[0] if of_seeds is None else None
                functions = [build, score, forward, of_seeds]
                told.say(kept.go_on(decided_by(recipe, functions, data, split, rivals, jobs)))
            each = len(numbers) * (len(arms.names) + len(rivals)) if wanted else len(rivals)
            told.expect(len(REPLACEMENTS) * len(parts) + each)
            seeded(numbers[0])
            bench = Bench(measure, data, batches_of(data, "test") if parts else (), numbers[0])
            found = posthoc_arms(Trained(model, bench, permutations, draws), parts, margin, told)
            beside: tuple[Baseline, ...] = ()
            if not wanted and found.scored is not None:  # beside the model, on its one split
                beside, more = _beside(found.scored, rivals, recipe, bench, margin, told)
                left_out |= more
        again = retrained_arms(
            arms, recipe, measure, datamodule, numbers, baselines=rivals, margin=margin, jobs=jobs,
            progress=told, kept=kept,
        )  # fmt: skip
    return AblationStudy(
        model=type(model).__name__,
        metric=measure.name,
        margin=float(margin),
        seeds=tuple(numbers),
        splits_vary=not isinstance(datamodule, LightningDataModule),
        score=None if found.scored is None else found.scored.mean,
        test_rows=test_rows,
        posthoc=found.arms,
        retrained=again.arms,
        left_out={**arms.left_out, **found.left_out, **left_out, **again.left_out},
        baselines=again.baselines or beside,
        constant=found.constant if again.constant is None else again.constant,
        beats_constant=found.beats_constant,
        shared_rows=tuple(shared),
        earlier_runs=again.earlier_runs,
    )


def _beside(
    scored: ScoredRows,
    names: Sequence[str],
    recipe: Recipe,
    bench: Bench,
    margin: float,
    told: Progress,
) -> tuple[tuple[Baseline, ...], dict[str, str]]:
    """Compare a trained model with baselines on the same rows; return why others are missing."""
    told.running("baselines")
    runs, reasons = fit_baselines(names, recipe.model, bench, recipe.validates(bench.data))
    told.done(len(names))
    return compared({name: [run] for name, run in runs.items()}, [scored], margin), reasons


def _test_rows(data: LightningDataModule) -> int:
    rows = count_rows(data, "test")
    if rows == 1:
        raise ValueError("one test row tells nothing: give at least 2, better 100 or more")
    return rows


def _arms(retrained: bool | Sequence[str], model: LightningModule) -> list[str]:
    if not retrained:
        return []
    named = list(ARMS) if retrained is True else ["hybrid", *retrained]
    for arm in named:
        choice(arm, "each entry of retrained", ARMS)
    if not photonic_modules(model):
        raise ValueError(
            f"{type(model).__name__} holds no photonic layer, so there is nothing to replace: "
            "declare one with mark_photonic, or give retrained=False and components=[...]"
        )
    return [arm for arm in ARMS if arm in named]


def _seeds(seeds: int | Sequence[int], least: int) -> list[int]:
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        numbers = [integer(seed, "each entry of seeds", 0) for seed in seeds]
    else:
        numbers = list(range(integer(seeds, "seeds", 1)))
    if len(set(numbers)) < max(least, len(numbers)):
        raise ValueError(
            f"seeds must be {least} or more different ones, got {numbers}: from fewer, nothing is "
            "known about the spread between runs"
        )
    return numbers


def _epochs(model: LightningModule, max_epochs: int | None) -> int:
    if max_epochs is not None:
        return integer(max_epochs, "max_epochs", 1)
    trainer = attached_trainer(model)
    if trainer is None or trainer.max_epochs is None or trainer.max_epochs < 1:
        raise ValueError(
            "max_epochs must be given: the model is attached to no Trainer that has a number of "
            "epochs, and a fair comparison needs the same for all arms"
        )
    return int(trainer.max_epochs)
