"""What detectors behind a chip measure, and its derivatives row by row."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from hybridlit.photonics.chip_layer import ChipLayer, pairs_of

__all__ = ["OWN", "ChipJacobian", "chip_jacobian"]

OWN = ("phases", "input_loss", "mode_loss", "output_loss", "overlap")
"""Parameters of a `ChipLayer`, in the order of their derivatives."""

_NEPER = -math.log(10) / 10
"""Of a power, for each dB that it loses."""


class ChipJacobian(NamedTuple):
    """Light and its derivatives, one row for each setting.

    Attributes:
        measured: What detectors measure, shape (batch, outputs).
        turned: Derivatives in the phases that settings turn, (batch, outputs, phases).
        own: Derivatives in the layer's parameters, each flat, side by side in the order of `OWN`,
            (batch, outputs, parameters).
    """

    measured: Tensor
    turned: Tensor
    own: Tensor


@torch.no_grad()
def chip_jacobian(
    layer: ChipLayer, phases: Tensor, light: Tensor, *, rows: int = 256
) -> ChipJacobian:
    """Return what a layer measures and all of its derivatives, by one sweep through the chip.

    The derivative of each output in the amplitudes goes backward from column to column, and meets
    the light that came forward.

    Args:
        layer: The chip.
        phases: In radians, shape (batch, phases).
        light: What enters each mode, shape (batch, modes), as `ChipLayer.forward` takes it.
        rows: How many are computed together, at least 1, which bounds the memory.

    Returns:
        In the layer's precision.

    Raises:
        ValueError: If light enters some row in another number of modes than is measured.
    """
    sweep = _Sweep(layer)
    dtype = layer.encoding.dtype
    parts = [
        sweep.of(some.to(dtype), lit.to(dtype))
        for some, lit in zip(phases.split(rows), light.split(rows), strict=True)
    ]
    return ChipJacobian(*map(torch.cat, zip(*parts, strict=True)))


class _Sweep:
    """What is the same for all rows."""

    def __init__(self, layer: ChipLayer) -> None:
        self.layer = layer
        angles = layer.angles()
        self.meshes = layer._matrices(angles)
        self.bent = [
            (active, changes[..., active].movedim(-1, -2).flatten(0, 1))
            for changes in _derivatives(layer._matrices, angles)
            for active in [changes.flatten(0, 1).abs().sum(0).nonzero().flatten()]
        ]
        self.encoding = layer.encoding.view(layer.columns, layer.modes, -1)
        self.turns = [each.any(0).nonzero().flatten() for each in self.encoding]
        self.kept = layer.kept()
        self.leaving = layer.leaving()
        self.seen = _SEEN[layer.measured]

    def of(self, phases: Tensor, light: Tensor) -> ChipJacobian:
        """The rows of some settings; states are (batch, modes, lights)."""
        layer, columns = self.layer, self.layer.columns
        places, power = layer.entering(light)
        state = torch.zeros(len(phases), layer.modes, places.shape[1], dtype=self.meshes.dtype)
        state.scatter_(1, places[:, None], power[:, None].to(state.dtype))
        turned = torch.einsum("lkp,bp->lbk", self.encoding, phases)
        shifts = torch.polar(self.kept.expand_as(turned), turned)
        states = [state]
        for column in range(columns):
            states.append((self.meshes[column] @ states[-1]) * shifts[column, ..., None])
        leaving = (self.meshes[-1] @ states[-1]) * self.leaving[:, None]
        measured, slope, overlap, seen = self.seen(leaving, layer.overlap)
        back = slope * self.leaving  # (batch, lights, outputs, modes)
        count = layer.phases.numel()
        inner = measured.new_zeros(*measured.shape, count)
        outer = measured.new_zeros(*measured.shape, layer.turned)
        along = torch.zeros_like(back[:, 0].real)
        for column in range(columns, -1, -1):
            active, changes = self.bent[column]
            if len(active):
                bent = (changes @ states[column]).unflatten(1, (layer.modes, -1))
                inner[..., active] += (back @ bent.permute(0, 3, 1, 2)).real.sum(1)
            if column:
                back = back @ self.meshes[column]
                met = (back * states[column].mT[:, :, None]).sum(1)
                turns = self.turns[column - 1]
                outer[..., turns] -= met.imag @ self.encoding[column - 1][:, turns]
                along += met.real
                back = back * shifts[column - 1][:, None, None]
        lost = _NEPER * measured[..., None]
        losses = [
            lost * (light > 0).to(lost)[:, None],
            _NEPER / (2 * columns) * (along - along.mean(-1, keepdim=True)),
            lost * (seen - seen.mean(-1, keepdim=True)),
        ]
        return ChipJacobian(measured, outer, torch.cat([inner, *losses, overlap[..., None]], -1))


def _derivatives(matrices: Callable[[Tensor], Tensor], angles: Tensor) -> Tensor:
    """Derivatives of interferometers in flat angles, (columns + 1, modes, modes, angles)."""
    if not angles.numel():
        return matrices(angles)[..., None][..., :0]

    def planes(flat: Tensor) -> tuple[Tensor, Tensor]:
        found = matrices(flat.view_as(angles))
        return found.real, found.imag

    return torch.complex(*torch.func.jacfwd(planes)(angles.flatten()))


def _of_intensities(a: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Powers y of amplitudes `a`; s with dy = Re(s da); dy in the overlap; outputs seen by each."""
    found = (a.real.square() + a.imag.square())[..., 0]
    slope = 2 * torch.diag_embed(a[..., 0].conj())[:, None]
    return found, slope, torch.zeros_like(found), torch.eye(a.shape[1]).to(found)


def _of_two(bunched: bool, a: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Those of two photons in modes i and j, see `ChipLayer`."""
    modes = a.shape[1]
    one, other = pairs_of(modes, bunched).to(a.device)
    pairs = torch.arange(len(one), device=a.device)
    part = torch.where(one == other, 0.5, 1.0).to(overlap)
    first, second = a.unbind(-1)
    straight, crossed = first[:, one] * second[:, other], first[:, other] * second[:, one]
    to_straight = 2 * part * (straight + overlap * crossed).conj()
    to_crossed = 2 * part * (crossed + overlap * straight).conj()
    slope = torch.zeros(len(a), 2, len(pairs), modes, dtype=a.dtype, device=a.device)
    slope[:, 0, pairs, one] += to_straight * second[:, other]
    slope[:, 1, pairs, other] += to_straight * first[:, one]
    slope[:, 0, pairs, other] += to_crossed * second[:, one]
    slope[:, 1, pairs, one] += to_crossed * first[:, other]
    by_overlap = 2 * part * (straight * crossed.conj()).real
    alone = straight.real.square() + straight.imag.square()
    alone = alone + crossed.real.square() + crossed.imag.square()
    seen = torch.zeros(len(pairs), modes, device=a.device).to(alone)
    seen[pairs, one] += 1.0
    seen[pairs, other] += 1.0
    return part * alone + overlap * by_overlap, slope, by_overlap, seen


_SEEN: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]] = {
    "intensities": _of_intensities,
    "coincidences": partial(_of_two, False),
    "full_counts": partial(_of_two, True),
}
