"""Numbers for people, in messages, reports and pictures."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["in_bytes", "in_digits", "plural"]


def in_digits(number: int) -> str:
    """Return a count: all digits, or three of them and an exponent."""
    return f"{number:,}" if number < 10**12 else f"{Decimal(number):.3g}"


def in_bytes(number: int) -> str:
    """Return a number of bytes: three digits and a unit, such as 1.25 GiB."""
    value, unit = Decimal(number), 0  # states of hundreds of photons are beyond a float
    while value >= 1024 and unit < 5:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"


def plural(number: int, word: str) -> str:
    """Return a count and what is counted, such as 1 photon or 1,024 states."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
