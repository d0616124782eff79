"""Any modules behind the interface of a stack of photonic layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked

__all__ = ["ModuleStack"]


class ModuleStack(nn.Module):
    """Modules of equal sizes that run one after another, called like a `QuantumLayerStack`.

    For layers that cannot be simulated as one: those of another library, or classical ones.

    Args:
        layers: At least one module from (..., features) to (..., output_size).

    Attributes:
        layers: The modules.
        output_size: `output_size` of the first one, or None if it has no such attribute.

    Example:
        >>> stack = ModuleStack(nn.Linear(3, 5) for _ in range(2))
        >>> stack(torch.rand(4, 3)).shape, stack.each(torch.rand(4, 2, 3)).shape
        (torch.Size([4, 2, 5]), torch.Size([4, 2, 5]))
    """

    @checked
    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        if not len(self.layers):
            raise ValueError("layers must hold at least one module, got none")
        self.output_size = getattr(self.layers[0], "output_size", None)

    def forward(self, x: Tensor, each: bool = False) -> Tensor:
        """Give every layer the same features, or features of its own.

        Args:
            x: Features of shape (..., features); with `each`, (..., layers, features).
            each: Whether every layer has features of its own.

        Returns:
            Shape (..., layers, output_size).
        """
        if not each:
            return torch.stack([layer(x) for layer in self.layers], -2)
        if x.shape[-2] != len(self.layers):
            raise ValueError(
                f"x must have shape (..., layers={len(self.layers)}, features), got "
                f"{tuple(x.shape)}"
            )
        pairs = zip(self.layers, x.unbind(-2), strict=True)
        return torch.stack([layer(rows) for layer, rows in pairs], -2)

    def each(self, x: Tensor) -> Tensor:
        """Give every layer features of its own: `stack(x, each=True)`, hooks included."""
        outputs: Tensor = self(x, each=True)
        return outputs
