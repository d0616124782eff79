"""Voltages of a chip's heaters -> the phases that they turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer, number

__all__ = ["CROSSTALK", "CrosstalkName", "HeaterResponse"]

CROSSTALK: dict[str, str] = {
    "dense": "a number for each heater and each other phase",
    "distance": "a number for each distance between a heater and a phase",
    "none": "none",
}
"""What heat that leaks to other phases is described by, by name."""

if TYPE_CHECKING:
    CrosstalkName: TypeAlias = str
else:
    CrosstalkName = Literal[tuple(CROSSTALK)]


class HeaterResponse(nn.Module):
    r"""Voltages -> phases: offsets, the response of each heater, and crosstalk.

    .. math:: \phi_p = \phi^0_p + \sum_h (\delta_{p,\,p(h)} + X_{ph})\,
              (l_h v_h + q_h v_h^2)

    A heater's power is quadratic in its voltage; the linear part is what else there is. Phases
    without a heater of their own (bare waveguides) feel crosstalk alone.

    Args:
        phases: How many phases there are, at least 1.
        heaters: Which phase each heater is on, (heaters,); None: one on each.
        crosstalk: `"dense"`, `"distance"` or `"none"`: see `CROSSTALK`.
        positions: Where each phase is, shape (phases, 2), for `"distance"`.
        full_turn: The voltage that is designed to turn a phase by 2 pi, above 0.

    Attributes:
        offset: Phases at no voltage in radians, (phases,).
        linear: Radians per volt, (heaters,).
        quadratic: Radians per square volt, (heaters,); to begin with as designed.
        leak: What crosstalk is described by: (phases, heaters), (distances,) or None.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or positions are missing.
    """

    home: Tensor
    away: Tensor
    apart: Tensor | None

    @checked
    def __init__(
        self,
        phases: int,
        heaters: Sequence[int] | npt.NDArray[np.int64] | None = None,
        *,
        crosstalk: CrosstalkName = "dense",
        positions: npt.NDArray[np.float64] | Sequence[Sequence[float]] | None = None,
        full_turn: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        integer(phases, "phases", 1)
        choice(crosstalk, "crosstalk", CROSSTALK)
        number(full_turn, "full_turn", above=0.0)
        homes = list(range(phases)) if heaters is None else [int(place) for place in heaters]
        if not homes or len({*homes}) < len(homes) or not all(0 <= p < phases for p in homes):
            raise ValueError(
                f"heaters must be different phases from 0 to {phases - 1}, at least one, got "
                f"{homes}"
            )
        self.phases, self.heaters, self.crosstalk = phases, len(homes), crosstalk
        self.full_turn = full_turn
        like: dict[str, Any] = dict(dtype=dtype)
        self.offset = nn.Parameter(torch.zeros(phases, **like))
        self.linear = nn.Parameter(torch.zeros(len(homes), **like))
        designed = 2 * math.pi / full_turn**2
        self.quadratic = nn.Parameter(torch.full((len(homes),), designed, **like))
        home = torch.zeros(phases, len(homes), **like)
        home[homes, torch.arange(len(homes))] = 1.0
        self.register_buffer("home", home, persistent=False)
        self.register_buffer("away", 1.0 - home, persistent=False)
        self.register_buffer("apart", None, persistent=False)
        self.leak: nn.Parameter | None = None
        if crosstalk == "dense":
            self.leak = nn.Parameter(torch.zeros(phases, len(homes), **like))
        elif crosstalk == "distance":
            if positions is None:
                raise ValueError("crosstalk='distance' needs positions of the phases, got None")
            where = np.asarray(positions, dtype=np.float64)
            if where.shape != (phases, 2):
                raise ValueError(
                    f"positions must have shape (phases={phases}, 2), got {where.shape}"
                )
            squares = ((where[:, None] - where[homes][None]) ** 2).sum(-1)
            kinds, apart = np.unique(squares.round(9), return_inverse=True)
            self.apart = torch.from_numpy(apart.reshape(squares.shape))
            self.leak = nn.Parameter(torch.zeros(len(kinds), **like))

    def extra_repr(self) -> str:
        """Return sizes for `repr`."""
        return f"heaters={self.heaters}, phases={self.phases}, crosstalk={self.crosstalk}"

    def turned(self, voltages: Tensor) -> Tensor:
        """Return what each heater turns its own phase by, shape (batch, heaters), in radians."""
        return voltages * (self.linear + self.quadratic * voltages)

    def mixing(self) -> Tensor:
        """Return what of it each phase gets, shape (phases, heaters): 1 on a heater's own."""
        if self.leak is None:
            return self.home
        leak = self.leak if self.apart is None else self.leak[self.apart]
        return self.home + self.away * leak

    def forward(self, voltages: Tensor) -> Tensor:
        """Return phases in radians, shape (batch, phases).

        Args:
            voltages: Shape (batch, heaters), in volts.
        """
        return self.offset + self.turned(voltages) @ self.mixing().mT
