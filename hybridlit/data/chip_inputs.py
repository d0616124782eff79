"""Settings of a chip in a table: voltages, and the modes that light enters, by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.data.columns import Column
from hybridlit.data.table_inputs import TableInputs

__all__ = ["ChipInputs"]


class ChipInputs(TableInputs):
    """What settings of a chip become: voltages as they are, then the light that enters each mode.

    Args:
        columns: Voltages, then the number of each mode that light enters, then its power if there
            is a column of that; all of them numbers.
        modes: Number of modes of the chip.
        lights: How many modes light enters in a row: 1, or 2 of two photons.
        first: What the first mode is called, 0 or 1.
        powered: Whether the last column is a power; otherwise it is 1.
        **shared: As for `TableInputs`; a scaler changes nothing.
    """

    kind = "chip"
    mode_numbers: Tensor

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        modes: int,
        lights: int = 1,
        first: int = 0,
        powered: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(columns, **shared)
        self.modes, self.lights, self.first, self.powered = modes, lights, first, powered
        self.heaters = len(self.columns) - lights - powered
        numbers = torch.arange(first, first + modes, dtype=torch.float64)
        self.register_buffer("mode_numbers", numbers, persistent=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of heaters and modes, as a shape."""
        return (self.heaters + self.modes,)

    def forward(self, values: Tensor) -> Tensor:
        """Prepare raw values of shape (batch, columns); returns (batch, heaters + modes)."""
        entered = values[:, self.heaters : self.heaters + self.lights, None]
        light = (entered == self.mode_numbers).to(values.dtype).sum(1)
        if self.powered:
            light = light * values[:, -1:]
        return torch.cat([values[:, : self.heaters], light], 1).to(torch.get_default_dtype())

    def numbers(self, frame: Any) -> npt.NDArray[np.float64]:
        """Return raw values of a table that has the columns; refuses what is no mode or power."""
        values = super().numbers(frame)
        entered = values[:, self.heaters : self.heaters + self.lights]
        names = self.raw_names[self.heaters :]
        last = self.first + self.modes - 1
        with np.errstate(invalid="ignore"):
            wrong = (entered != np.round(entered)) | (entered < self.first) | (entered > last)
        for name, bad in zip(names, wrong.sum(0).tolist(), strict=False):
            if bad:
                raise ValueError(
                    f"column {name!r} must hold modes, integers from {self.first} to {last}, got "
                    f"others in {bad:,} of {len(frame):,} rows: correct these, or say by "
                    "first_mode what the first mode is called"
                )
        if self.lights > 1 and (same := int((entered[:, 0] == entered[:, 1]).sum())):
            raise ValueError(
                f"columns {names[0]!r} and {names[1]!r} must be different modes, got the same one "
                f"in {same:,} of {len(frame):,} rows: leave these out"
            )
        if self.powered and (dark := int((values[:, -1] <= 0).sum())):
            raise ValueError(
                f"column {names[-1]!r} must be powers above 0, got others in {dark:,} of "
                f"{len(frame):,} rows: leave these out"
            )
        return values

    def describe(self) -> dict[str, Any]:
        """Return what it is made of as plain values."""
        own = {name: getattr(self, name) for name in ("modes", "lights", "first", "powered")}
        return {**super().describe(), **own}
