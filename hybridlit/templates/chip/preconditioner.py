"""The normal equations of a chip in blocks: each phase for itself, and the layer's parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridlit.templates.chip.linearized import Linearized

__all__ = ["Preconditioner"]


class Preconditioner:
    """An approximate inverse of the normal matrix, without which its solution takes too long.

    What one phase feels (its offset, its own heater's response, what leaks into it) is one block;
    the parameters of the chip are another. Crosstalk by distance, which all phases share, has its
    diagonal.

    Args:
        linear: The linear map.
        extra: What is added to the normal matrix's diagonal: priors and damping, (size,).
    """

    def __init__(self, linear: Linearized, extra: Tensor) -> None:
        self.size = linear.fitted.size
        seen = linear.phase_information()
        diagonal = linear.diagonal() + extra
        self.scale = 1 / (diagonal + 1e-12 * diagonal.max()).double()
        self.slots = _slots(linear)
        self.blocks = _factored(_phase_blocks(linear, seen), self.slots, extra)
        own = linear.own.flatten(0, 1)
        count = own.shape[-1]
        places = torch.arange(self.size - count, self.size, device=own.device)[None]
        self.own = places
        self.own_block = _factored((own.mT @ own)[None], places, extra)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the approximate solutions for right sides, both of shape (vectors, size)."""
        found = (vectors * self.scale).to(vectors.dtype)
        for places, block in ((self.slots, self.blocks), (self.own, self.own_block)):
            padded = torch.cat([vectors, vectors.new_zeros(len(vectors), 1)], 1).to(block.dtype)
            solved = torch.cholesky_solve(padded[:, places].permute(1, 2, 0), block)
            live = places < self.size
            found[:, places[live]] = solved.permute(2, 0, 1)[:, live].to(found.dtype)
        return found


def _slots(linear: Linearized) -> Tensor:
    """Where in the vector a phase's numbers are, (phases, slots); `size` for what it lacks.

    They are its offset, the quadratic and linear response of its heater, and dense crosstalk.
    """
    heaters, places, nowhere = linear.heaters, linear.fitted.places(), linear.fitted.size
    found = torch.full((heaters.phases, 3), nowhere, device=linear.fitted.device)
    homes = heaters.home.argmax(0)
    for slot, name in enumerate(("offset", "quadratic", "linear")):
        if name in places:
            found[slice(None) if name == "offset" else homes, slot] = places[name]
    if "leak" in places and heaters.apart is None:
        leak = places["leak"].masked_fill(heaters.away == 0, nowhere)
        found = torch.cat([found, leak], 1)
    return found


def _phase_blocks(linear: Linearized, seen: Tensor) -> Tensor:
    """Normal matrices of what one phase feels, (phases, slots, slots)."""
    heaters = linear.heaters
    voltages = linear.voltages @ heaters.home.to(seen.dtype).mT
    dense = "leak" in linear.fitted.tensors and heaters.apart is None
    shared = [linear.response] if dense else []
    blocks = []
    for phase in range(heaters.phases):
        v = voltages[:, phase, None]
        features = torch.cat([torch.ones_like(v), v**2, v, *shared], 1)
        blocks.append((features * seen[:, phase, None]).mT @ features)
    return torch.stack(blocks)


def _factored(blocks: Tensor, places: Tensor, extra: Tensor) -> Tensor:
    """Cholesky factors of blocks with what is added to their diagonals; 1 where a slot is empty."""
    live = places < len(extra)
    added = torch.cat([extra, extra.new_zeros(1)])[places].double()
    blocks = (blocks * (live[:, :, None] & live[:, None])).double()
    diagonal = blocks.diagonal(dim1=1, dim2=2)
    least = 1e-6 * diagonal + 1e-12 * diagonal.amax(1, keepdim=True).clamp_min(1e-12)
    blocks = blocks + torch.diag_embed(torch.where(live, added + least, 1.0))
    factors: Tensor = torch.linalg.cholesky(blocks)
    return factors
