"""Photon-number expectations from real and imaginary parts of a unitary's columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.photonics.readouts import expectations
from hybridlit.photonics.readouts.row import Readout

__all__ = ["real_expectation"]


def _means(planes: Tensor, photons: Tensor) -> Tensor:
    return (planes.square().sum(2) * photons[:, None, None]).sum(0).T


def _pairs(planes: Tensor, photons: Tensor) -> Tensor:
    real, imag = planes.permute(3, 2, 1, 0).unbind(1)  # each (batch, modes, inputs)
    weights = real.square() + imag.square()
    mean = weights @ photons
    one, two = real * photons, imag * photons
    exchange = (one @ real.mT + two @ imag.mT).square() + (one @ imag.mT - two @ real.mT).square()
    same_input = (weights * (photons * (photons + 1))) @ weights.mT
    return mean[:, :, None] * mean[:, None] + exchange - same_input


def _distinguishable_pairs(planes: Tensor, photons: Tensor) -> Tensor:
    transfer = planes.square().sum(2).permute(2, 1, 0)
    mean = transfer @ photons
    return mean[:, :, None] * mean[:, None] - (transfer * photons) @ transfer.mT


_REAL: dict[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] = {
    expectations.mode_expectations: _means,
    expectations.pair_correlations: _pairs,
    expectations.distinguishable_pair_correlations: _distinguishable_pairs,
}
"""The same from planes (inputs, modes, 2, batch): (batch, modes), or (batch, modes, modes)."""


class _Expectation(nn.Module):
    photons: Tensor
    pairs: Tensor

    def __init__(self, function: Any, photons: Tensor, modes: int) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("photons", photons)
        first, second = torch.triu_indices(modes, modes)
        self.register_buffer("pairs", first * modes + second)

    def forward(self, planes: Tensor) -> Tensor:
        """Map columns (inputs, modes, 2, batch), real part first, to outputs (batch, outputs)."""
        found: Tensor = self.function(planes, self.photons)
        return found if found.dim() == 2 else found.flatten(1).index_select(1, self.pairs)


def real_expectation(readout: Readout, interfere: bool, photons: Tensor, modes: int) -> nn.Module:
    """Return the module from columns to the outputs of a readout that has an `expectation`.

    That is, from (inputs, modes, 2, batch), real part first, to (batch, outputs); `photons` are
    those in each of these inputs.
    """
    function: Any = readout.expectation
    if not interfere and readout.distinguishable is not None:
        function = readout.distinguishable
    if function not in _REAL:
        raise ValueError(
            f"the readout {function.__name__} ({readout.words}) has no form in real numbers, which "
            "an exported model needs: add one to hybridlit/export/expectations.py"
        )
    return _Expectation(_REAL[function], photons, modes)
