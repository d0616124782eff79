"""Losses of a chip from what its detectors see on average."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.chip_layer import MEASURED, ChipLayer

__all__ = ["first_losses"]

_DRAWS = 2**14
"""Random phases that an expected mean is of."""
_SWEEPS = 50
_LEAST = 1e-3
"""Noise may outweigh what light is left."""


@torch.no_grad()
def first_losses(layer: ChipLayer, light: Tensor, measured: Tensor) -> None:
    r"""Set the losses of inputs and outputs to those that mean measurements say.

    Of a chip without losses the mean of :math:`|U_{jk}|^2`, over whatever settings, has sums of 1
    over inputs and over outputs; a matrix has one scale of each row and column that makes it so.
    This needs no phases, and losses along the modes are taken as ends'. Of two photons only the
    loss of all light is found, against random phases.

    Args:
        layer: The chip, whose `input_loss` and `output_loss` are set.
        light: What enters each mode, shape (rows, modes).
        measured: (rows, outputs), NaN where nothing was measured. Outputs without measurements, and
            all as long as some input had no light, keep a relative loss of 0; inputs without get
            the mean of the others.
    """
    layer.input_loss.zero_()
    layer.output_loss.zero_()
    there = ~measured.isnan()
    if not bool(there.any()):
        return
    values = torch.where(there, measured, 0.0).double()
    if MEASURED[layer.measured].lights > 1:
        power = torch.where(light > 0, light, 1.0).prod(1, keepdim=True)
        level = float((values / power).sum() / there.sum()) / _expected(layer)
        layer.input_loss.fill_(_decibels(torch.tensor(level)) / MEASURED[layer.measured].lights)
        return
    modes = layer.modes
    entered = light.argmax(1)
    values = values / light.amax(1, keepdim=True)
    empty = values.new_zeros(modes, modes)
    counts = empty.index_add(0, entered, there.double())
    means = empty.index_add(0, entered, values) / counts.clamp_min(1)
    known = counts > 0
    into, out = values.new_ones(modes, 1), values.new_ones(modes)
    for _ in range(_SWEEPS):
        even = into * out / modes
        table = torch.where(known, means.clamp_min(_LEAST / modes), even)
        into = (table / out).sum(1, keepdim=True)
        if bool(known.any(1).all()):
            out = (table / into).sum(0)
    lit = known.any(1)
    first, last = _decibels(into[:, 0]), _decibels(out)
    first[~lit] = first[lit].mean()
    layer.input_loss.copy_(first + last.mean())
    layer.output_loss.copy_(last - last.mean())


def _decibels(kept: Tensor) -> Tensor:
    return -10 * torch.log10(kept.clamp_min(_LEAST))


def _expected(layer: ChipLayer) -> float:
    """Mean over random phases of what is seen of two photons without losses at the ends."""
    like = layer.encoding
    generator = torch.Generator().manual_seed(0)  # the global one is for what is trained
    phases = torch.rand(_DRAWS, layer.turned, generator=generator, dtype=torch.float64)
    lit = torch.rand(_DRAWS, layer.modes, generator=generator).argsort(1) < 2
    rows = torch.cat([(2 * math.pi * phases).to(like), lit.to(like)], 1)
    return float(layer(rows).double().mean())
