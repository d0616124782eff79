"""Typed decorators for the three kinds of compiled functions, and word of a compilation that lasts.

Numba notices a change of an entry point's own file only: after editing a helper, clear
``__pycache__`` (an installation gets new files, hence new entries, anyway).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def entry_point(function: F) -> F:
    """Compile a function that Python calls: without the GIL, cached on disk."""
    return cast(F, njit(cache=True, nogil=True)(function))


def compiled(function: F) -> F:
    """Compile a function that only compiled functions call, into each of them."""
    return cast(F, njit(nogil=True)(function))


def operation(implementation: Callable[..., Any]) -> Any:
    """Make a numba intrinsic, which compiled functions call with one argument less."""
    return intrinsic(implementation)


@contextmanager
def announced() -> Iterator[None]:
    """Say on standard error what is going on if the block takes more than a second."""

    def say() -> None:
        print(
            "hybridlit: compiling the CPU kernel, once for this installation (some 10 s) ...",
            file=sys.stderr,
            flush=True,
        )

    timer = threading.Timer(1.0, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
