"""Scaling of features and targets, fitted on training data only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SCALINGS", "Scaler"]

SCALINGS = ("standard", "minmax")


@dataclass(frozen=True)
class Scaler:
    """The map `(x - offset) / scale` of every feature.

    Attributes:
        offset: What each feature loses, of the shape of one row.
        scale: What each feature is divided by, of the shape of one row.
    """

    offset: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, rows: Tensor, method: str | None) -> Scaler:
        """Fit the map to training rows, in float64.

        Args:
            rows: Training rows of shape (rows, ...), float64.
            method: `"standard"`: mean 0 and standard deviation 1; `"minmax"`: from 0 to 1; None:
                no change. A feature that is constant in `rows` becomes 0 and is not stretched.

        Returns:
            The fitted map.
        """
        if method == "standard":
            scale, offset = torch.std_mean(rows, dim=0, correction=0)
        elif method == "minmax":
            offset = rows.amin(0)
            scale = rows.amax(0) - offset
        else:
            return cls(rows.new_zeros(rows.shape[1:]), rows.new_ones(rows.shape[1:]))
        # a spread at the rounding error of the values is no spread
        constant = scale <= 1e-12 * rows.abs().amax(0)
        return cls(offset, torch.where(constant, 1.0, scale))

    def __call__(self, rows: Tensor) -> Tensor:
        """Scale rows of shape (rows, ...)."""
        return (rows - self.offset) / self.scale

    def inverse(self, rows: Tensor) -> Tensor:
        """Undo the scaling of rows of shape (rows, ...)."""
        return rows * self.scale + self.offset
