"""Scaling of features and targets, fitted on training data only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from typing_extensions import Self

__all__ = ["AUTO", "SCALINGS", "AutoName", "Scaler", "Scaling", "ScalingName", "target_scaling_of"]

Levels: TypeAlias = npt.NDArray[np.float64]

_LARGE = 1e150  # the square root of the largest float64 is 1e154


def _standard(rows: Tensor) -> tuple[Tensor, Tensor]:
    scale, offset = torch.std_mean(rows, dim=0, correction=0)
    return offset, scale


def _standard_by_level(levels: Levels, share: Levels) -> tuple[Levels, Levels]:
    offset = (levels * share).sum(0)
    return offset, np.sqrt(((levels - offset) ** 2 * share).sum(0))


def _minmax(rows: Tensor) -> tuple[Tensor, Tensor]:
    offset = rows.amin(0)
    return offset, rows.amax(0) - offset


def _minmax_by_level(levels: Levels, share: Levels) -> tuple[Levels, Levels]:
    offset = np.where(share > 0, levels, np.inf).min(0)
    return offset, np.where(share > 0, levels, -np.inf).max(0) - offset


class Scaling(NamedTuple):
    """What each feature loses, and what it is divided by then.

    Attributes:
        of_rows: Both, from rows.
        of_levels: Both, from the values that there are, (levels, 1), and the share of the rows that
            have each of them, (levels, features).
    """

    of_rows: Callable[[Tensor], tuple[Tensor, Tensor]]
    of_levels: Callable[[Levels, Levels], tuple[Levels, Levels]]


SCALINGS: dict[str, Scaling] = {
    "standard": Scaling(_standard, _standard_by_level),
    "minmax": Scaling(_minmax, _minmax_by_level),
}
"""Scalings by name."""

if TYPE_CHECKING:
    ScalingName: TypeAlias = str
else:
    ScalingName = Literal[tuple(SCALINGS)]

AutoName: TypeAlias = Literal["auto"]
AUTO: AutoName = "auto"
"""What is found in the data."""


class Scaler(nn.Module):
    """The map `(x / unit - offset) / scale` of every feature.

    Args:
        offset: What each feature loses, of the shape of one row.
        scale: What each feature is divided by, of the shape of one row.
        unit: Power of two in which offset and scale are measured, of the shape of one row: 1 unless
            squares or differences of values could overflow.
    """

    offset: Tensor
    scale: Tensor
    unit: Tensor

    def __init__(self, offset: Tensor, scale: Tensor, unit: Tensor) -> None:
        super().__init__()
        for name, value in (("offset", offset), ("scale", scale), ("unit", unit)):
            self.register_buffer(name, value, persistent=False)

    @classmethod
    def identity(cls, shape: tuple[int, ...] | torch.Size) -> Self:
        """Return the map that changes nothing in rows of a shape."""
        ones = torch.ones(shape, dtype=torch.float64)
        return cls(torch.zeros_like(ones), ones, ones.clone())

    @classmethod
    def fit(cls, rows: Tensor, method: str | None) -> Self:
        """Fit the map to training rows of shape (rows, ...), in float64; None changes nothing.

        A feature that is constant in `rows` becomes 0 and is not stretched.
        """
        if method is None:
            return cls.identity(rows.shape[1:])
        unit = rows.new_ones(rows.shape[1:])
        largest = rows.abs().amax(0)
        exponent = torch.frexp(largest).exponent - 1  # values below 2 in this unit
        unit = torch.where(largest > _LARGE, torch.ldexp(unit, exponent), unit)
        rows = rows / unit
        offset, scale = SCALINGS[method].of_rows(rows)
        # a spread at the rounding error of the values is no spread
        constant = scale <= 1e-12 * rows.abs().amax(0)
        return cls(offset, torch.where(constant, 1.0, scale), unit)

    def forward(self, rows: Tensor) -> Tensor:
        """Scale rows of shape (rows, ...)."""
        return (rows / self.unit - self.offset) / self.scale

    def inverse(self, rows: Tensor) -> Tensor:
        """Undo the scaling of rows of shape (rows, ...)."""
        return (rows * self.scale + self.offset) * self.unit


def target_scaling_of(targets: Tensor, method: str | None) -> str | None:
    """Decide what `"auto"` means: `"standard"` for real targets that are not all 0 or 1."""
    if method != AUTO:
        return method
    real = targets.is_floating_point() and not ((targets == 0) | (targets == 1)).all()
    return "standard" if real else None
