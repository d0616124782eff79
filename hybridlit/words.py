"""Numbers and tables for people, in messages, reports and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from difflib import get_close_matches

__all__ = [
    "aligned",
    "bytes_in",
    "in_bytes",
    "in_digits",
    "in_seconds",
    "meant",
    "piped",
    "plural",
    "quoted",
    "written",
]


def in_digits(number: int) -> str:
    """Return a count: all digits, or three of them and an exponent."""
    return f"{number:,}" if number < 10**12 else f"{Decimal(number):.3g}"


def in_bytes(number: int) -> str:
    """Return a number of bytes: three digits and a unit, such as 1.25 GiB."""
    value, unit = Decimal(number), 0  # states of hundreds of photons are beyond a float
    while value >= 1024 and unit < 5:
        value, unit = value / 1024, unit + 1
    digits = 4 if 1000 <= value < 1024 else 3  # of which three would need an exponent
    return f"{value:.{digits}g} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"


def bytes_in(text: str) -> int | None:
    """Return the bytes of a text such as 2GiB or 500 MB, or None if it is none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if not found or (found[3] and not found[2]) or not float(found[1]):
        return None
    unit = (1024 if found[3] else 1000) ** ("kmgt".index(found[2]) + 1 if found[2] else 0)
    return int(float(found[1]) * unit)


def in_seconds(value: float) -> str:
    """Return a time: three digits and a unit, such as 1.25 ms."""
    for factor, unit in [(1.0, "s"), (1e3, "ms"), (1e6, "us")]:
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.2g} us"


def written(value: float, form: str) -> str:
    """Return a number as `format` writes it, such as +0.012; what rounds to 0 has no minus."""
    text = format(value, form)
    return format(0.0, form) if float(text) == 0 else text


def plural(number: int, word: str) -> str:
    """Return a count and what is counted, such as 1 photon or 1,024 states."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def meant(name: str, known: Iterable[str]) -> str:
    """Return a question for the nearest of the known names, if one is near; else nothing."""
    found = get_close_matches(name, list(known), 1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def piped(head: Sequence[str], rows: Iterable[Sequence[str]], left: int | None = None) -> str:
    """Return a table in Markdown; columns from `left` on are flush right."""
    marks = ["---" if left is None or index < left else "---:" for index in range(len(head))]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, marks, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]], left: int | None = None) -> str:
    """Return a table for a terminal; columns from `left` on are flush right."""
    columns = []
    for index, cells in enumerate(zip(head, *rows, strict=True)):
        width = max(map(len, cells))
        flush = str.ljust if left is None or index < left else str.rjust
        columns.append([flush(cell, width) for cell in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def quoted(names: Iterable[str], most: int = 6, quote: bool = True) -> str:
    """Return names in a row, such as 'a', 'b' and 7 more."""
    every = [repr(name) if quote else name for name in names]
    more = [f"{len(every) - most + 1} more"] if len(every) > most else []
    shown = every[: most - 1] + more if more else every
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
