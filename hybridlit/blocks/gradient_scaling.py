"""A quantum layer whose share of the gradient is turned up or down."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hybridlit.checks import number

__all__ = ["GradientScaledQuantumLayer"]


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
