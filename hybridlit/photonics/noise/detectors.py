r"""What detectors show of the photons that reach them.

A detector of k wires absorbs each photon in one of its wires at random, and a wire shows one photon
at most. With n photons it shows c with probability

.. math:: p(c | n) = p(c - 1 | n - 1) (k - c + 1) / k + p(c | n - 1)\, c / k

(Perceval's `Detector`). One wire makes a threshold detector, ever more wires one that resolves
photon numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["detectors_of", "shown", "wires"]

_NAMES_OF = {None: "pnr", 1: "threshold"}
_NAMES = "'pnr', 'threshold' or 'ppnr:k' with a number of wires k"


def detectors_of(given: str | Sequence[str] | None, modes: int) -> tuple[str, ...] | None:
    """Return the detector of each mode, by name.

    Args:
        given: One for all modes, or one for each: `"pnr"` resolves photon numbers, `"threshold"`
            tells some photons from none, `"ppnr:4"` has four wires that each do. None: `"pnr"`.
        modes: Number of modes.

    Returns:
        One name a mode; None where all resolve photon numbers.

    Raises:
        TypeError: If it is neither a name nor a list of names.
        ValueError: If a name is unknown, or there are more or fewer than modes.
    """
    if given is None:
        return None
    if isinstance(given, str):
        names: tuple[str, ...] = (given,) * modes
    elif isinstance(given, Sequence):
        names = tuple(given)
    else:
        raise TypeError(
            f"detectors must be {_NAMES}, or one for each mode, got {type(given).__name__}"
        )
    if len(names) != modes:
        raise ValueError(f"detectors must be one, or one for each of {modes} modes, got {given!r}")
    names = tuple(_NAMES_OF.get(count := wires(name), f"ppnr:{count}") for name in names)
    return None if set(names) == {"pnr"} else names


def wires(name: str) -> int | None:
    """Return the number of wires of a detector; None if it resolves photon numbers.

    Args:
        name: `"pnr"`, `"threshold"` or `"ppnr:k"`.

    Raises:
        TypeError: If it is no string.
        ValueError: If it is another one.
    """
    if not isinstance(name, str):
        raise TypeError(f"a detector must be {_NAMES}, got {type(name).__name__} {name!r}")
    if name == "pnr":
        return None
    if name == "threshold":
        return 1
    kind, _, number = name.partition(":")
    if kind != "ppnr" or not re.fullmatch(r"0*[1-9][0-9]{0,8}", number):
        raise ValueError(f"a detector must be {_NAMES}, got {name!r}")
    return int(number)


@lru_cache(maxsize=256)
def shown(name: str, most: int) -> npt.NDArray[np.float64]:
    """Return with which probability a detector shows each number of photons.

    Args:
        name: The detector.
        most: Photons that reach it at most.

    Returns:
        Entry (c, n): to show c photons of n, shape (most + 1, most + 1).
    """
    count = wires(name)
    if count is None:
        return np.eye(most + 1)
    table = np.zeros((most + 1, most + 1))
    table[0, 0] = 1.0
    for photons in range(1, most + 1):
        for clicks in range(min(photons, count) + 1):
            table[clicks, photons] = table[clicks, photons - 1] * clicks / count
            if clicks:
                another = (count - clicks + 1) / count
                table[clicks, photons] += table[clicks - 1, photons - 1] * another
    return table
