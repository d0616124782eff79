"""How alike two distributions of light over the outputs of a chip are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["AmplitudeFidelity", "TotalVariation"]


class _MeanOfRows(Metric):
    """Mean over rows of a number of two distributions, each normalised to 1.

    Values below 0, which noise may measure, count as 0. An output that was not measured (NaN) is
    left out of both. A row in which nothing above 0 was measured does not count; one for which no
    light is predicted counts as all wrong.
    """

    full_state_update = False
    total: Tensor
    rows: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("rows", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add rows of predicted and measured light, both (batch, outputs)."""
        found, lit = self.by_row(preds, target)
        self.total += torch.where(lit, found, 0).sum()
        self.rows += lit.sum()

    def by_row(self, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number of each row, and whether the row counts, both (batch,)."""
        there = ~torch.isnan(target)
        pair = [torch.where(there, each, 0).clamp_min(0).double() for each in (preds, target)]
        sums = [each.sum(-1, keepdim=True) for each in pair]
        shares = [e / s.where(s > 0, 1) for e, s in zip(pair, sums, strict=True)]
        return self.of_rows(*shares), (sums[1] > 0)[:, 0]

    def of_rows(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the number of each row, (batch,), of distributions (batch, outputs)."""
        raise NotImplementedError  # what the subclasses are for

    def compute(self) -> Tensor:
        """Return the mean; NaN without rows."""
        return (self.total / self.rows).float()


class AmplitudeFidelity(_MeanOfRows):
    r"""Mean over rows of :math:`\sum_j \sqrt{p_j q_j}`: 1 if both distributions are the same."""

    higher_is_better = True

    def of_rows(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the fidelity of each row, (batch,)."""
        return (one * other).sqrt().sum(-1)


class TotalVariation(_MeanOfRows):
    r"""Mean over rows of :math:`\frac12 \sum_j |p_j - q_j|`: 0 if both are the same, at most 1."""

    higher_is_better = False

    def of_rows(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the distance of each row, (batch,)."""
        return 1 - torch.minimum(one, other).sum(-1)  # the same, and 1 if there is no light
