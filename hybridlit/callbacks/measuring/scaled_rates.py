"""Learning rates that are multiplied while an optimizer steps, and at no other time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

__all__ = ["ScaledRates"]


class ScaledRates:
    """Multiply the learning rates of an optimizer's groups for the time of each of its steps.

    Before and after the step the groups have their own rates, so learning rate schedulers, which
    overwrite or multiply them, and checkpoints work on those. A step that a gradient scaler skips
    is none.

    Args:
        optimizer: The optimizer; it gets hooks, which are in no checkpoint.
        multiplier: What to multiply the learning rate of a group by in the coming step.
    """

    def __init__(self, optimizer: Optimizer, multiplier: Callable[[dict[str, Any]], float]) -> None:
        self._optimizer = optimizer
        self._multiplier = multiplier
        self._own: list[tuple[dict[str, Any], Any]] = []
        self._hooks = [
            optimizer.register_step_pre_hook(lambda *_: self._scale()),
            optimizer.register_step_post_hook(lambda *_: self._restore()),
        ]

    def remove(self) -> None:
        """Leave the optimizer with its own learning rates and without hooks."""
        self._restore()
        for hook in self._hooks:
            hook.remove()

    def _scale(self) -> None:
        for group in self._optimizer.param_groups:
            factor = self._multiplier(group)
            if factor != 1.0:
                self._own.append((group, group["lr"]))
                group["lr"] = group["lr"] * factor

    def _restore(self) -> None:
        for group, rate in self._own:
            group["lr"] = rate
        self._own.clear()
