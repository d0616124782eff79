"""What hybridlit uses of numpy that numpy does not document. Seen in numpy 2.4."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
from numpy.random import mtrand

__all__ = ["global_generator_is_at"]


def global_generator_is_at(state: Any) -> bool:
    """Tell whether numpy's generator still is where it was; False if that is not easily told.

    `np.random.get_state` copies its 624 words one by one, which takes ten times as long as a look
    at the memory of the generator: the words, then the position. If that changes: return False.

    Args:
        state: What `np.random.get_state()` has returned.
    """
    kind, words, position, normal_waits, _ = state
    generator = mtrand.get_bit_generator()
    # a normal number that waits can be taken without a move; none can come to wait without one
    if kind != "MT19937" or not isinstance(generator, np.random.MT19937) or normal_waits:
        return False
    there: bytes = words.tobytes() + int(position).to_bytes(4, sys.byteorder)
    return there == ctypes.string_at(generator.ctypes.state_address, len(there))
