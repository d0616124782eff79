"""Several models of the same targets, whose mean is predicted: seeds, or other templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.data.inputs import RawRows
from hybridlit.templates.base import HybridModule
from hybridlit.templates.predictions.predicting import labelled, predicted, read_rows
from hybridlit.templates.predictions.table import Predictions
from hybridlit.templates.predictions.uncertainty import disagreement

__all__ = ["Ensemble"]


class Ensemble:
    """Predict the mean of several models, and how far they disagree.

    Models of other seeds disagree most where the training rows say least (Lakshminarayanan, Pritzel
    and Blundell, arXiv:1612.01474). Each prepares the rows as it was trained.

    Args:
        models: At least two trained models of one task and the same targets.

    Raises:
        TypeError: If they are no models.
        ValueError: If there are fewer than two, or their tasks or targets differ.

    Example:
        >>> import torch
        >>> from hybridlit import SequentialHybrid
        >>> models = [SequentialHybrid(3, 2, 2, n_modes=4) for _ in range(3)]
        >>> list(Ensemble(models).predict(torch.randn(5, 3)).columns)
        ['target', 'probability_0', 'probability_1', 'uncertainty']
    """

    @checked
    def __init__(self, models: Sequence[HybridModule]) -> None:
        self.models = list(models)
        kinds = [_kind(model) for model in self.models]
        if len(kinds) < 2 or any(kind != kinds[0] for kind in kinds):
            found = f"{len(kinds)} models" if len(kinds) < 2 else f"{kinds[0]} and others"
            raise ValueError(
                f"models must be at least two of one task and the same targets, got {found}"
            )

    def predict(self, rows: Any, batch_size: int = 1024) -> Predictions:
        """Predict labels or values for raw rows, as `HybridModule.predict` does.

        Args:
            rows: Rows as the data modules were given them.
            batch_size: Rows that are computed at once, at least 1.

        Returns:
            A table, probabilities and values the means over the models, with a column
            `uncertainty`: see `disagreement`. A row that one of the models cannot predict has no
            prediction. Flags are those of all models.
        """
        raw, mean, doubts = self.predicted(rows, batch_size)
        return labelled(self.models[0], raw, mean, doubts=doubts)

    def predicted(self, rows: Any, batch_size: int) -> tuple[RawRows, Tensor, Tensor]:
        """Return the rows as the first model reads them, with the flags of all models.

        Then mean predictions (rows, output_dim), and their disagreement (rows, targets).
        """
        raws = [read_rows(model, rows) for model in self.models]
        parts = zip(self.models, raws, strict=True)
        found = torch.stack([predicted(model, raw, batch_size) for model, raw in parts])
        flags = [
            "; ".join(dict.fromkeys(filter(None, told)))
            for told in zip(*(raw.flags for raw in raws), strict=True)
        ]
        mean = found.mean(0)
        return raws[0]._replace(flags=flags), mean, disagreement(self.models[0], found, mean)


def _kind(model: HybridModule) -> tuple[str, int, Any]:
    known = model.preprocessing
    told = None if known is None else known.targets.describe()
    return model.task.name, model.task.output_dim, told
