"""Trainings inside of an analysis say nothing."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["lightning_silenced"]


@contextmanager
def lightning_silenced() -> Iterator[None]:
    """Keep Lightning's messages, a dozen lines a run, and all warnings from burying the progress.

    Yields:
        Nothing.
    """
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
