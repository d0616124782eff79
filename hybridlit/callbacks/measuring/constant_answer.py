"""What a constant answer scores on the validation rows of a run: the least a model must beat."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from hybridlit.templates import HybridModule
from hybridlit.undisturbed import undisturbed

__all__ = ["ConstantAnswer"]

_ROWS = 100_000
"""Targets that are kept of either split at most, the first ones."""


class ConstantAnswer:
    """Keeps targets that pass anyway, of one epoch, and scores the best constant answer to them.

    That is the most frequent class, or the mean, of the training rows.
    """

    def __init__(self) -> None:
        self.scores: dict[str, float] | None = None
        self._kept: dict[str, list[Tensor]] = {"train": [], "val": []}
        self._left = {"train": _ROWS, "val": _ROWS}

    def see(self, stage: str, model: LightningModule, batch: Any) -> None:
        """Keep the targets of a batch of a template, until there are scores."""
        if self.scores is not None or not isinstance(model, HybridModule):
            return
        if self._left[stage] > 0:
            with undisturbed():  # a method of the user, called once more
                targets = model.unpack(batch)[1].detach().cpu()
            self._kept[stage].append(targets)
            self._left[stage] -= len(targets)

    def end_epoch(self) -> None:
        """Keep no more targets of training rows: all have passed."""
        self._left["train"] = 0

    def score(self, model: LightningModule) -> dict[str, float]:
        """Return the constant answer's metrics on the validation rows, by name, found once."""
        if self.scores is None and isinstance(model, HybridModule) and all(self._kept.values()):
            self.scores = {}  # whatever happens, once is enough
            train, val = (_prepared(model, torch.cat(kept)) for kept in self._kept.values())
            self._kept = {"train": [], "val": []}
            outputs = model.task.constant(train).to(torch.get_default_dtype())
            outputs = outputs.expand(len(val), -1).to(model.device)
            metrics = model.build_metrics().to(model.device)
            metrics.update(model.calibrated(outputs), model.in_units(val.to(model.device)))
            found = {name: float(value) for name, value in metrics.compute().items()}
            self.scores = {name: value for name, value in found.items() if math.isfinite(value)}
        return self.scores or {}


def _prepared(model: HybridModule, targets: Tensor) -> Tensor:
    outputs = torch.zeros(len(targets), model.hparams["output_dim"])
    return model.prepare_targets(outputs, targets)
