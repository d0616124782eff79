"""Learning rates that are rebalanced while an optimizer steps, and at no other time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

__all__ = ["POWERS", "ScaledRates"]

POWERS = {"classical": -0.5, "photonic": 0.5}
"""Powers of the rebalancing factor by which learning rates are multiplied."""


class ScaledRates:
    """Multiply the learning rates of an optimizer's groups for the time of each of its steps.

    Before and after the step the groups have their own rates, so learning rate schedulers, which
    overwrite or multiply them, and checkpoints work on those. A step that a gradient scaler skips
    is none.

    Args:
        optimizer: The optimizer, no group of which holds parameters of both components; it gets
            hooks, which are in no checkpoint.
        component: The component of each parameter.
        factor: The factor between the rates, photonic / classical, in the coming step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        component: Mapping[nn.Parameter, str],
        factor: Callable[[], float],
    ) -> None:
        self._optimizer, self._component, self._factor = optimizer, component, factor
        self._own: list[tuple[dict[str, Any], Any]] = []
        for group in optimizer.param_groups:
            self._component_of(group)
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
        factor = self._factor()
        for group in self._optimizer.param_groups if factor != 1.0 else ():
            component = self._component_of(group)
            if component is not None:
                self._own.append((group, group["lr"]))
                group["lr"] = group["lr"] * factor ** POWERS[component]

    def _restore(self) -> None:
        for group, rate in self._own:
            group["lr"] = rate
        self._own.clear()

    def _component_of(self, group: dict[str, Any]) -> str | None:
        found = {self._component[p] for p in group["params"] if p in self._component}
        if len(found) > 1:
            raise ValueError(
                f"action='rebalance' needs a group of the optimizer for each component, and group "
                f"{group.get('name', 'without a name')} holds both: give the optimizer the groups "
                "[list(p.values()) for p in split_parameters(model).values()], or use action='warn'"
            )
        return next(iter(found), None)
