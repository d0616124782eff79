"""The batches of a validation or a test that a callback looks at: those of the first loader."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["FirstLoader"]


class FirstLoader(Callback):
    """Base class of callbacks that are shown batches of the first loader, in earnest only."""

    @abstractmethod
    def _see(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Look at a batch of a validation, or of a test, and what came of it."""

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a batch."""
        if dataloader_idx == 0 and not trainer.sanity_checking:
            self._see(trainer, pl_module, outputs, batch)

    on_test_batch_end = on_validation_batch_end
