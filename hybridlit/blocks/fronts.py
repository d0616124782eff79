"""Classical networks that turn an image or a sequence into a vector of features.

All end in a linear layer: whatever reads the features, a photonic encoding included, sees both
signs. No input is left out at borders: strides and pooling cover odd sizes too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer

__all__ = ["FRONTS", "CNNFront", "Conv1dFront", "FrontName", "GRUFront", "make_front"]

_CELLS = 4  # positions along each axis that a convolution's features are averaged to, at most


class _Front(nn.Module):
    """A front; a subclass names the axes of one input and builds its layers in `build`."""

    axes: ClassVar[tuple[str, ...]]

    @checked
    def __init__(self, shape: Sequence[int], output_size: int) -> None:
        super().__init__()
        sizes = [integer(size, "each entry of shape", 1) for size in shape]
        if len(sizes) != len(self.axes):
            name = next(name for name, kind in FRONTS.items() if isinstance(self, kind))
            raise ValueError(
                f"input_shape must be [{', '.join(self.axes)}] with front={name!r}, got {sizes} as "
                "shape"
            )
        self.output_size = integer(output_size, "output_size", 1)
        self.build(*sizes)

    def build(self, *sizes: int) -> None:
        """Build the layers for one input of these sizes, and `self.output_size` features."""
        raise NotImplementedError(f"{type(self).__name__} must define build(*sizes)")


class CNNFront(_Front):
    """Images to features: three convolutions, averaged to at most 4 x 4 positions, then linear.

    Args:
        shape: Channels, height and width of an image, each at least 1.
        output_size: Number of features, at least 1.

    Example:
        >>> import torch
        >>> CNNFront([1, 8, 8], 10)(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    axes = ("channels", "height", "width")

    def build(self, *sizes: int) -> None:
        """Build the convolutions."""
        self.layers = _convolutions(sizes[0], sizes[1:], self.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to features (batch, output_size)."""
        features: Tensor = self.layers(x)
        return features


class Conv1dFront(_Front):
    """Sequences to features: three convolutions over time, averaged to at most 4 spans, linear.

    Args:
        shape: Number of steps and of features at each step, each at least 1.
        output_size: Number of features that come out, at least 1.

    Example:
        >>> import torch
        >>> Conv1dFront([12, 3], 10)(torch.rand(2, 12, 3)).shape
        torch.Size([2, 10])
    """

    axes = ("steps", "features")

    def build(self, *sizes: int) -> None:
        """Build the convolutions."""
        self.layers = _convolutions(sizes[1], sizes[:1], self.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (batch, steps, features) to features (batch, output_size)."""
        features: Tensor = self.layers(x.mT)
        return features


class GRUFront(_Front):
    """Sequences to features: the last state of a gated recurrent unit, then linear.

    Args:
        shape: Number of steps and of features at each step, each at least 1.
        output_size: Number of features that come out, and of hidden units, at least 1.

    Example:
        >>> import torch
        >>> GRUFront([12, 3], 10)(torch.rand(2, 12, 3)).shape
        torch.Size([2, 10])
    """

    axes = ("steps", "features")

    def build(self, *sizes: int) -> None:
        """Build the recurrent unit and the linear layer."""
        self.recurrent = nn.GRU(sizes[1], self.output_size, batch_first=True)
        self.output = nn.Linear(self.output_size, self.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (batch, steps, features) to features (batch, output_size)."""
        states, _ = self.recurrent(x)
        features: Tensor = self.output(states[:, -1])
        return features


FRONTS: dict[str, type[_Front]] = {"cnn": CNNFront, "conv1d": Conv1dFront, "gru": GRUFront}
"""Fronts by name."""

if TYPE_CHECKING:
    FrontName: TypeAlias = str
else:
    FrontName = Literal[tuple(FRONTS)]


def make_front(kind: str, shape: Sequence[int], output_size: int) -> nn.Module:
    """Build a front of `FRONTS`, from (batch, *shape) to (batch, output_size)."""
    choice(kind, "front", FRONTS)
    return FRONTS[kind](shape, output_size)


def _convolutions(channels: int, sides: Sequence[int], output_size: int) -> nn.Sequential:
    along_time = len(sides) == 1
    convolution = nn.Conv1d if along_time else nn.Conv2d
    pool = nn.AdaptiveAvgPool1d if along_time else nn.AdaptiveAvgPool2d
    cells = tuple(min(_CELLS, -(-side // 4)) for side in sides)
    return nn.Sequential(
        convolution(channels, 16, 3, padding=1),
        nn.ReLU(),
        convolution(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        convolution(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        pool(cells),
        nn.Flatten(),
        nn.Linear(32 * math.prod(cells), output_size),
    )
