"""The parameters of a chip and its heaters that a fit moves, as one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_jacobian import OWN
from hybridlit.photonics.chip_layer import MEASURED, ChipLayer

__all__ = ["RESPONSE", "Fitted"]

RESPONSE = ("offset", "linear", "quadratic", "leak")
"""Parameters of a `HeaterResponse`, in the order of the vector; those of `OWN` follow."""


class Fitted:
    """The parameters that require gradients, one behind the other, in float64.

    The indistinguishability is none of them where only one light enters.

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.

    Attributes:
        tensors: The parameters by name, of `RESPONSE` and then of `OWN`.
        size: How many numbers they are.
        device: Where they are.

    Raises:
        ValueError: If no parameter requires gradients.
    """

    def __init__(self, heaters: HeaterResponse, layer: ChipLayer) -> None:
        self.tensors: dict[str, Tensor] = {}
        for owner, names in ((heaters, RESPONSE), (layer, OWN)):
            for name in names:
                found = getattr(owner, name)
                unseen = name == "overlap" and MEASURED[layer.measured].lights < 2
                if isinstance(found, nn.Parameter) and found.requires_grad and not unseen:
                    self.tensors[name] = found
        if not self.tensors:
            raise ValueError(
                "heaters and layer must have parameters that require gradients, which are those "
                "that are fitted, got none: call requires_grad_() on some"
            )
        self.size = sum(each.numel() for each in self.tensors.values())
        self.device = heaters.offset.device

    def parts(self, vector: Tensor) -> dict[str, Tensor]:
        """Return views of vectors by parameter, each (..., *its shape), from shape (..., size)."""
        pieces = vector.split([each.numel() for each in self.tensors.values()], -1)
        return {
            name: piece.unflatten(-1, each.shape) if each.dim() else piece[..., 0]
            for (name, each), piece in zip(self.tensors.items(), pieces, strict=True)
        }

    def joined(self, parts: dict[str, Tensor], leading: tuple[int, ...] = ()) -> Tensor:
        """Return what `parts` takes apart, shape (*leading, size)."""
        return torch.cat([parts[name].reshape(*leading, -1) for name in self.tensors], -1)

    def places(self) -> dict[str, Tensor]:
        """Return where in the vector each number of each parameter is."""
        return self.parts(torch.arange(self.size, device=self.device))

    def read(self) -> Tensor:
        """Return what the parameters are, shape (size,)."""
        return self.joined({name: t.detach().double() for name, t in self.tensors.items()})

    @torch.no_grad()
    def write(self, vector: Tensor) -> None:
        """Set the parameters, from shape (size,)."""
        for name, value in self.parts(vector).items():
            self.tensors[name].copy_(value)
