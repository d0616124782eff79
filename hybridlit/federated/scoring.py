"""Scores of weights, and checkpoints of them, without a training."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hybridlit.analysis.splits import first_batches
from hybridlit.internals.lightning import CLASS_PATH, INSTANTIATES, INSTANTIATOR
from hybridlit.recipe import Built
from hybridlit.resume.durable import save_durably

__all__ = ["save_model", "scores"]


def scores(built: Built, test: bool = True) -> dict[str, float]:
    """Return loss and metrics of a model on its validation rows, and on its test rows if asked."""
    found: dict[str, float] = {}
    model, data, trainer = built.model, built.data, built.trainer
    if first_batches(data, "val", 1):
        for logged in trainer.validate(model, data, verbose=False):
            found |= logged
    if test and first_batches(data, "test", 1):
        for logged in trainer.test(model, data, verbose=False):
            found |= logged
    return {name: float(value) for name, value in found.items()}


def save_model(built: Built, path: Path) -> None:
    """Save a model whose trainer has run it as a checkpoint that every verb takes."""
    kind = type(built.model)
    with TemporaryDirectory() as folder:
        plain = Path(folder, "plain.ckpt")
        built.trainer.save_checkpoint(plain, weights_only=True)
        content = torch.load(plain, map_location="cpu", weights_only=True)
    # as a model of the command line has it, so that `hybridlit test` knows the class
    noted = {CLASS_PATH: f"{kind.__module__}.{kind.__qualname__}", INSTANTIATOR: INSTANTIATES}
    content["hyper_parameters"] = {**content.get("hyper_parameters", {}), **noted}
    save_durably(content, path)
