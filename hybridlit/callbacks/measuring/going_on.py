"""A picture, a log or a report never ends a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_warn

__all__ = ["training_goes_on"]


@contextmanager
def training_goes_on(what: str) -> Iterator[None]:
    """Turn an error in a block into a warning; Ctrl-C and the like pass.

    Args:
        what: What is left out after an error, for the warning.

    Yields:
        Nothing.
    """
    try:
        yield
    except Exception as error:
        rank_zero_warn(f"{what} is left out, and training goes on: {type(error).__name__}: {error}")
