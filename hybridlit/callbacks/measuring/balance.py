"""The ratio of the gradients of the two components, in the long run."""

from __future__ import annotations

import math
from typing import Any

from hybridlit.callbacks.log_keys import LogKey
from hybridlit.components import COMPONENTS

__all__ = ["Balance"]


class Balance:
    """Compare measurements of the components, as soon as there is a new one of each.

    Args:
        low: The smallest smoothed ratio photonic / classical that is no imbalance.
        high: The largest one.
        smoothing: Weight of the past in the averages.
        patience: Smoothed ratios outside, in a row, that make an imbalance.
    """

    def __init__(self, low: float, high: float, smoothing: float, patience: int) -> None:
        self._low, self._high = low, high
        self._smoothing, self._patience = smoothing, patience
        self.gradients = _LogAverage()
        self.updates = _LogAverage()  # of what the steps would be without rebalancing
        self.smaller: str | None = None  # with far smaller gradients, while an imbalance lasts
        self.latest: dict[str, list[float]] = {}  # as compared last: [rms, update]
        self._unpaired: dict[str, list[float]] = {}  # newer than the last ratio
        self._outside = 0  # ratios in a row above `high`, or minus those below `low`
        self._zeros = dict.fromkeys(COMPONENTS, 0)  # measurements in a row with a gradient of 0

    def state_dict(self) -> dict[str, Any]:
        """Return averages and counters, in plain types."""
        return {
            "unpaired": {name: list(values) for name, values in self._unpaired.items()},
            "gradient_ratio": [self.gradients.total, self.gradients.weight],
            "update_ratio": [self.updates.total, self.updates.weight],
            "outside": self._outside,
            "imbalance": self.smaller,
            "zeros": dict(self._zeros),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from averages and counters."""
        self._unpaired = {name: list(pair) for name, pair in state["unpaired"].items()}
        self.gradients = _LogAverage(*state["gradient_ratio"])
        self.updates = _LogAverage(*state["update_ratio"])
        self._outside, self.smaller = state["outside"], state["imbalance"]
        self._zeros = dict(state["zeros"])

    def add(self, component: str, rms: float, update: float) -> bool:
        """Take a measurement, the step as without rebalancing; tell if the component is dead."""
        self._zeros[component] = 0 if rms else self._zeros[component] + 1
        if rms:
            self._unpaired[component] = [rms, update]
        return self._zeros[component] == self._patience

    def compare(self) -> dict[str, float]:
        """Return the ratios by their keys, if both components have been measured since the last."""
        if len(self._unpaired) < len(COMPONENTS):
            return {}
        self.latest, self._unpaired = self._unpaired, {}
        ratio, update = (
            photonic / classical if classical else 0.0  # a learning rate can be 0
            for classical, photonic in zip(*(self.latest[c] for c in COMPONENTS), strict=True)
        )
        smooth = self.gradients.add(ratio, self._smoothing)
        logged = {LogKey.RATIO(): ratio, LogKey.RATIO_SMOOTH(): smooth}
        if update:
            logged[LogKey.UPDATE_SMOOTH()] = self.updates.add(update, self._smoothing)
        if 2 * self._low <= smooth <= self._high / 2:
            self.smaller = None
        if smooth > self._high:
            self._outside = max(self._outside, 0) + 1
        elif smooth < self._low:
            self._outside = min(self._outside, 0) - 1
        else:
            self._outside = 0
        if abs(self._outside) >= self._patience:
            self.smaller = COMPONENTS[0 if self._outside > 0 else 1]
        return logged


class _LogAverage:
    """An exponential moving average of logarithms, corrected for its start."""

    def __init__(self, total: float = 0.0, weight: float = 0.0) -> None:
        self.total, self.weight = total, weight

    def add(self, value: float, smoothing: float) -> float:
        self.total = smoothing * self.total + (1 - smoothing) * math.log(value)
        self.weight = smoothing * self.weight + (1 - smoothing)
        return math.exp(self.total / self.weight)

    @property
    def mean(self) -> float | None:
        return math.exp(self.total / self.weight) if self.weight else None
