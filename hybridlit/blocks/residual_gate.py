"""Gates that let nothing of a residual through until training opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from hybridlit.checks import choice, integer

__all__ = ["GATES", "GainGate", "GateName", "InputGate", "make_gate"]


class GainGate(nn.Module):
    """A learned factor for each feature of the residual, initially 0.

    Args:
        width: Number of features, at least 1.

    Example:
        >>> GainGate(2)(torch.ones(1, 2), torch.ones(1, 2)).tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(integer(width, "width", 1)))

    def forward(self, residual: Tensor, state: Tensor) -> Tensor:
        """Return the gated residual, of shape (batch, width).

        Args:
            residual: What is gated, of shape (batch, width).
            state: What it will be added to, of the same shape; not looked at.
        """
        return self.gain * residual


class InputGate(nn.Module):
    """A factor in (-1, 1) for each feature of the residual, computed from what it is added to.

    It is the tanh of a linear layer that starts at zero, so that the gate starts closed and yet
    gets a gradient.

    Args:
        width: Number of features, at least 1.

    Example:
        >>> InputGate(2)(torch.ones(1, 2), torch.ones(1, 2)).tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        size = integer(width, "width", 1)
        self.openness = nn.Linear(size, size)
        nn.init.zeros_(self.openness.weight)
        nn.init.zeros_(self.openness.bias)

    def forward(self, residual: Tensor, state: Tensor) -> Tensor:
        """Return the gated residual, of shape (batch, width).

        Args:
            residual: What is gated, of shape (batch, width).
            state: What it will be added to, of the same shape.
        """
        return torch.tanh(self.openness(state)) * residual


GATES: dict[str, type[GainGate] | type[InputGate]] = {"zero": GainGate, "gated": InputGate}
"""Gates by name."""

if TYPE_CHECKING:
    GateName: TypeAlias = str
else:
    GateName = Literal[tuple(GATES)]


def make_gate(kind: str, width: int) -> nn.Module:
    """Build a gate of `GATES`, a module of (residual, state), each of shape (batch, width)."""
    choice(kind, "gate", GATES)
    return GATES[kind](width)
