"""Outputs that run side by side, any of which may be lost: its mean then stands in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer, number
from hybridlit.ranks import summed

__all__ = ["Paths"]

_SMALLEST_STEP = 0.05
"""Weight of a batch in a running mean after many: weights move, and old rows tell less."""


class Paths(nn.Module):
    """Let the outputs of several paths through, and their means where a path is lost.

    In training, a running mean of each output is kept over the rows in which it is there: the mean
    of the first 20 batches, and from then on 0.95 times the mean so far and 0.05 times that of the
    batch, which a template takes over the rows of all processes. It stands in, without a gradient,
    for

    - paths that `without` leaves out;
    - rows that `missing` marks;
    - in training, rows that `dropout` draws. For each row and path a number is drawn from [0, 1),
      and the path is lost if that is below `dropout`; the one with the largest number stays, so
      that no row loses all that it has. Of k paths, each is lost in a share of
      `dropout - dropout**k / k` of the rows.

    Dropout of single values puts zeros in their place, and so rescales the others. Here the mean
    takes the place, so that the expectation of every output is what it was, and what is there is
    not rescaled (Neverova et al., arXiv:1501.00102, drop modalities alike, by zeros).

    Args:
        widths: Number of features of each output by the name of its path, at least one path.
        dropout: Probability of losing a path, in [0, 1); above 0 only with two paths or more.

    Attributes:
        names: The paths.
        lost: Paths whose mean stands in for all rows, until it is emptied again: see `without`.
        remembering: Whether batches in training mode count in the means; initially True.
        waiting: Whether they count as late as `settle` says; initially False.
        mean: Running means, all outputs side by side, shape (sum of widths,).
        count: Number of batches that each of these is of, counted on; the same shape.

    Example:
        >>> paths = Paths({"classical": 2, "photonic": 1})
        >>> _ = paths([torch.tensor([[1.0, 3.0], [3.0, 3.0]]), torch.zeros(2, 1)])
        >>> with paths.without("classical"):
        ...     paths.eval()([torch.ones(1, 2), torch.ones(1, 1)])
        [tensor([[2., 3.]]), tensor([[1.]])]
    """

    mean: Tensor
    count: Tensor

    @checked
    def __init__(self, widths: dict[str, int], dropout: float = 0.0) -> None:
        super().__init__()
        if not widths:
            raise ValueError("widths must name at least one path, got {}")
        number(dropout, "dropout", minimum=0.0, below=1.0)
        if dropout and len(widths) == 1:
            raise ValueError(
                f"dropout must be 0 for {next(iter(widths))!r} alone, got {dropout}: a row that "
                "loses its only path has nothing to learn from"
            )
        self.names = list(widths)
        self.dropout = dropout
        self.lost: set[str] = set()
        self.remembering = True
        self.waiting = False
        self._pending: list[tuple[Tensor, Tensor | int]] = []
        self.widths = [integer(width, "each of widths", 1) for width in widths.values()]
        self.register_buffer("mean", torch.zeros(sum(self.widths)))
        self.register_buffer("count", torch.zeros(sum(self.widths), dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_as_unseen)  # type: ignore[no-untyped-call]

    def forward(
        self, outputs: Sequence[Tensor], missing: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """Put means in the place of what is lost.

        Args:
            outputs: One tensor of shape (batch, width) for each path, in order.
            missing: Which rows lack that output, a mask of shape (batch,) for each path or None;
                their values are not looked at.

        Returns:
            The outputs, in the same order and shapes.
        """
        if [output.shape[1:] for output in outputs] != [(width,) for width in self.widths]:
            wanted = dict(zip(self.names, self.widths, strict=True))
            raise ValueError(
                f"outputs must have shapes (batch, width) with widths {wanted}, got "
                f"{[tuple(output.shape) for output in outputs]}"
            )
        masks = [None] * len(outputs) if missing is None else list(missing)
        if self.training and self.remembering and len(outputs[0]):
            self._remember(outputs, masks)
        if self.training and self.dropout:
            masks = self._dropped(outputs[0], masks)
        if not self.lost and all(mask is None for mask in masks):
            return list(outputs)
        parts = zip(self.names, outputs, self.means, masks, strict=True)
        return [self._filled(*part) for part in parts]

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Let the means of some paths stand in for them, until the block ends.

        Raises:
            ValueError: If a name is unknown, or the path has seen no training rows.
        """
        for name in names:
            choice(name, "each path", self.names)
            if not self.count.split(self.widths)[self.names.index(name)][0]:
                raise ValueError(
                    f"{name!r} has no mean that could stand in for it, since it has seen no "
                    "training rows: train the model first, a batch in training mode is enough, or "
                    "load a checkpoint that has it"
                )
        before, self.lost = self.lost, self.lost.union(names)
        try:
            yield
        finally:
            self.lost = before

    @property
    def seen(self) -> bool:
        """Whether all paths have a mean that could stand in for them."""
        return bool(self.count.all())

    @property
    def means(self) -> list[Tensor]:
        """The running means of the outputs, shapes (width,), in order."""
        return list(self.mean.split(self.widths))

    def extra_repr(self) -> str:
        """Describe the paths in one line."""
        return f"{dict(zip(self.names, self.widths, strict=True))}, dropout={self.dropout:g}"

    # --- inside -----------------------------------------------------------------------------------

    def _remember(self, outputs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> None:
        both, rows = torch.cat([output.detach() for output in outputs], 1), len(outputs[0])
        seen: Tensor | int = rows
        if all(mask is None for mask in masks):
            total = both.sum(0, dtype=self.mean.dtype)
        else:
            there = torch.cat(
                [
                    (both.new_ones(rows) if mask is None else ~mask)[:, None].expand(-1, width)
                    for mask, width in zip(masks, self.widths, strict=True)
                ],
                1,
            ).bool()
            seen = there.sum(0)
            total = torch.where(there, both, 0).sum(0, dtype=self.mean.dtype)
        # a new list: whoever looks at a model puts the former one back
        self._pending = [*self._pending, (total, seen)]
        if not self.waiting:
            self.settle()

    def settle(self, count: bool = True, together: bool = False) -> None:
        """Let the batches count that have waited, of all processes together, or forget them."""
        pending, self._pending = self._pending, []
        for total, seen in pending if count else ():
            if together:
                seen = torch.zeros_like(total) + seen
                total, seen = summed(torch.stack([total, seen])).unbind()
            now = total / (seen if isinstance(seen, int) else seen.clamp(min=1))
            # one overflow, as half precision has at times, must not stay for ever
            known = now.isfinite()
            if not isinstance(seen, int):
                known &= seen > 0
            self.count.add_(known)
            step = self.count.clamp(min=1).reciprocal().clamp_min_(_SMALLEST_STEP)
            self.mean.lerp_(now.where(known, self.mean), step.to(self.mean.dtype))

    def _dropped(self, like: Tensor, masks: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Draw which rows lose which path, besides those that have none."""
        draw = torch.rand(len(like), len(masks), device=like.device)
        for index, mask in enumerate(masks):
            if mask is not None:
                draw[:, index].masked_fill_(mask, -1.0)
        lost = (draw < self.dropout).scatter(1, draw.argmax(1, keepdim=True), False)
        return [
            column if mask is None else column | mask
            for column, mask in zip(lost.unbind(1), masks, strict=True)
        ]

    def _filled(self, name: str, output: Tensor, mean: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None and name not in self.lost:
            return output
        # a copy: the next batch moves the mean, and what follows may write into its rows
        stand_in = mean.to(output.dtype, copy=True).expand_as(output)
        if name in self.lost:
            return stand_in.clone()
        assert mask is not None
        return torch.where(mask[:, None], stand_in, output)


def _as_unseen(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, _: Any, strict: bool, *__: Any
) -> None:
    """Let a state dict without these means, as of version 0.1, be one of paths never seen."""
    if strict and f"{prefix}count" not in state_dict:
        for name, buffer in module.named_buffers():
            state_dict[prefix + name] = torch.zeros_like(buffer)
