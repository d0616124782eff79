"""Probabilities of outcomes -> outputs of a layer, one module for each mapping strategy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hybridlit.photonics.experiment import OutputMappingStrategy

__all__ = ["GroupingReadout", "LinearReadout", "make_readout"]


class LinearReadout(nn.Linear):
    r"""Affine map of the probabilities relative to their uniform value, :math:`W (D p - 1) + b`.

    The maps are the same as those of :math:`W p + b`. But a probability is about 1/D, so that a
    plain affine map would start, and learn, D times too slowly at the usual initialisation and
    learning rates; relative probabilities vary by about 1 around 0.

    Args:
        states: number of outcomes D.
        output_size: number of outputs.
    """

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map probabilities (..., states) to outputs (..., output_size)."""
        # The factor on the weights, which are fewer than the probabilities of a batch.
        weight, bias = self.weight.to(probabilities.dtype), self.bias.to(probabilities.dtype)
        return functional.linear(probabilities, weight * self.in_features, bias - weight.sum(1))


class GroupingReadout(nn.Module):
    r"""Sums of probabilities over groups of outcomes that share no outcome and leave none out.

    Consecutive groups split the outcomes, in descending lexicographic order, into runs whose sizes
    differ by at most one, the larger first; otherwise outcome i is in group i modulo the number of
    groups. Every output is positive and all of them sum to 1.

    Args:
        states: number of outcomes D.
        output_size: number of groups, 2 to D.
        consecutive: runs of outcomes (LEXGROUPING) instead of residues (MODGROUPING).
    """

    group: Tensor

    def __init__(self, states: int, output_size: int, *, consecutive: bool) -> None:
        super().__init__()
        self.states, self.output_size, self.consecutive = states, output_size, consecutive
        self.register_buffer("group", torch.empty(states, dtype=torch.long), persistent=False)
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
        """Return the sizes for ``repr``."""
        kind = "lexgrouping" if self.consecutive else "modgrouping"
        return f"states={self.states}, output_size={self.output_size}, {kind}"


def make_readout(
    strategy: OutputMappingStrategy, states: int, output_size: int
) -> LinearReadout | GroupingReadout | nn.Identity:
    """Return the module of a strategy; sizes are checked by the ansatz.

    Args:
        strategy: how probabilities become outputs.
        states: number of outcomes D.
        output_size: number of outputs.

    Returns:
        A module from (..., states) to (..., output_size); the identity for strategies that leave
        nothing to map.

    Raises:
        ValueError: if nothing is known of the strategy here.
    """
    if strategy is OutputMappingStrategy.LINEAR:
        return LinearReadout(states, output_size)
    if strategy is OutputMappingStrategy.MODGROUPING:
        return GroupingReadout(states, output_size, consecutive=False)
    if strategy in (OutputMappingStrategy.GROUPING, OutputMappingStrategy.LEXGROUPING):
        return GroupingReadout(states, output_size, consecutive=True)
    if strategy in (
        OutputMappingStrategy.NONE,
        OutputMappingStrategy.MODE_EXPECTATIONS,
        OutputMappingStrategy.PAIR_CORRELATIONS,
    ):
        return nn.Identity()
    raise ValueError(f"make_readout must know of every strategy, and has no module for {strategy}")
