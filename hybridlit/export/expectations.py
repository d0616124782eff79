"""Photon-number expectations from real and imaginary parts of a unitary's columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from hybridlit.photonics.readouts import expectations
from hybridlit.photonics.readouts.row import Readout

__all__ = ["RealExpectation", "real_expectation"]


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


RealExpectation: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_REAL: dict[Any, RealExpectation] = {
    expectations.mode_expectations: _means,
    expectations.pair_correlations: _pairs,
    expectations.distinguishable_pair_correlations: _distinguishable_pairs,
}
"""What stands for an expectation of complex columns."""


def real_expectation(readout: Readout, interfere: bool) -> RealExpectation | None:
    """Return the function from columns to a readout that needs no amplitudes; None for others.

    It takes columns (inputs, modes, 2, batch), real part first, and the photons in each of these
    input modes to (batch, modes), or of pairs (batch, modes, modes).
    """
    function: Any = readout.expectation
    if not interfere and readout.distinguishable is not None:
        function = readout.distinguishable
    if function is None:
        return None
    if function not in _REAL:
        raise ValueError(
            f"the readout {function.__name__} ({readout.words}) has no form in real numbers, which "
            "an exported model needs: add one to hybridlit/export/expectations.py"
        )
    return _REAL[function]
