"""A picture, a log or a report never ends a training: the one place that sees to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_warn

__all__ = ["named", "training_goes_on"]


@contextmanager
def training_goes_on(what: str | Callable[[Exception], object]) -> Iterator[None]:
    """Turn an error in a block into a warning; Ctrl-C and the like pass.

    Args:
        what: What is left out after an error, for the warning; or what to do with the error.

    Yields:
        Nothing.
    """
    try:
        yield
    except Exception as error:
        if callable(what):
            what(error)
        else:
            rank_zero_warn(f"{what} is left out, and training goes on: {named(error)}")


def named(error: Exception) -> str:
    """Return an error in a few words."""
    return f"{type(error).__name__}: {error}"
