"""What targets become, and what predictions are called: the other part of a `Preprocessing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.data.scaling import Scaler

__all__ = ["Targets", "class_indices"]


class Targets(nn.Module):
    """Names of targets; labels of classes in the order of their index, or scaling of values.

    Of several labels, each yes or no, `pairs` are what is told by 0 and 1, for each name.
    """

    def __init__(
        self,
        names: Sequence[str],
        classes: Sequence[Any] | None = None,
        scaler: Scaler | None = None,
        pairs: Sequence[Sequence[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.names = [str(name) for name in names]
        self.classes = None if classes is None else list(classes)
        self.pairs = None if pairs is None else [list(pair) for pair in pairs]
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
        found = {"names": self.names, "classes": self.classes}
        return found if self.pairs is None else {**found, "pairs": self.pairs}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Make the module that was described; its buffers are filled afterwards."""
        pairs = description.get("pairs")
        return cls(description["names"], description["classes"], pairs=pairs)

    @property
    def scaled(self) -> bool:
        """Whether `inverse` changes anything."""
        scaler = self.scaler
        return not (
            torch.equal(scaler.scale * scaler.unit, torch.ones_like(scaler.scale))
            and torch.equal(scaler.offset, torch.zeros_like(scaler.offset))
        )


def class_indices(
    labels: Any, name: str, classes: list[str] | None = None
) -> tuple[Any, list[str] | None]:
    """Turn labels (rows,) that are text into indices of classes, and return these in order.

    What is no text is returned as it is, without classes. `classes` are those of the training rows,
    if these are others; `name` is for messages.
    """
    listed = isinstance(labels, (list, tuple))  # numpy would make text of numbers among text
    values = np.asarray(None if isinstance(labels, Tensor) else labels, object if listed else None)
    if values.ndim != 1 or values.dtype.kind not in "UO":
        return labels, None
    text = np.array([isinstance(label, str) for label in values], bool)
    if not text.any():
        return labels, None
    if not text.all():
        raise TypeError(
            f"{name} must be text in all of the {len(text)} rows or in none, got "
            f"{(~text).sum()} without, the first in row {text.argmin()}"
        )
    classes = sorted(set(values.tolist())) if classes is None else classes
    index = {label: number for number, label in enumerate(classes)}
    indices = np.array([index.get(label, -1) for label in values])
    if (indices < 0).any():
        raise ValueError(
            f"{name} must be among the {len(classes)} classes of the training targets, got "
            f"{(indices < 0).sum()} of other classes, the first in row {(indices < 0).argmax()}"
        )
    return indices, classes
