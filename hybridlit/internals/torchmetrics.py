"""What hybridlit uses of torchmetrics that it does not document. Seen in torchmetrics 1.9."""

from __future__ import annotations

from torchmetrics import Metric

__all__ = ["set_update_count"]


def set_update_count(metric: Metric, count: int) -> None:
    """Let a metric say that it has been updated so often; without updates it warns and returns NaN.

    `Metric.update_count` reads it. If it goes: call `update` once with empty tensors.
    """
    metric._update_count = count
