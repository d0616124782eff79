"""The task whose targets are real values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hybridlit.templates.tasks.task import NoScoreError, Task, at_least_float32

__all__ = ["Regression"]

_FAR = (0.01, 10.0)
"""Typical sizes of regression targets that a model with outputs around 1 can reach."""


class Regression(Task):
    """Real values: mean squared error; root mean squared error and coefficient of determination.

    Args:
        output_dim: Number of values, at least 1.
    """

    name, classifies, one_class, score = "regression", False, False, "r2"
    default_metrics = ("rmse", "r2")

    def prepared(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return values of shape (batch, output_dim) in the dtype of the loss."""
        if targets.is_complex() or targets.dtype == torch.bool:
            raise TypeError(f"targets must be real for task={self.name!r}, got {targets.dtype}")
        return self.like_outputs(outputs, targets)

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        return functional.mse_loss(at_least_float32(outputs), targets, reduction=reduction)

    def predictions(self, outputs: Tensor) -> Tensor:
        return at_least_float32(outputs)

    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        values = targets.double()
        variance = (values - values.mean(0)).square().mean(0)
        if not bool((variance > 0).all()):
            raise NoScoreError("R2 needs test targets that vary, got an output with one value only")
        return (1 - (predictions.double() - values).square() / variance).mean(-1)

    def constant(self, targets: Tensor) -> Tensor:
        return targets.double().mean(0)

    def summed(self, targets: Tensor) -> Tensor | None:
        """Sum what the typical size follows from, and count the zeros and ones."""
        if not targets.is_floating_point():
            return None
        values = targets.detach().to(torch.promote_types(targets.dtype, torch.float32))
        in_01 = ((values == 0) | (values == 1)).sum()
        count = torch.as_tensor(values.numel(), device=values.device)
        parts = [count, in_01, values.sum(), values.square().sum()]
        return torch.stack([part.to(torch.float32) for part in parts])

    def advice(self, sums: list[float]) -> str | None:
        count, in_01, total, squares = sums
        if count == in_01:
            other = "task='binary'" if self.output_dim == 1 else "task='multilabel'"
            return (
                f"task={self.name!r}, and all training targets of this epoch are 0 or 1: give "
                f"{other} if they say yes or no"
            )
        mean, size = total / count, (squares / count) ** 0.5
        if _FAR[0] <= size <= _FAR[1] or size == 0:
            return None
        deviation = max(size**2 - mean**2, 0.0) ** 0.5
        return (
            f"the training targets have mean {mean:.3g} and standard deviation {deviation:.3g}, "
            "far from the outputs around 1 that a model begins with, so that it takes very long or "
            "never gets there: scale them, such as by target_scaling='standard' of a data module; "
            "metrics and predictions stay in their own units"
        )
