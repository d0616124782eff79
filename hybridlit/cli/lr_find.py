"""`hybridlit lr-find`: which learning rate suits each component."""

from __future__ import annotations

from pathlib import Path

import torch

from hybridlit.analysis.learning_rates import find_learning_rates
from hybridlit.cli.checkpoints import checkpoint_path
from hybridlit.cli.draw import FIGURES
from hybridlit.cli.loading import load_run
from hybridlit.recipe.building import datamodule_of_recipe, model_of_recipe
from hybridlit.recipe.reading import settings_of

__all__ = ["lr_find"]


def lr_find(
    config: str | None = None,
    ckpt: str | None = None,
    out: str = "learning_rates.png",
    low: float = 1e-5,
    high: float = 1.0,
    points: int = 16,
    steps: int = 50,
    template: str | None = None,
) -> list[Path]:
    """Find a learning rate for each component of a model, by short trainings of copies.

    Args:
        config: Recipe of the model and its data, a YAML file or a name.
        ckpt: Checkpoint of a trained model, instead of a recipe: a file, last or best.
        out: File of the curves, with the suffix .png, .svg or .pdf.
        low: Smallest rate that is tried.
        high: Largest one.
        points: Number of rates.
        steps: Optimizer steps at each rate.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.
    """
    path = Path(out)
    if path.suffix.lower() not in FIGURES:
        raise ValueError(f"out must end in {', '.join(FIGURES)}, got {out!r}")
    if (config is None) == (ckpt is None):
        raise ValueError(
            "give one of --config and --ckpt, got " + ("neither" if config is None else "both")
        )
    if config is None:
        model, data = load_run(checkpoint_path(ckpt or ""), template)
    else:
        seed = settings_of(Path(config)).get("seed_everything")
        torch.manual_seed(seed if type(seed) is int else 0)
        data = datamodule_of_recipe(config)
        model = model_of_recipe(config)
    found = find_learning_rates(model, data, low=low, high=high, points=points, steps=steps)
    print(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.figure().savefig(path)
    return [path]
