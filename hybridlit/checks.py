"""Checks of arguments that constructors share: one message, one meaning.

Each takes what the user gave and the argument's name, for the message; it raises a `TypeError` for
a wrong type and a `ValueError` for what is out of range.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import Enum
from numbers import Integral, Real
from typing import TypeVar

import torch
from torch import Tensor

from hybridlit.words import meant

__all__ = [
    "boolean",
    "choice",
    "enum_member",
    "integer",
    "number",
    "precision",
    "random_seed",
    "tensor",
]

E = TypeVar("E", bound=Enum)


def enum_member(kind: type[E], value: object, argument: str) -> E:
    """Turn a member of an enum, its value or its name (in any case) into the member."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, str):
        raise TypeError(
            f"{argument} must be a {kind.__name__} or a string, "
            f"got {type(value).__name__} {value!r}"
        )
    try:
        return kind(value.lower())
    except ValueError:
        allowed = ", ".join(repr(member.value) for member in kind)
        near = meant(value, [str(member.value) for member in kind])
        raise ValueError(f"{argument} must be one of {allowed}, got {value!r}{near}") from None


def boolean(value: object, argument: str) -> bool:
    """Return a flag as it is; the string `"false"`, which is true in Python, is none."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be a bool, got {type(value).__name__} {value!r}")
    return value


def integer(value: object, argument: str, minimum: int, maximum: int | None = None) -> int:
    """Turn an integer of any integral type, but not a bool, into an int.

    Args:
        value: What the user gave.
        argument: The argument's name.
        minimum: The smallest value allowed.
        maximum: The largest value allowed; None: any.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{argument} must be an integer, got {type(value).__name__} {value!r}")
    if value < minimum:
        raise ValueError(f"{argument} must be at least {minimum}, got {value}")
    if maximum is not None and int(value) > maximum:
        raise ValueError(f"{argument} must be at most {maximum}, got {value}")
    return int(value)


def random_seed(value: object, argument: str) -> int:
    """Turn an integer into a seed, in the range that every generator takes, 0 to 2**32 - 1."""
    return integer(value, argument, 0, 2**32 - 1)


def tensor(value: object, argument: str) -> None:
    """Check that a value is a tensor, and not an array or a list that torch would not take."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{argument} must be a tensor, got {type(value).__name__}; use "
            f"torch.as_tensor({argument}, dtype=torch.float32)"
        )


def precision(value: object, argument: str) -> torch.dtype:
    """Check that a value is a precision in which circuits are simulated.

    Args:
        value: What the user gave.
        argument: The argument's name, for the message.

    Returns:
        The value.

    Raises:
        TypeError: If it is no dtype.
        ValueError: If it is another one.
    """
    if not isinstance(value, torch.dtype):
        raise TypeError(f"{argument} must be a torch.dtype, got {type(value).__name__} {value!r}")
    if value not in (torch.float32, torch.float64):
        raise ValueError(
            f"{argument} must be torch.float32 or torch.float64, got {value}: circuits compute in "
            "at least float32, whatever the precision around them"
        )
    return value


def choice(value: object, argument: str, allowed: Collection[str]) -> None:
    """Check that a value is one of some strings."""
    if not isinstance(value, str) or value not in allowed:  # what is no string may not be hashable
        near = meant(value, allowed) if isinstance(value, str) else ""
        raise ValueError(f"{argument} must be one of {list(allowed)}, got {value!r}{near}")


def number(
    value: object,
    argument: str,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    maximum: float = math.inf,
) -> None:
    """Check that a value is a finite real number in a range.

    Args:
        value: What the user gave; no bool.
        argument: The argument's name.
        minimum: The smallest value allowed.
        above: All values must be larger than this.
        below: All values must be smaller than this.
        maximum: The largest value allowed.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} must be a number, got {type(value).__name__} {value!r}")
    within = minimum <= float(value) <= maximum and math.isfinite(value)
    if not (within and above < float(value) < below):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in [
                ("at least", minimum),
                ("above", above),
                ("below", below),
                ("at most", maximum),
            ]
            if math.isfinite(bound)
        ]
        raise ValueError(f"{argument} must be {' and '.join(bounds) or 'finite'}, got {value}")
