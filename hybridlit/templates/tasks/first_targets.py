"""Whether the training targets of the first epoch fit the task."""

from __future__ import annotations

from lightning.pytorch import Trainer
from torch import Tensor

from hybridlit.templates.tasks.task import Task

__all__ = ["FirstTargets"]


class FirstTargets:
    """Gathers the training targets of one epoch; nothing of it is read before the epoch is over."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.batches = 0
        self._sums: Tensor | None = None

    def add(self, targets: Tensor) -> None:
        """Add a batch of prepared targets."""
        sums = self.task.summed(targets)
        if sums is not None:
            self.batches += 1
            self._sums = sums + (0 if self._sums is None else self._sums)

    def advice(self, trainer: Trainer) -> str | None:
        """Say what does not fit the task; None if all does, or the epoch was not a whole one."""
        limit = trainer.limit_train_batches  # set by overfit_batches as well; 1 is one batch
        whole = isinstance(limit, float) and limit == 1.0
        if self._sums is None or not whole or self.batches != trainer.num_training_batches:
            return None
        return self.task.advice(trainer.strategy.reduce(self._sums, reduce_op="sum").tolist())
