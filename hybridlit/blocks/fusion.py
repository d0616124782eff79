"""Ways to combine the outputs of several components, classical or photonic, into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.blocks.dense import hidden_width
from hybridlit.checks import choice, integer, tensor

__all__ = [
    "FUSIONS",
    "AttentionFusion",
    "ConcatFusion",
    "Fusion",
    "FusionName",
    "GatedFusion",
    "SumFusion",
    "make_fusion",
]


class Fusion(nn.Module):
    """Base class: components of given widths in, outputs of one width out.

    Args:
        widths: Number of features of each component, at least one component, each at least 1.
        output_dim: Number of outputs, at least 1.
        hidden_dim: Width in between; None: twice `output_dim`, but at least 16, since a handful of
            ReLUs may all be dead from the start.

    Attributes:
        weights: How much each component counted for each row of the last training batch, shape
            (batch, components), rows summing to 1; None where components have no such weights.

    Example:
        >>> class Sum(Fusion):
        ...     def fuse(self, components):
        ...         return sum(components)
        >>> Sum([3, 3], output_dim=3)([torch.ones(5, 3), torch.ones(5, 3)]).unique()
        tensor([2.])
    """

    projections: nn.ModuleList

    @checked
    def __init__(
        self, widths: Sequence[int], output_dim: int, hidden_dim: int | None = None
    ) -> None:
        super().__init__()
        self.widths = [integer(width, "each entry of widths", 1) for width in widths]
        if not self.widths:
            raise ValueError("widths must name at least one component, got []")
        self.output_dim = integer(output_dim, "output_dim", 1)
        default = hidden_width(self.output_dim)
        self.hidden_dim = default if hidden_dim is None else integer(hidden_dim, "hidden_dim", 1)
        self.weights: Tensor | None = None
        self.build()

    def build(self) -> None:
        """Build the layers of the block; `widths`, `output_dim` and `hidden_dim` are known."""

    def forward(self, components: Sequence[Tensor]) -> Tensor:
        """Combine components.

        Args:
            components: One tensor of shape (batch, width) for each of `widths`, in order.

        Returns:
            Shape (batch, output_dim).
        """
        for position, component in enumerate(components):
            tensor(component, f"components[{position}]")
        shapes = [tuple(component.shape[1:]) for component in components]
        if shapes != [(width,) for width in self.widths]:
            raise ValueError(
                f"components must have shapes (batch, width) with widths {self.widths}, got "
                f"{[tuple(component.shape) for component in components]}"
            )
        return self.fuse(components)

    def fuse(self, components: Sequence[Tensor]) -> Tensor:
        """Combine components whose shapes are right, as `forward` describes."""
        raise NotImplementedError(f"{type(self).__name__} must define fuse(components)")

    def extra_repr(self) -> str:
        """Describe the sizes in one line."""
        return f"widths={self.widths}, output_dim={self.output_dim}, hidden_dim={self.hidden_dim}"

    def _projections(self) -> nn.ModuleList:
        return nn.ModuleList(nn.Linear(width, self.hidden_dim) for width in self.widths)

    def _projected(self, components: Sequence[Tensor]) -> Tensor:
        pairs = zip(self.projections, components, strict=True)
        return torch.stack([project(x) for project, x in pairs], 1)

    def _keep(self, weights: Tensor) -> None:
        # in training only: an exported or deployed model carries no state between calls
        if self.training:
            self.weights = weights.detach()


class ConcatFusion(Fusion):
    """All features side by side through one hidden layer: any interaction can be learned.

    The arguments are those of `Fusion`.

    Example:
        >>> ConcatFusion([16, 8], 3)([torch.rand(5, 16), torch.rand(5, 8)]).shape
        torch.Size([5, 3])
    """

    def build(self) -> None:
        """Build the layers."""
        self.layers = nn.Sequential(
            nn.Linear(sum(self.widths), self.hidden_dim),
            nn.ReLU(),
            nn.Linear(self.hidden_dim, self.output_dim),
        )

    def fuse(self, components: Sequence[Tensor]) -> Tensor:
        """Concatenate, then linear, ReLU, linear."""
        outputs: Tensor = self.layers(torch.cat(list(components), 1))
        return outputs


class SumFusion(Fusion):
    """Each component through a hidden layer of its own, then summed: no interactions.

    The ReLU stands before the sum; after it, the block would compute the same as `ConcatFusion`.

    The arguments are those of `Fusion`; `hidden_dim` is the common width.

    Example:
        >>> SumFusion([16, 8], 3)([torch.rand(5, 16), torch.rand(5, 8)]).shape
        torch.Size([5, 3])
    """

    def build(self) -> None:
        """Build the layers."""
        self.projections = self._projections()
        self.output = nn.Linear(self.hidden_dim, self.output_dim)

    def fuse(self, components: Sequence[Tensor]) -> Tensor:
        """Project each component, ReLU, sum, linear."""
        outputs: Tensor = self.output(self._projected(components).relu().sum(1))
        return outputs


class GatedFusion(Fusion):
    """A mean of the projected components whose weights are computed from the components themselves.

    The weights are a softmax for each row; a new block weighs all components equally.

    The arguments are those of `Fusion`; `hidden_dim` is the common width.

    Example:
        >>> fusion = GatedFusion([16, 8], 3)
        >>> fusion([torch.rand(5, 16), torch.rand(5, 8)]).shape, fusion.weights[0]
        (torch.Size([5, 3]), tensor([0.5000, 0.5000]))
    """

    def build(self) -> None:
        """Build the layers."""
        self.projections = self._projections()
        self.gate = nn.Linear(sum(self.widths), len(self.widths))
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.output = nn.Linear(self.hidden_dim, self.output_dim)

    def fuse(self, components: Sequence[Tensor]) -> Tensor:
        """Project each component, take their weighted mean, ReLU, linear."""
        weights = self.gate(torch.cat(list(components), 1)).softmax(1)
        self._keep(weights)
        hidden = weights[:, :, None] * self._projected(components)
        outputs: Tensor = self.output(hidden.sum(1).relu())
        return outputs


class AttentionFusion(Fusion):
    """A learned query attends to the projected components, each of them one token.

    There is one head, so that its attention weights say how much each component counted.

    The arguments are those of `Fusion`; `hidden_dim` is the width of the tokens.

    Example:
        >>> AttentionFusion([16, 8], 3)([torch.rand(5, 16), torch.rand(5, 8)]).shape
        torch.Size([5, 3])
    """

    def build(self) -> None:
        """Build the layers."""
        self.projections = self._projections()
        self.query = nn.Parameter(torch.randn(1, 1, self.hidden_dim))
        self.attention = nn.MultiheadAttention(self.hidden_dim, 1, batch_first=True)
        self.output = nn.Linear(self.hidden_dim, self.output_dim)

    def fuse(self, components: Sequence[Tensor]) -> Tensor:
        """Project each component to a token, attend, ReLU, linear."""
        tokens = self._projected(components)
        query = self.query.expand(tokens.shape[0], -1, -1)
        attended, weights = self.attention(query, tokens, tokens)
        self._keep(weights[:, 0])
        outputs: Tensor = self.output(attended[:, 0].relu())
        return outputs


FUSIONS: dict[str, type[Fusion]] = {
    "concat": ConcatFusion,
    "sum": SumFusion,
    "gated": GatedFusion,
    "attention": AttentionFusion,
}
"""Fusions by name."""

if TYPE_CHECKING:
    FusionName: TypeAlias = str
else:
    FusionName = Literal[tuple(FUSIONS)]


def make_fusion(
    kind: str, widths: Sequence[int], output_dim: int, hidden_dim: int | None = None
) -> Fusion:
    """Build a fusion of `FUSIONS`; the other arguments are as for `Fusion`."""
    choice(kind, "fusion", FUSIONS)
    return FUSIONS[kind](widths, output_dim, hidden_dim)
