"""Sums of probabilities over groups of outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.superposition import Superposition

__all__ = ["GROUPING", "LEXGROUPING", "MODGROUPING", "GroupingReadout"]


class GroupingReadout(nn.Module):
    r"""Sums of probabilities over groups of outcomes that share no outcome and leave none out.

    Consecutive groups split the outcomes, in descending lexicographic order, into runs whose sizes
    differ by at most one, the larger first; otherwise outcome i is in group i modulo the number of
    groups. Every output is positive and all of them sum to 1.

    Args:
        states: Number of outcomes D.
        output_size: Number of groups, 2 to D.
        consecutive: Runs of outcomes (LEXGROUPING) instead of residues (MODGROUPING).
        device: Where its table is.
    """

    group: Tensor

    def __init__(
        self,
        states: int,
        output_size: int,
        *,
        consecutive: bool,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.states, self.output_size, self.consecutive = states, output_size, consecutive
        group = torch.empty(states, dtype=torch.long, device=device)
        self.register_buffer("group", group, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the table of groups, which has no parameters to draw."""
        outcome = torch.arange(self.states, device=self.group.device)
        smallest, larger = divmod(self.states, self.output_size)
        if self.consecutive:
            # The first `larger` groups hold one outcome more.
            in_larger = outcome < larger * (smallest + 1)
            late = larger + (outcome - larger * (smallest + 1)) // smallest
            self.group.copy_(torch.where(in_larger, outcome // (smallest + 1), late))
        else:
            self.group.copy_(outcome % self.output_size)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map probabilities (..., states) to sums (..., output_size)."""
        zeros = probabilities.new_zeros((*probabilities.shape[:-1], self.output_size))
        return zeros.index_add(-1, self.group, probabilities)

    def extra_repr(self) -> str:
        """Return the sizes for `repr`."""
        kind = "lexgrouping" if self.consecutive else "modgrouping"
        return f"states={self.states}, output_size={self.output_size}, {kind}"


def _refusal(outcomes: Outcomes, state: tuple[int, ...] | Superposition | None, size: int) -> str:
    if 2 <= size <= outcomes.size:
        return ""
    return (
        f"sums over groups: output_size must be 2 to {outcomes.size}, got {size}: one group always "
        f"sums to 1, and more groups than the {outcomes.size} outcomes leave some always 0; use "
        "'linear' for any size"
    )


def _module(consecutive: bool) -> Callable[..., nn.Module]:
    def make(
        outcomes: Outcomes, size: int, count: int | None, device: Any, dtype: Any
    ) -> nn.Module:
        return GroupingReadout(outcomes.size, size, consecutive=consecutive, device=device)

    return make


LEXGROUPING = Readout(
    words="sums over runs of outcomes",
    only_size=None,
    refusal=_refusal,
    module=_module(consecutive=True),
)
GROUPING = replace(LEXGROUPING, equals="lexgrouping")
MODGROUPING = replace(
    LEXGROUPING, words="sums over residues of outcomes", module=_module(consecutive=False)
)
