"""One training of a recipe, and how good its best weights are."""

# Without postponed annotations, which pdoc cannot read in a named tuple.

from collections.abc import Iterable, Mapping
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningDataModule

from hybridlit.analysis.ablation.measure import Measure, ScoredRows
from hybridlit.analysis.splits import batches_of, count_rows, first_batches, prepared
from hybridlit.analysis.trainings import BestWeights, Training, fit_to_the_best
from hybridlit.components import split_parameters
from hybridlit.recipe.building import build
from hybridlit.templates import HybridModule
from hybridlit.undisturbed import undisturbed

__all__ = ["Trained", "train"]


class Trained(NamedTuple):
    """A training, at the weights of its best validation.

    Attributes:
        model: The model with these weights; the last ones where there are no validation data.
        data: Its data, set up.
        training: What it took, and the loss of each validation.
        metric: Name of the scores, `"acc"` or `"r2"`, of which more is better.
        validation: Score on the validation rows; None if there are none.
        tested: Scores of the test rows; None if there are none, or they were not asked for.
        parameters: Number of parameters that train.
        photonic_parameters: Those of them that are photonic.
        test_per_train: Test rows for each training row, which intervals over splits need.

    Example:
        >>> Trained._fields[:5]
        ('model', 'data', 'training', 'metric', 'validation')
    """

    model: HybridModule
    data: LightningDataModule
    training: Training
    metric: str
    validation: float | None
    tested: ScoredRows | None
    parameters: int
    photonic_parameters: int
    test_per_train: float


@undisturbed()
def train(
    settings: Mapping[str, Any],
    seed: int | None = None,
    *,
    callbacks: Iterable[Callback] = (),
    test: bool = True,
    **options: Any,
) -> Trained:
    """Train what a recipe describes, keep the weights with the lowest `val/loss`, and score them.

    The same settings and seed give the same weights and scores; random number generators outside
    stay as they are.

    Args:
        settings: What a recipe says, of `read_recipe`, perhaps `changed`.
        seed: As of `build`.
        callbacks: Further ones, such as one that ends a training early.
        test: Whether the test rows are scored.
        **options: Arguments of the Trainer that differ from the recipe's.

    Returns:
        The model, its scores, and what the training took.

    Raises:
        ValueError: If the settings are wrong, or no validation loss was ever finite.
        NoScoreError: If the outputs of the model are not finite.

    Example:
        >>> settings = {
        ...     "model": {
        ...         "class_path": "SequentialHybrid",
        ...         "init_args": {"input_dim": 4, "quantum_dim": 2, "output_dim": 3},
        ...     },
        ...     "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
        ... }
        >>> found = train(settings, seed=1, max_epochs=1)
        >>> found.metric, found.parameters, found.photonic_parameters
        ('acc', 460, 63)
    """
    with TemporaryDirectory() as folder:
        options = {"default_root_dir": folder, **options}
        model, data, trainer = build(settings, seed, callbacks=callbacks, **options)
        with prepared(data):
            validates = bool(first_batches(data, "val", 1))
            if validates:
                trainer.callbacks.append(BestWeights("val/loss"))  # type: ignore[attr-defined]
            training = fit_to_the_best(trainer, model, data)
            measure = Measure(model)
            validation = measure(model, batches_of(data, "val")).mean if validates else None
            tests = test and bool(first_batches(data, "test", 1))
            tested = measure(model, batches_of(data, "test")) if tests else None
            share = count_rows(data, "test") / count_rows(data, "train") if tests else 0.0
    counts = {
        component: sum(each.numel() for each in own.values() if each.requires_grad)
        for component, own in split_parameters(model).items()
    }
    return Trained(
        model,
        data,
        training,
        measure.name,
        validation,
        tested,
        sum(counts.values()),
        counts["photonic"],
        share,
    )
