"""Learning rates over a run: linear warm-up, then constant or a cosine down to zero."""

import math

__all__ = ["SCHEDULES", "learning_rate_factor"]

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
