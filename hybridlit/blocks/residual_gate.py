"""Gates that let nothing of a residual through until training opens them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hybridlit.checks import choice, integer

__all__ = ["GATES", "GainGate", "InputGate", "make_gate"]


class GainGate(nn.Module):
    """A learned factor for each feature of the residual, initially 0.

    Args:
        width: Number of features, at least 1.

    Raises:
        TypeError: If `width` is no integer.
        ValueError: If `width` is out of range.

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

    Raises:
        TypeError: If `width` is no integer.
        ValueError: If `width` is out of range.

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


GATES: dict[str, Callable[[int], nn.Module]] = {"zero": GainGate, "gated": InputGate}


def make_gate(kind: str, width: int) -> nn.Module:
    """Build a gate by name.

    Args:
        kind: `"zero"` for a `GainGate`, `"gated"` for an `InputGate`.
        width: Number of features, at least 1.

    Returns:
        A module of (residual, state).

    Raises:
        TypeError: If `width` is no integer.
        ValueError: If `kind` is unknown or `width` is out of range.
    """
    choice(kind, "gate", GATES)
    return GATES[kind](width)
