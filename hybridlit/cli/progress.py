"""What the command line says while it works: a bar of trainings in a terminal, lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

__all__ = ["CalmProgressBar", "ProgressLines", "progress_shown", "timed"]

_SECONDS = 0.1
_SECONDS_OF_LINES = 30.0


def progress_shown() -> ProgressBar:
    """Return a bar, or lines where standard output is no terminal, which would keep every bar."""
    return CalmProgressBar() if sys.stdout.isatty() else ProgressLines()


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


class ProgressLines(ProgressBar):
    """Writes how far training is, as in the log of a cluster's job: a line now and then.

    At the end of the first epoch and of the last one, and every half a minute between, be it amid
    an epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._began = self._written = 0.0
        self._waits: str | None = None

    def disable(self) -> None:
        """Write nothing more."""
        self._enabled = False

    def enable(self) -> None:
        """Write again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count the time."""
        self._began, self._written, self._waits = time.monotonic(), -math.inf, None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write, if it is time, and the epoch has not ended."""
        since = time.monotonic() - max(self._began, self._written)
        if self._enabled and since >= _SECONDS_OF_LINES and not trainer.is_last_batch:
            total = trainer.num_training_batches
            of = f" of {total}" if math.isfinite(total) else ""
            self._write(self._line(trainer, pl_module, f", batch {batch_idx + 1}{of}"))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, if it is time, or keep the line, as it may be the last."""
        if self._enabled:
            self._waits = self._line(trainer, pl_module)
            if time.monotonic() - self._written >= _SECONDS_OF_LINES:
                self._write(self._waits)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last line, unless that has been done."""
        if self._waits is not None:
            self._write(self._waits)

    def _line(self, trainer: Trainer, pl_module: LightningModule, where: str = "") -> str:
        after = timedelta(seconds=round(time.monotonic() - self._began))
        values = [
            f"{name} {value:.4g}"
            for name, value in self.get_metrics(trainer, pl_module).items()
            if isinstance(value, float)  # not the number of the run
        ]
        return ", ".join([f"Epoch {trainer.current_epoch}{where}, after {after}", *values])

    def _write(self, line: str) -> None:
        print(line, flush=True)
        self._written, self._waits = time.monotonic(), None


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
