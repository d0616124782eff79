"""What a callback does to a model or an optimizer ends with the run, be it by an error."""

from __future__ import annotations

from abc import abstractmethod

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["Undoing"]


class Undoing(Callback):
    """Base class of callbacks that change something for the time of a run."""

    @abstractmethod
    def _undo(self) -> None:
        """Leave all as it was, and hold nothing; it may be called more than once."""

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Undo it, before a checkpoint is saved."""
        self._undo()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Undo it."""
        self._undo()
