"""Imports without a search for garbage, of which they leave none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unsearched"]


@contextmanager
def unsearched(own_process: bool) -> Iterator[None]:
    """Leave out Python's search for cyclic garbage while modules are imported.

    What a module defines stays until the process ends, and each search goes through all of it:
    together that is a large part of the time that Lightning takes to import.

    Args:
        own_process: Nobody else uses this process: later searches leave out what is there by then.
    """
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if own_process:
            gc.freeze()
        if searched:
            gc.enable()
