"""Looks at the targets of the first epoch, and says what does not fit the task."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer
from torch import Tensor

__all__ = ["FirstTargets"]

_FAR = (0.01, 10.0)
"""Typical sizes of regression targets that a model with outputs around 1 can reach."""


class FirstTargets:
    """Gathers the training targets of one epoch; nothing of it is read before the epoch is over.

    Args:
        task: `"multiclass"`, `"binary"` or `"regression"`.
        output_dim: Number of outputs.
    """

    def __init__(self, task: str, output_dim: int) -> None:
        self.task = task
        self.output_dim = output_dim
        self.batches = 0
        self._sums: Tensor | None = None

    def add(self, targets: Tensor) -> None:
        """Add a batch.

        Args:
            targets: Prepared targets: class indices of shape (batch,), or values of shape
                (batch, output_dim). What a subclass prepares otherwise is not looked at.
        """
        if targets.is_floating_point() != (self.task != "multiclass"):
            return
        self.batches += 1
        self._sums = self._summed(targets) + (0 if self._sums is None else self._sums)

    def advice(self, trainer: Trainer) -> str | None:
        """Say what does not fit the task.

        Args:
            trainer: The Trainer of the run; several processes pool what they have seen.

        Returns:
            A sentence or two, or None if everything fits or the epoch was not a whole one.
        """
        limit = trainer.limit_train_batches  # set by overfit_batches as well; 1 is one batch
        whole = isinstance(limit, float) and limit == 1.0
        if self._sums is None or not whole or self.batches != trainer.num_training_batches:
            return None
        sums = trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        if self.task == "multiclass":
            return self._classes([index for index, count in enumerate(sums) if not count])
        return self._values(sums) if self.task == "regression" else None

    def _summed(self, targets: Tensor) -> Tensor:
        if self.task == "multiclass":
            classes = torch.arange(self.output_dim, device=targets.device)
            return (targets[:, None] == classes).sum(0)  # bincount would stop an accelerator
        values = targets.detach().to(torch.promote_types(targets.dtype, torch.float32))
        in_01 = ((values == 0) | (values == 1)).sum()
        count = torch.as_tensor(values.numel(), device=values.device)
        parts = [count, in_01, values.sum(), values.square().sum()]
        return torch.stack([part.to(torch.float32) for part in parts])

    def _classes(self, missing: list[int]) -> str | None:
        if not missing:
            return None
        number = self.output_dim - len(missing)
        return (
            f"output_dim={self.output_dim}, and no training target of this epoch is of class "
            f"{', '.join(map(str, missing))}: give output_dim={number} if there are only {number} "
            "classes, numbered from 0, or more data of these classes"
        )

    def _values(self, sums: list[float]) -> str | None:
        count, in_01, total, squares = sums
        if count == in_01:
            return (
                "task='regression', and all training targets of this epoch are 0 or 1: give "
                "task='binary' and output_dim=1 if they say yes or no"
            )
        mean, size = total / count, (squares / count) ** 0.5
        if _FAR[0] <= size <= _FAR[1] or size == 0:
            return None
        deviation = max(size**2 - mean**2, 0.0) ** 0.5
        return (
            f"the training targets have mean {mean:.3g} and standard deviation {deviation:.3g}, "
            "far from the outputs around 1 that a model begins with, so that it takes very long or "
            "never gets there: scale them, such as by target_scaling='standard' of a data module, "
            "whose unscale_targets brings predictions back"
        )
