"""What the command line says while it works: a bar of trainings, a line for anything else."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

__all__ = ["CalmProgressBar", "timed"]

_SECONDS = 0.1


class CalmProgressBar(TQDMProgressBar):
    """Draws ten times a second at most, as nobody reads faster, and the last batch of an epoch.

    To draw with each batch takes about a tenth of an epoch of a small model.
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn = -math.inf

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw, if it is time."""
        if self._is_time(trainer.is_last_batch):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw, if it is time."""
        if self._is_time(batch_idx + 1 == self.total_val_batches_current_dataloader):
            super().on_validation_batch_end(
                trainer, pl_module, outputs, batch, batch_idx, dataloader_idx
            )

    def _is_time(self, last: bool) -> bool:
        now = time.monotonic()
        if not last and now - self._drawn < _SECONDS:
            return False
        self._drawn = now
        return True


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say on stderr what is being done, and then how long it took, in one line.

    Nothing is drawn twice, so that it reads the same in a terminal and in a log file.
    """
    print(f"{what} ... ", end="", file=sys.stderr, flush=True)
    start = time.perf_counter()
    try:
        yield
    finally:
        print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
