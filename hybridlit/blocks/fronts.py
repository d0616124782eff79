"""Classical networks that turn an image or a sequence into a vector of features.

All end in a linear layer: whatever reads the features, a photonic encoding included, sees both
signs. No input is left out at borders: strides and pooling cover odd sizes too.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer

__all__ = ["FRONTS", "CNNFront", "Conv1dFront", "GRUFront", "make_front"]

_CELLS = 4  # positions along each axis that a convolution's features are averaged to, at most


class CNNFront(nn.Module):
    """Images to features: three convolutions, averaged to at most 4 x 4 positions, then linear.

    Args:
        shape: Channels, height and width of an image, each at least 1.
        output_size: Number of features, at least 1.

    Raises:
        TypeError: If a size is no integer.
        ValueError: If a size is out of range or there are not three of them.

    Example:
        >>> import torch
        >>> CNNFront([1, 8, 8], 10)(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    @checked
    def __init__(self, shape: Sequence[int], output_size: int) -> None:
        super().__init__()
        channels, height, width = _sizes(shape, "cnn", ["channels", "height", "width"])
        self.output_size = integer(output_size, "output_size", 1)
        cells = [min(_CELLS, -(-size // 4)) for size in (height, width)]
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((cells[0], cells[1])),
            nn.Flatten(),
            nn.Linear(32 * cells[0] * cells[1], self.output_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to features (batch, output_size)."""
        features: Tensor = self.layers(x)
        return features


class Conv1dFront(nn.Module):
    """Sequences to features: three convolutions over time, averaged to at most 4 spans, linear.

    Args:
        shape: Number of steps and of features at each step, each at least 1.
        output_size: Number of features that come out, at least 1.

    Raises:
        TypeError: If a size is no integer.
        ValueError: If a size is out of range or there are not two of them.

    Example:
        >>> import torch
        >>> Conv1dFront([12, 3], 10)(torch.rand(2, 12, 3)).shape
        torch.Size([2, 10])
    """

    @checked
    def __init__(self, shape: Sequence[int], output_size: int) -> None:
        super().__init__()
        steps, features = _sizes(shape, "conv1d", ["steps", "features"])
        self.output_size = integer(output_size, "output_size", 1)
        spans = min(_CELLS, -(-steps // 4))
        self.layers = nn.Sequential(
            nn.Conv1d(features, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(spans),
            nn.Flatten(),
            nn.Linear(32 * spans, self.output_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (batch, steps, features) to features (batch, output_size)."""
        features: Tensor = self.layers(x.mT)
        return features


class GRUFront(nn.Module):
    """Sequences to features: the last state of a gated recurrent unit, then linear.

    Args:
        shape: Number of steps and of features at each step, each at least 1.
        output_size: Number of features that come out, and of hidden units, at least 1.

    Raises:
        TypeError: If a size is no integer.
        ValueError: If a size is out of range or there are not two of them.

    Example:
        >>> import torch
        >>> GRUFront([12, 3], 10)(torch.rand(2, 12, 3)).shape
        torch.Size([2, 10])
    """

    @checked
    def __init__(self, shape: Sequence[int], output_size: int) -> None:
        super().__init__()
        _, features = _sizes(shape, "gru", ["steps", "features"])
        self.output_size = integer(output_size, "output_size", 1)
        self.recurrent = nn.GRU(features, self.output_size, batch_first=True)
        self.output = nn.Linear(self.output_size, self.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (batch, steps, features) to features (batch, output_size)."""
        states, _ = self.recurrent(x)
        features: Tensor = self.output(states[:, -1])
        return features


FRONTS: dict[str, type[CNNFront] | type[Conv1dFront] | type[GRUFront]] = {
    "cnn": CNNFront,
    "conv1d": Conv1dFront,
    "gru": GRUFront,
}


def make_front(kind: str, shape: Sequence[int], output_size: int) -> nn.Module:
    """Build a front by name.

    Args:
        kind: `"cnn"` for images of shape (channels, height, width), `"conv1d"` or `"gru"` for
            sequences of shape (steps, features).
        shape: Shape of one input, without the batch.
        output_size: Number of features that come out, at least 1.

    Returns:
        A module from (batch, *shape) to (batch, output_size).

    Raises:
        TypeError: If a size is no integer.
        ValueError: If `kind` is unknown, or the shape does not fit it.
    """
    choice(kind, "front", FRONTS)
    return FRONTS[kind](shape, output_size)


def _sizes(shape: Sequence[int], front: str, axes: list[str]) -> list[int]:
    sizes = [integer(size, "each entry of shape", 1) for size in shape]
    if len(sizes) != len(axes):
        raise ValueError(
            f"input_shape must be [{', '.join(axes)}] with front={front!r}, got {sizes} as shape"
        )
    return sizes
