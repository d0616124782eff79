"""Does the photonic layer of a recipe help? The recipe beside its twins, seed by seed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lightning.pytorch import LightningDataModule

from hybridlit.analysis.ablation import AblationStudy, ablation_study
from hybridlit.analysis.ablation.arms import ARMS
from hybridlit.analysis.splits import prepared, same_rows
from hybridlit.checks import choice
from hybridlit.recipe.building import build, build_data, trainer_arguments
from hybridlit.recipe.fitting import fitted
from hybridlit.recipe.reading import changed
from hybridlit.undisturbed import undisturbed

__all__ = ["TWINS", "compare_recipe"]

TWINS = ("mlp", "untrained")
"""Arms that differ from a recipe in one thing each: its layers are classical, or not trained."""


@undisturbed()
def compare_recipe(
    settings: Mapping[str, Any],
    *,
    arms: Sequence[str] = TWINS,
    seeds: int | Sequence[int] = 5,
    epochs: int | None = None,
    margin: float = 0.01,
    baselines: bool = True,
    jobs: int | None = 1,
    progress: bool | Callable[[str], object] = False,
    keep: str | os.PathLike[str] | None = None,
) -> AblationStudy:
    """Train a recipe and its twins with several seeds, on equal terms, as `ablation_study` does.

    A seed decides initial weights, and the split too unless the data come with test rows of their
    own. All arms have the recipe's Trainer, its callbacks included, and the same search for
    learning rates; beside them stand classical models of scikit-learn, tuned by the validation
    rows. A score is of the test rows, at the weights of the lowest validation loss.

    Args:
        settings: What a recipe says, of `read_recipe`, perhaps `changed`. A `budget` in it chooses
            the circuit of all arms, as in `hybridlit fit`.
        arms: What is trained beside the recipe: retrained arms of `ablation_study`.
        seeds: Number of seeds, or a list of them; at least two.
        epochs: Number of epochs; None: that of the recipe.
        margin: The smallest difference of the score that matters, above 0.
        baselines: Whether to fit the classical models.
        jobs: Number of processes, as of `ablation_study`.
        progress: As of `ablation_study`.
        keep: As of `ablation_study`, which goes on where it was killed.

    Returns:
        The study: print it, or use `to_markdown()`, `to_dict()` and `figure()`.

    Raises:
        ValueError: If the settings are wrong, or without a photonic layer.
        RuntimeError: If an arm cannot be trained; the message names arm and seed.
    """
    for arm in arms:
        choice(arm, "each entry of arms", ARMS)
    if epochs is not None:
        settings = changed(settings, {"trainer.max_epochs": epochs})
    if settings.get("budget") is not None:
        found = fitted(settings, settings["budget"])
        settings = found.settings
        if callable(progress):
            progress(found.line)
    options = trainer_arguments(settings)
    max_epochs = options.pop("max_epochs")
    if options["default_root_dir"] is None:
        del options["default_root_dir"]
    if max_epochs is None:
        raise ValueError("the recipe has no trainer.max_epochs: give epochs, the same for all arms")
    model, data, _ = build(settings, 0)
    return ablation_study(
        model,
        _data_of(settings, data),
        posthoc=False,
        retrained=list(arms),
        seeds=seeds,
        max_epochs=max_epochs,
        margin=margin,
        baselines=baselines,
        trainer_options=options,
        progress=progress,
        jobs=jobs,
        keep=keep,
    )


def _data_of(
    settings: Mapping[str, Any], data: LightningDataModule
) -> LightningDataModule | Callable[[int], LightningDataModule]:
    """A function from a seed to its data; or these data, if their test rows are always the same."""
    other = build_data(settings, 1)
    with prepared(data), prepared(other):
        same = same_rows(data, other, "test")
    return data if same else partial(build_data, settings)
