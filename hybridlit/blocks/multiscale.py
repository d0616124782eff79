"""One input at several resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import integer, tensor

__all__ = ["MultiScale"]


class MultiScale(nn.Module):
    """Average the input over windows of several sizes, and bring all resolutions to one width.

    A vector is averaged along its features, a sequence along its steps, an image along height and
    width. Windows do not overlap, and the last one may be smaller, so that nothing is left out. A
    resolution of another number of values than `width` goes through a small linear layer.

    Args:
        shape: Shape of one input: [features], [steps, features] or [channels, height, width].
        scales: Side of the windows for each resolution, each at least 1 (as it is) and at most the
            sides of the input.
        width: Number of features of every resolution; None: as many as the coarsest has by itself,
            so that the circuits that read them stay small.

    Attributes:
        width: Number of features of every resolution.

    Example:
        >>> MultiScale([7], [1, 2, 4])(torch.rand(5, 7)).shape
        torch.Size([5, 3, 2])
    """

    @checked
    def __init__(
        self, shape: Sequence[int], scales: Sequence[int], width: int | None = None
    ) -> None:
        super().__init__()
        self.shape = [integer(size, "each entry of shape", 1) for size in shape]
        if not 1 <= len(self.shape) <= 3:
            raise ValueError(
                "shape must be [features], [steps, features] or [channels, height, width], got "
                f"{self.shape}"
            )
        self.scales = [integer(scale, "each entry of scales", 1) for scale in scales]
        sides = {1: self.shape, 2: self.shape[:1], 3: self.shape[1:]}[len(self.shape)]
        if not self.scales or max(self.scales) > min(sides):
            raise ValueError(
                f"scales must be at least one window of at most {min(sides)}, the shortest side "
                f"of an input of shape {self.shape}, got {self.scales}"
            )
        channels = self.shape[0] if len(self.shape) == 3 else math.prod(self.shape[1:])
        sizes = [channels * math.prod(-(-side // scale) for side in sides) for scale in self.scales]
        self.width = min(sizes) if width is None else integer(width, "width", 1)
        pool = nn.AvgPool2d if len(self.shape) == 3 else nn.AvgPool1d
        self.pools = nn.ModuleList(pool(scale, ceil_mode=True) for scale in self.scales)
        self.projections = nn.ModuleList(
            nn.Identity() if size == self.width else nn.Linear(size, self.width) for size in sizes
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return every resolution of the input.

        Args:
            x: Inputs of shape (batch, *shape).

        Returns:
            Shape (batch, scales, width).
        """
        tensor(x, "x")
        if list(x.shape[1:]) != self.shape:
            raise ValueError(
                f"x must have shape (batch, {', '.join(map(str, self.shape))}), got "
                f"{tuple(x.shape)}"
            )
        # pooling runs along the last dimensions, with channels before them
        if len(self.shape) < 3:
            x = x[:, None] if len(self.shape) == 1 else x.mT
        pairs = zip(self.pools, self.projections, strict=True)
        return torch.stack([project(pool(x).flatten(1)) for pool, project in pairs], 1)

    def extra_repr(self) -> str:
        """Describe the sizes in one line."""
        return f"shape={self.shape}, scales={self.scales}, width={self.width}"
