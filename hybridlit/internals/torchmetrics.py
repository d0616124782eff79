"""What hybridlit uses of torchmetrics that it does not document. Seen in torchmetrics 1.9."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.regression import R2Score

__all__ = ["R2Sums", "r2_sums", "set_update_count"]


class R2Sums(NamedTuple):
    """Sums over rows: of squared targets, of targets, of squared errors, (targets,), and of 1."""

    squares: Tensor
    sums: Tensor
    residual: Tensor
    total: Tensor


def r2_sums(metric: R2Score) -> R2Sums:
    """Return what an `R2Score` has gathered.

    If it goes: a metric of our own with these four states, under their names, which checkpoints
    hold.
    """
    return R2Sums(metric.sum_squared_error, metric.sum_error, metric.residual, metric.total)


def set_update_count(metric: Metric, count: int) -> None:
    """Let a metric say that it has been updated so often; without updates it warns and returns NaN.

    `Metric.update_count` reads it. If it goes: call `update` once with empty tensors.
    """
    metric._update_count = count
