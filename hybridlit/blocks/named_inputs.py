"""Inputs by name side by side in one tensor, each behind its own front; some may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.blocks.paths import Paths
from hybridlit.photonics.finite import can_look_at, infinity_as_nan, rows_in_words

__all__ = ["NamedInputs"]


class NamedInputs(nn.Module):
    """Inputs by name, flat and side by side, to their features side by side.

    An input that is NaN in all its entries of a row is missing there. What its front gives for such
    a row is not used: the mean of its features over the training rows that have it stands in, as
    for a lost path (see `Paths`). Zeros go through the front in its place, which the statistics of
    a batch normalization in the front see. A row that has no input at all comes out as NaN.

    Args:
        shapes: Shape of one row of each input.
        fronts: A module for each input, by name, with an attribute `output_size`, from (batch,
            *shape) to (batch, output_size); inputs that are not named come through as they are.

    Attributes:
        shapes: The shapes.
        widths: Number of values of each input, by name.
        spans: Where the features of each input are among all, by name.
        fronts: The modules, in the order of the inputs.
        paths: The means that stand in.
    """

    @checked
    def __init__(
        self, shapes: dict[str, list[int]], fronts: dict[str, nn.Module] | None = None
    ) -> None:
        super().__init__()
        given: dict[str, Any] = fronts or {}
        self.shapes = {name: list(shape) for name, shape in shapes.items()}
        self.widths = {name: math.prod(shape) for name, shape in shapes.items()}
        self.fronts = nn.ModuleList(given.get(name, nn.Flatten()) for name in shapes)
        sizes = {
            name: given[name].output_size if name in given else width
            for name, width in self.widths.items()
        }
        self.spans: dict[str, slice] = {}
        end = 0
        for name, size in sizes.items():
            self.spans[name] = slice(end, end + size)
            end += size
        self.paths = Paths(sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (batch, sum of widths) to features (batch, sum of output sizes)."""
        parts, missing = self._split(x)
        features = [
            front(infinity_as_nan(part).reshape(-1, *shape))
            for front, part, shape in zip(self.fronts, parts, self.shapes.values(), strict=True)
        ]
        nothing = torch.stack(missing).all(0)
        return torch.cat(self.paths(features, missing), 1).masked_fill(nothing[:, None], math.nan)

    def packed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Put inputs by name, of shape (batch, *shape) or (batch, values), side by side."""
        if set(inputs) != set(self.shapes):
            raise ValueError(
                f"x must hold the inputs {list(self.shapes)} by name, got {list(inputs)}; what a "
                "row lacks is NaN there"
            )
        for name, shape in self.shapes.items():
            given = inputs[name]
            if not isinstance(given, Tensor):
                raise TypeError(f"x[{name!r}] must be a tensor, got {type(given).__name__}")
            if list(given.shape[1:]) not in (shape, [self.widths[name]]) or given.dim() < 2:
                raise ValueError(
                    f"x[{name!r}] must have shape (batch, {', '.join(map(str, shape))}), got "
                    f"{tuple(given.shape)}"
                )
        rows = {name: len(inputs[name]) for name in self.shapes}
        if len(set(rows.values())) > 1:
            raise ValueError(f"x must hold inputs of as many rows, got {rows}")
        return torch.cat([inputs[name].flatten(1) for name in self.shapes], 1)

    def filled(self, x: Tensor) -> Tensor:
        """Put zeros in the place of missing inputs, and refuse rows that have none.

        Where looking costs a synchronisation, rows are not looked at.
        """
        parts, missing = self._split(x)
        nothing = torch.stack(missing).all(0)
        if can_look_at(x) and bool(nothing.any()):
            raise ValueError(
                f"x must have an input in every row, got {rows_in_words(nothing)} with none of "
                f"{list(self.shapes)}: leave such rows out"
            )
        return torch.cat(parts, 1)

    def present(self, x: Tensor) -> Tensor:
        """Say which rows, of shape (batch,), have an input, and no other NaN or infinity."""
        parts, missing = self._split(x)
        return torch.cat(parts, 1).isfinite().all(1) & ~torch.stack(missing).all(0)

    def _split(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return inputs, 0 where they are missing, and where that is."""
        parts = x.split(list(self.widths.values()), 1)
        missing = [part.isnan().all(1) for part in parts]
        pairs = zip(parts, missing, strict=True)
        return [part.masked_fill(gone[:, None], 0) for part, gone in pairs], missing
