"""What targets become, and what predictions are called: the other part of a `Preprocessing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.data.scaling import Scaler

__all__ = ["Targets"]


class Targets(nn.Module):
    """Names of targets; of classes, their labels; of real values, their scaling.

    Args:
        names: Names of the targets.
        classes: Labels in the order of the class indices; None for real values.
        scaler: Scaling of real values; None: none.
    """

    def __init__(
        self,
        names: Sequence[str],
        classes: Sequence[Any] | None = None,
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__()
        self.names = [str(name) for name in names]
        self.classes = None if classes is None else list(classes)
        self.scaler = Scaler.identity(()) if scaler is None else scaler

    def forward(self, values: Tensor) -> Tensor:
        """Scale real values of the shape of the targets, for the loss."""
        scaled: Tensor = self.scaler(values)
        return scaled

    def inverse(self, values: Tensor) -> Tensor:
        """Bring scaled values back into their own units, in float64 where the device has it.

        They have the shape of the targets; for targets (rows,) also (rows, 1).
        """
        wide = values.to(self.scaler.scale.dtype)
        return self.scaler.inverse(wide)

    def describe(self) -> dict[str, Any]:
        """Return, in plain values, what is not in buffers."""
        return {"names": self.names, "classes": self.classes}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Make the module that was described; its buffers are filled afterwards."""
        return cls(description["names"], description["classes"])

    @property
    def scaled(self) -> bool:
        """Whether `inverse` changes anything."""
        scaler = self.scaler
        return not (
            torch.equal(scaler.scale * scaler.unit, torch.ones_like(scaler.scale))
            and torch.equal(scaler.offset, torch.zeros_like(scaler.offset))
        )
