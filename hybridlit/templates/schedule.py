"""Learning rates over a run: linear warm-up, then constant or a cosine down to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from lightning.pytorch import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["SCHEDULES", "learning_rate_factor", "schedule_groups"]

SCHEDULES = ("constant", "cosine")


def learning_rate_factor(
    schedule: str, step: int, warmup_steps: float, total_steps: float
) -> float:
    """Return the factor of a group's learning rate at an optimizer step.

    Args:
        schedule: `"constant"` or `"cosine"`.
        step: The optimizer step, from 0.
        warmup_steps: Number of steps of linear warm-up, at least 0; the first step has factor
            `1 / warmup_steps`, not 0.
        total_steps: Number of steps of the run; `"constant"` does not look at it.

    Returns:
        A factor in [0, 1].

    Example:
        >>> [round(learning_rate_factor("cosine", s, 2, 6), 2) for s in range(7)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    if schedule == "constant":
        return 1.0
    if step >= total_steps:
        return 0.0
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return (1 + math.cos(math.pi * progress)) / 2


def schedule_groups(
    optimizer: Optimizer, schedules: Mapping[str, tuple[str, float]], trainer: Trainer
) -> LambdaLR:
    """Give every parameter group of an optimizer its own schedule over the Trainer's run.

    Args:
        optimizer: The optimizer; its groups have names.
        schedules: Schedule and epochs of warm-up by name of the group.
        trainer: The Trainer about to run.

    Returns:
        A scheduler to be stepped after every optimizer step.

    Raises:
        ValueError: If the length of the run or of an epoch is not known.
    """
    total = float(trainer.estimated_stepping_batches)
    batches = float(trainer.num_training_batches)
    if not (0 < total < math.inf and batches < math.inf):
        raise ValueError(
            "warm-up and schedule='cosine' need a run of known length: set "
            "Trainer(max_epochs=...), and Trainer(limit_train_batches=...) for a data loader "
            "without a length"
        )
    steps_per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)

    def factor_of(group: str) -> Callable[[int], float]:
        schedule, epochs = schedules[group]
        return lambda step: learning_rate_factor(schedule, step, epochs * steps_per_epoch, total)

    return LambdaLR(optimizer, [factor_of(group["name"]) for group in optimizer.param_groups])
