"""Gates that let nothing of a residual through until training opens them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer, number

__all__ = ["GATES", "GainGate", "GateName", "GradualGate", "InputGate", "make_gate"]


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


class GradualGate(nn.Module):
    """A gate behind a factor that rises from 0 to 1 in the course of a training.

    As long as the factor is 0, nothing of the residual counts, and neither the gate nor what comes
    before it has a gradient. The factor is kept in the state dict.

    Args:
        gate: The gate, a module of (residual, state).
        gate_epochs: First and last moment of the rise, in epochs from 0, fractions allowed; the
            second is the later one.

    Attributes:
        opening: The factor, initially 0; `open_to` sets it.

    Example:
        >>> gate = GradualGate(nn.Bilinear(1, 1, 1), [2, 6])
        >>> gate.open_to(5.0)
        >>> gate.opening
        tensor(0.7500)
    """

    opening: Tensor

    @checked
    def __init__(self, gate: nn.Module, gate_epochs: Sequence[float]) -> None:
        super().__init__()
        if len(gate_epochs) != 2:
            raise ValueError(
                f"gate_epochs must be two, the first and last of the rise, got {gate_epochs}"
            )
        number(gate_epochs[0], "the first of gate_epochs", minimum=0.0)
        number(gate_epochs[1], "the second of gate_epochs", above=gate_epochs[0])
        self.gate = gate
        self.gate_epochs = (float(gate_epochs[0]), float(gate_epochs[1]))
        self.register_buffer("opening", torch.zeros(()))

    def open_to(self, epochs: float) -> None:
        """Set the factor to its value after so many epochs."""
        first, last = self.gate_epochs
        self.opening.fill_(min(1.0, max(0.0, (epochs - first) / (last - first))))

    def forward(self, residual: Tensor, state: Tensor) -> Tensor:
        """Return the gated residual times the factor, of the shape of the residual."""
        gated: Tensor = self.opening * self.gate(residual, state)
        return gated

    def extra_repr(self) -> str:
        """Show the epochs in `repr`."""
        return f"gate_epochs={self.gate_epochs}"


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
