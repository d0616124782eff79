"""Affine maps of the probabilities of all outcomes, with weights that learn; or none at all."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.readouts.row import Readout

__all__ = ["LINEAR", "NONE", "LinearReadout", "StackedLinearReadout", "relative"]


class LinearReadout(nn.Linear):
    r"""Affine map of the probabilities relative to their uniform value, :math:`W (D p - 1) + b`.

    The maps are the same as those of :math:`W p + b`. But a probability is about 1/D, so that a
    plain affine map would start, and learn, D times too slowly at the usual initialisation and
    learning rates; relative probabilities vary by about 1 around 0.

    Args:
        states: Number of outcomes D.
        output_size: Number of outputs.
        device: Where its parameters are.
        dtype: Their dtype.
    """

    def __init__(
        self,
        states: int,
        output_size: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(states, output_size, device=device, dtype=dtype)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map probabilities (..., states) to outputs (..., output_size)."""
        dtype = probabilities.dtype
        return relative(probabilities, self.weight.to(dtype), self.bias.to(dtype))


def relative(probabilities: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the affine map of probabilities relative to their uniform value.

    Args:
        probabilities: Shape (..., D).
        weight: Shape (outputs, D).
        bias: Shape (outputs,).

    Returns:
        Shape (..., outputs).
    """
    # The factor on the weights, which are fewer than the probabilities of a batch.
    return functional.linear(probabilities, weight * weight.shape[1], bias - weight.sum(1))


class StackedLinearReadout(nn.Module):
    r"""One linear readout a layer: :math:`W_k (D p_k - 1) + b_k`.

    Args:
        count: Number of layers.
        states: Number of outcomes D.
        output_size: Number of outputs of each layer.
        device: As for `LinearReadout`.
        dtype: As for `LinearReadout`.
    """

    def __init__(
        self,
        count: int,
        states: int,
        output_size: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        shape = count, output_size, states
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(shape[:2], device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases as `nn.Linear` does."""
        bound = 1 / math.sqrt(self.weight.shape[2])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map probabilities (count, batch, states) to outputs (count, batch, output_size)."""
        weight, bias = self.weight.to(probabilities.dtype), self.bias.to(probabilities.dtype)
        offset = bias - weight.sum(2)
        scaled = weight * weight.shape[2]
        return torch.baddbmm(offset[:, None], probabilities, scaled.mT)

    def extra_repr(self) -> str:
        """Return the sizes for `repr`."""
        count, outputs, states = self.weight.shape
        return f"count={count}, states={states}, output_size={outputs}"


def _module(
    outcomes: Outcomes,
    size: int,
    count: int | None,
    device: torch.device | None,
    dtype: torch.dtype | None,
) -> nn.Module:
    if count is None:
        return LinearReadout(outcomes.size, size, device, dtype)
    return StackedLinearReadout(count, outcomes.size, size, device, dtype)


LINEAR = Readout(
    words="linear readout",
    only_size=None,
    refusal=lambda outcomes, occupation, size: "",
    module=_module,
    numbers=lambda outcomes, size: 2 * outcomes.size * size,
)
NONE = Readout(
    words="their probabilities",
    only_size=lambda outcomes: outcomes.size,
    refusal=lambda outcomes, occupation, size: "",
)
