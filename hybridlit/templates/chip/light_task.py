"""The task of a chip: light over its outputs, of which some may not have been measured."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridlit.templates.chip.metrics import AmplitudeFidelity
from hybridlit.templates.tasks import NoScoreError
from hybridlit.templates.tasks.regression import Regression

__all__ = ["Light"]


class Light(Regression):
    """Values that are light: a row scores by how alike predicted and measured distributions are.

    Args:
        output_dim: Number of outputs, at least 1.
    """

    score = "amplitude_fidelity"
    default_metrics = ("amplitude_fidelity", "total_variation")

    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the amplitude fidelity of each row; without light, the mean of the others."""
        found, lit = AmplitudeFidelity().by_row(predictions, targets)
        if not bool(lit.any()):
            raise NoScoreError("amplitude fidelity needs light in some test row, got none")
        return torch.where(lit, found, found[lit].mean())

    def constant(self, targets: Tensor) -> Tensor:
        """Return the mean light of each output, (output_dim,); 0 where nothing was measured."""
        return targets.double().nanmean(0).nan_to_num()
