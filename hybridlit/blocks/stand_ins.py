"""Classical blocks that stand in for photonic ones: as large, or as random."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hybridlit.checks import integer, number, tensor

__all__ = ["MatchedMLP", "RandomFeatures"]


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


class RandomFeatures(nn.Module):
    r"""Frozen random Fourier features, and a trainable linear readout of them.

    The features are :math:`\sqrt2 \cos(\omega_k \cdot \pi (x - 1/2) + b_k)` with normal
    frequencies and uniform offsets (Rahimi and Recht, NeurIPS 2007): those of a Gaussian kernel.
    A photonic circuit turns features in [0, 1] into phases of 0 to pi as well, and its
    probabilities are Fourier series in them; here the series is random, and nothing is quantum.
    Each feature has mean 0 and variance 1 over the draws.

    Args:
        input_size: Number of inputs, at least 1; expected in [0, 1].
        output_size: Number of outputs, at least 1.
        features: Number of random features that the readout reads, at least 1; None: there is no
            readout, and the outputs are the features.
        scale: Standard deviation of the frequencies, above 0: larger ones give rougher functions.

    Attributes:
        frequencies: Buffer of shape (features, input_size), saved with the state.
        offsets: Buffer of shape (features,).
        readout: The linear layer, or an identity.

    Example:
        >>> block = RandomFeatures(3, 2, features=20)
        >>> block(torch.rand(4, 3)).shape, sum(p.numel() for p in block.parameters())
        (torch.Size([4, 2]), 42)
    """

    frequencies: Tensor
    offsets: Tensor

    def __init__(
        self, input_size: int, output_size: int, features: int | None = None, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.input_size = integer(input_size, "input_size", 1)
        self.output_size = integer(output_size, "output_size", 1)
        count = self.output_size if features is None else integer(features, "features", 1)
        number(scale, "scale", above=0.0)
        self.scale = scale
        self.register_buffer("frequencies", torch.empty(count, self.input_size))
        self.register_buffer("offsets", torch.empty(count))
        self.readout: nn.Module = nn.Identity()
        if features is not None:
            self.readout = nn.Linear(count, self.output_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw other features, and the readout anew."""
        self.frequencies.normal_(0.0, self.scale)
        self.offsets.uniform_(0.0, 2 * math.pi)
        if isinstance(self.readout, nn.Linear):
            self.readout.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (..., input_size) to outputs (..., output_size)."""
        tensor(x, "x")
        phases = nn.functional.linear(math.pi * (x - 0.5), self.frequencies, self.offsets)
        outputs: Tensor = self.readout(math.sqrt(2) * torch.cos(phases))
        return outputs

    def extra_repr(self) -> str:
        """Return the sizes for `repr`."""
        features = len(self.frequencies)
        return (
            f"input_size={self.input_size}, output_size={self.output_size}, features={features}, "
            f"scale={self.scale:g}"
        )
