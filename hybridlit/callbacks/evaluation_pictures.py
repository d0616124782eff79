"""Pictures of how well a model predicts, while it trains and when it is tested."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit.analysis.pictures.evaluation_pictures import evaluation_pictures, pictures_of_chip
from hybridlit.analysis.pictures.style import pixels
from hybridlit.argument_types import checked
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.first_loader import FirstLoader
from hybridlit.callbacks.measuring.reports import boards, last_step, show_picture, training_goes_on
from hybridlit.checks import integer
from hybridlit.templates import HybridModule
from hybridlit.undisturbed import undisturbed

__all__ = ["EvaluationPictures"]

_STAGES = {"val": "validation", "test": "test"}


class EvaluationPictures(FirstLoader):
    """Show how well the model predicts: what it confuses, and how far its probabilities go.

    Of every test, every `Trainer.validate`, and of the validations of a training that are asked
    for, TensorBoard gets pictures as `Score/<picture>_<stage>`, with the names of classes and
    units of targets:

    - `confusion`: rows of each class, and what was predicted for them; of several yes or no labels,
      how often each was found, missed, and said in vain;
    - `roc`: true against false positive rates, a curve and its area for each class;
    - `reliability`: probabilities against frequencies, with the expected calibration error;
    - `predicted`: predicted against true values, for real ones;
    - `heaters`, `crosstalk`, `splitters`, `losses`, `learned`: what a `ChipTwin` has found of its
      chip, beside the design.

    They are of what the validation or test loop computes anyway, of its first loader; of several
    processes, of the rows of the first. Training is bit for bit the same with and without this
    callback, also where something cannot be drawn: a warning says so, and training goes on. Needs
    matplotlib (`hybridlit[plot]`), and shows nothing without a `TensorBoardLogger`.

    Args:
        every_n_epochs: Show the validations of epochs 0, n, 2n, ... and the last, at least 1; None:
            none of a training.
        max_rows: Rows shown at most, at least 1, the first ones; the pictures say how many there
            are.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> pictures = EvaluationPictures(every_n_epochs=10)
        >>> trainer = Trainer(accelerator="cpu", callbacks=[pictures])
        >>> pictures.every_n_epochs, pictures.max_rows
        (10, 10000)
    """

    @checked
    def __init__(self, every_n_epochs: int | None = None, max_rows: int = 10_000) -> None:
        self.every_n_epochs = every_n_epochs
        if every_n_epochs is not None:
            integer(every_n_epochs, "every_n_epochs", 1)
        self.max_rows = integer(max_rows, "max_rows", 1)
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._rows = 0
        self._waiting = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say so if nothing can be shown."""
        self._forget()
        if not isinstance(pl_module, HybridModule):
            rank_zero_warn(
                f"EvaluationPictures shows nothing: {type(pl_module).__name__} is no HybridModule, "
                "so that what it predicts is not known"
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the validation before."""
        self._forget()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the validation before."""
        self._forget()

    def _see(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Keep what was predicted for a batch."""
        if self._shows_any(trainer):
            self._keep(trainer, outputs)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show this validation, if it was chosen; it may also turn out to be the last."""
        epoch, fitting = trainer.current_epoch, trainer.state.fn == TrainerFn.FITTING
        self._waiting = f"epoch {epoch}" if fitting else ""
        if not fitting or (self.every_n_epochs and epoch % self.every_n_epochs == 0):
            self._show(trainer, pl_module, "val")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last validation, if it was not shown, and let go of it."""
        self._show(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the test."""
        self._show(trainer, pl_module, "test")

    def _shows_any(self, trainer: Trainer) -> bool:
        return self.every_n_epochs is not None or trainer.state.fn != TrainerFn.FITTING

    def _forget(self) -> None:
        self._kept, self._rows, self._waiting = [], 0, ""

    def _keep(self, trainer: Trainer, outputs: Any) -> None:
        if not boards(trainer) or not trainer.is_global_zero or not isinstance(outputs, dict):
            return
        with training_goes_on("a batch in EvaluationPictures"):
            predictions, targets = outputs["predictions"], outputs["targets"]
            room = max(self.max_rows - self._rows, 0)
            self._rows += len(predictions)
            if room:  # copies: whoever yields a batch may use its memory again
                kept = predictions.detach()[:room].clone(), targets.detach()[:room].clone()
                self._kept.append(kept)

    def _show(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        kept, total, when = self._kept, self._rows, self._waiting
        self._forget()
        if not kept or not isinstance(pl_module, HybridModule):
            return
        with training_goes_on("EvaluationPictures"), undisturbed():
            predictions, targets = (torch.cat(each).cpu() for each in zip(*kept, strict=True))
            shown = f"of {total:,} " if len(predictions) < total else ""
            rows = f"{shown}{_STAGES[stage]} rows" + (f", {when}" if when else "")
            if trainer.world_size > 1:
                rows += f", the first of {trainer.world_size} processes"
            pictures = evaluation_pictures(pl_module, predictions, targets, rows)
            for picture in [*pictures, *pictures_of_chip(pl_module)]:
                with training_goes_on(f"the picture {picture.name} of EvaluationPictures"):
                    drawn = pixels(picture.draw())
                    for board in boards(trainer):
                        tag = LogKey.EVALUATION(picture.name, stage)
                        show_picture(board, tag, drawn, last_step(trainer))
