"""By how much trainable angles may grow until a circuit is the same again."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce

import numpy as np
import numpy.typing as npt

from hybridlit.photonics.circuit.lowering import Lowering

__all__ = ["periods"]

_WHOLE = 64
"""Ratios of larger numbers than these count as none."""


def periods(lowering: Lowering) -> npt.NDArray[np.float64]:
    r"""Return the period of each trainable angle, in the shape of a circuit's `phases`, in radians.

    It is :math:`2\pi` in a mesh and in a phase shifter. An angle that turns several phase shifters
    by the factors f has the smallest T for which each f T is whole turns, so that the angle of a
    beam splitter, with factors of 1/2, has :math:`4\pi`. Where factors have no common measure there
    is none: infinity.
    """
    found = np.full(lowering.phases_shape, 2 * math.pi)
    if lowering.slots is None:
        return found
    for number in range(len(found)):
        factors = np.abs(lowering.slots.factor[lowering.slots.places == number + 1])
        found[number] *= _common(factors)
    return found


def _common(factors: npt.NDArray[np.float64]) -> float:
    """Return the smallest number that makes all factors whole."""
    ratios = factors / factors.min()
    fractions = [Fraction(ratio).limit_denominator(_WHOLE) for ratio in ratios.tolist()]
    if not np.allclose([float(fraction) for fraction in fractions], ratios, rtol=1e-12, atol=0):
        return math.inf
    # whole multiples of a / b are those of a gcd: gcd of numerators over lcm of denominators
    numerator = reduce(math.gcd, (fraction.numerator for fraction in fractions))
    denominator = reduce(math.lcm, (fraction.denominator for fraction in fractions))
    return denominator / (numerator * float(factors.min()))
