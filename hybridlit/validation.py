"""Checks of constructor arguments outside the core, which has its own for integers."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Real

__all__ = ["choice", "number"]


def choice(value: object, argument: str, allowed: Collection[str]) -> None:
    """Check that a value is one of some strings.

    Args:
        value: What the user gave.
        argument: The argument's name, for the message.
        allowed: The strings allowed.

    Raises:
        ValueError: If it is none of them.
    """
    if value not in allowed:
        raise ValueError(f"{argument} must be one of {list(allowed)}, got {value!r}")


def number(
    value: object,
    argument: str,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Check that a value is a finite real number in a range.

    Args:
        value: What the user gave.
        argument: The argument's name, for the message.
        minimum: The smallest value allowed.
        above: All values must be larger than this.
        below: All values must be smaller than this.

    Raises:
        TypeError: If it is a bool or no real number.
        ValueError: If it is not finite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} must be a number, got {type(value).__name__} {value!r}")
    if not (minimum <= float(value) < below and above < float(value) < math.inf):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in [("at least", minimum), ("above", above), ("below", below)]
            if math.isfinite(bound)
        ]
        raise ValueError(f"{argument} must be {' and '.join(bounds) or 'finite'}, got {value}")
