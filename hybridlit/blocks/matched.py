"""A classical block as large as the photonic one it stands in for."""

from __future__ import annotations

import math

from torch import Tensor, nn

from hybridlit.checks import integer, tensor

__all__ = ["MatchedMLP"]


class MatchedMLP(nn.Module):
    """One hidden layer of the width whose number of parameters comes closest to a target.

    A hidden unit more is `input_size + output_size + 1` parameters more, so the difference is at
    most half of that: within 10 % of any target of at least five times that number. Smaller targets
    are met as closely as whole units allow, with one unit at least.

    Two things keep the comparison fair. Features in [0, 1] are turned into phases, as the photonic
    layer does, around 0: from -pi/2 to pi/2. And the hidden units are GELUs, which pass a gradient
    everywhere: of the few units that a small photonic layer is worth, none must be dead.

    Args:
        input_size: Number of features, at least 1.
        output_size: Number of outputs, at least 1.
        parameters: Number of parameters to match, at least 0.

    Attributes:
        hidden_size: The number of hidden units.

    Example:
        >>> twin = MatchedMLP(4, 8, parameters=200)
        >>> twin.hidden_size, sum(p.numel() for p in twin.parameters())
        (15, 203)
    """

    def __init__(self, input_size: int, output_size: int, parameters: int) -> None:
        super().__init__()
        self.input_size = integer(input_size, "input_size", 1)
        self.output_size = integer(output_size, "output_size", 1)
        target = integer(parameters, "parameters", 0)
        each = self.input_size + self.output_size + 1
        self.hidden_size = max(1, round((target - self.output_size) / each))
        self.hidden = nn.Linear(self.input_size, self.hidden_size)
        self.activation = nn.GELU()
        self.output = nn.Linear(self.hidden_size, self.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (..., input_size) in [0, 1] to outputs (..., output_size)."""
        tensor(x, "x")
        outputs: Tensor = self.output(self.activation(self.hidden(math.pi * (x - 0.5))))
        return outputs
