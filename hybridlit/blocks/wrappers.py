"""Wrappers of layers: any modules as a stack of photonic ones, and a scaled gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import number

__all__ = ["GradientScaledQuantumLayer", "ModuleStack"]


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


class GradientScaledQuantumLayer(nn.Module):
    """Scale the gradient that enters a quantum layer; leave what it computes as it is.

    The outputs are those of the wrapped layer, in training and in evaluation alike. In training
    mode, the gradient that arrives at these outputs is multiplied by `scale_factor`, once. So all
    that is reached through the layer gets `scale_factor` times its gradient: the parameters of the
    layer, its readout included, and the modules before it. Paths around the layer are unaffected.
    In evaluation mode gradients are those of the wrapped layer.

    Adam, AdamW and other optimizers that divide by the size of the gradient hardly notice a
    constant factor. There it only shifts the balance where gradients meet: with paths around the
    layer, in a clipped norm, or against weight decay as part of the loss. To let photonic
    parameters learn slower or faster, set their learning rate: `quantum_lr` of the templates and of
    `create_hybrid_optimizer`. With SGD, both do the same to the parameters of the layer.

    Args:
        quantum_layer: The layer to wrap; it returns one tensor. Whether its parameters count as
            photonic is decided by its own type, as anywhere.
        scale_factor: Factor of the gradient, at least 0.

    Attributes:
        quantum_layer: The wrapped layer.
        scale_factor: As given; it may be changed between steps.

    Example:
        >>> import torch
        >>> from hybridlit import Experiment, QuantumLayer
        >>> layer = QuantumLayer(2, 3, experiment=Experiment("series", n_modes=4, n_photons=2))
        >>> x = torch.rand(5, 2)
        >>> torch.equal(GradientScaledQuantumLayer(layer, scale_factor=0.5)(x), layer(x))
        True
    """

    def __init__(self, quantum_layer: nn.Module, scale_factor: float = 0.1) -> None:
        super().__init__()
        if not isinstance(quantum_layer, nn.Module):
            raise TypeError(
                f"quantum_layer must be an nn.Module, got {type(quantum_layer).__name__}"
            )
        number(scale_factor, "scale_factor", minimum=0.0)
        self.quantum_layer = quantum_layer
        self.scale_factor = scale_factor

    @property
    def output_size(self) -> Any:
        """Number of outputs, as the wrapped layer says; an `AttributeError` if it does not."""
        return self.quantum_layer.output_size

    def forward(self, x: Tensor) -> Tensor:
        """Run the wrapped layer on features (..., features), to outputs (..., outputs)."""
        outputs: Tensor = self.quantum_layer(x)
        if not self.training:
            return outputs
        # exactly outputs + 0: only the gradient goes through the scaled difference
        fixed = outputs.detach()
        return fixed + self.scale_factor * (outputs - fixed)

    def extra_repr(self) -> str:
        """Show the factor in `repr`."""
        return f"scale_factor={self.scale_factor:g}"
