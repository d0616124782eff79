"""Fully connected layers with an activation between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from hybridlit.argument_types import checked
from hybridlit.checks import integer, number

__all__ = ["dense", "hidden_width", "layer_widths"]


@checked
def dense(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Build linear layers with a ReLU, and dropout, after each but the last.

    The last layer stays linear, so that what reads it, a photonic encoding for instance, sees both
    signs.

    Args:
        widths: Number of features before, between and after the layers, at least two of them, each
            at least 1.
        dropout: Share of values dropped after each ReLU in training, in [0, 1).

    Returns:
        A module from (..., widths[0]) to (..., widths[-1]).
    """
    sizes = [integer(width, "each entry of widths", 1) for width in widths]
    if len(sizes) < 2:
        raise ValueError(f"widths must name at least two numbers of features, got {sizes}")
    number(dropout, "dropout", minimum=0.0, below=1.0)
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes[:-1]):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def hidden_width(outputs: int) -> int:
    """Return the width of a hidden layer before so many outputs: twice as many, but at least 16.

    A handful of ReLUs may all be dead, from the start or soon: then every row gets the same answer.
    """
    return max(2 * outputs, 16)


def layer_widths(hidden_dims: Sequence[int] | None, default: list[int]) -> list[int]:
    """Return `hidden_dims` of a template as a list of its own, checked: at least one width."""
    if hidden_dims is None:
        return list(default)
    if isinstance(hidden_dims, str) or not isinstance(hidden_dims, Sequence) or not hidden_dims:
        raise ValueError(f"hidden_dims must name at least one width, got {hidden_dims!r}")
    return [integer(width, "each entry of hidden_dims", 1) for width in hidden_dims]
