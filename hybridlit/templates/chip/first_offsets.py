"""Offsets of a chip's phases, one after the other, from how light goes with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer

__all__ = ["first_offsets"]

_ROUNDS = 12
_DRAWS = 2**17
"""Offsets of all phases that are drawn in a round, for all rows together."""
_FEWEST, _MOST = 16, 64
"""Draws for a row."""
_ABOUT = 0.4
"""What a found offset may be wrong by, in radians: it is drawn so in later rounds."""
_LEVELS = 3.5, 3.0
"""Standard deviations above chance of offsets that are found; smaller ones only if there are none
else, since by chance one in 460, or in 90, is above them."""
_TOGETHER = 512
"""Rows whose light is computed together, for each draw."""


@torch.no_grad()
def first_offsets(
    heaters: HeaterResponse, layer: ChipLayer, settings: Tensor, light: Tensor, measured: Tensor
) -> Tensor:
    r"""Set the offsets that measurements tell; the others stay as they are.

    Of offsets o drawn at random those are likelier whose light p is like what was measured, y. For
    each phase the mean of :math:`e^{i o} (p - \bar p) \cdot (y - \bar p)` over rows and draws,
    :math:`\bar p` being the mean of a row's draws, has the angle of the true offset, however many
    others are unknown: these only make it weak. So what stands out of chance is found, is drawn
    near there in the next round, and by that others stand out: first phases between splitters,
    then those behind them. It costs no search, and a search from there rarely goes astray.

    Args:
        heaters: Voltages to phases, whose `offset` is set; its responses are taken as they are.
        layer: Phases to light, with losses about right.
        settings: Voltages, shape (rows, heaters).
        light: What enters each mode, (rows, modes).
        measured: (rows, outputs), NaN where nothing was measured.

    Returns:
        Which offsets were found, (phases,).
    """
    found = torch.zeros(heaters.phases, dtype=torch.bool, device=settings.device)
    turned = (heaters(settings) - heaters.offset).split(_TOGETHER)
    draws = min(_MOST, max(_FEWEST, _DRAWS // len(settings)))
    rows = list(zip(turned, light.split(_TOGETHER), measured.split(_TOGETHER), strict=True))
    for _ in range(_ROUNDS):
        parts = torch.cat([_likely(layer, heaters.offset, found, draws, *some) for some in rows])
        towards = parts.sum(0)
        chance = (parts.abs().square().sum(0) / 2).sqrt()  # in one direction
        above = [(towards.abs() > level * chance) & ~found for level in _LEVELS]
        new = next((each for each in above if bool(each.any())), None)
        if new is None:
            break
        angle = towards.angle().remainder(2 * math.pi)
        heaters.offset.copy_(torch.where(new, angle, heaters.offset))
        found |= new
    return found


def _likely(
    layer: ChipLayer,
    offset: Tensor,
    found: Tensor,
    draws: int,
    turned: Tensor,
    light: Tensor,
    measured: Tensor,
) -> Tensor:
    """Return which way offsets are for each row, (rows, phases), the longer the likelier."""
    shape = draws, *turned.shape
    drawn = 2 * math.pi * torch.rand(shape, dtype=turned.dtype, device=turned.device)
    near = offset + _ABOUT * torch.randn(shape, dtype=turned.dtype, device=turned.device)
    drawn = torch.where(found, near, drawn)
    inputs = torch.cat([turned + drawn, light.expand(draws, -1, -1)], -1)
    seen = layer(inputs.flatten(0, 1)).unflatten(0, shape[:2])
    mean = seen.mean(0)
    alike = ((seen - mean) * (measured - mean).nan_to_num()).sum(-1)
    ways = torch.complex(drawn.cos(), drawn.sin())
    return torch.einsum("dr,drp->rp", alike.to(ways.dtype), ways)
