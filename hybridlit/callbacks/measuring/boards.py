"""The loggers that can show pictures and texts."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

__all__ = ["boards"]


def boards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Return the TensorBoard loggers of a run.

    Args:
        trainer: The Trainer.

    Returns:
        Those among its loggers.
    """
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
