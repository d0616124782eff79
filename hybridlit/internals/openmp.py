"""The threads that torch's own operations run on. Seen in torch 2.12 to 2.14 on Linux.

They wait for a while before they sleep, so that a second set of threads beside them would find the
processor taken. torch has no way in for other machine code, but the runtime that it is linked with
(libgomp, or one of LLVM or Intel with the same entry) does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["parallel_regions"]

_core: Any = torch._C


def parallel_regions() -> Callable[[int, int, int, int], object] | None:
    """Return the function that runs machine code on torch's threads; None where there is none.

    It takes the address of a function of one pointer, that pointer, how many threads are to call
    the function at once, this one among them, and 0; there may be fewer. It returns when all have,
    and gives the GIL away. In a process that was forked it may wait for threads of the parent for
    ever. If this goes: threads of Python, each of which calls the function.
    """
    try:
        # What a library needs is looked through as well, so this is the runtime torch is linked to.
        found: Any = ctypes.CDLL(_core.__file__).GOMP_parallel
    except (OSError, AttributeError):
        return None
    found.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    found.restype = None
    called: Callable[[int, int, int, int], object] = found
    return called
