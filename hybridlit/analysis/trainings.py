"""Trainings of which only the best weights count, by a validation loss."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor

from hybridlit.analysis.silence import lightning_silenced

__all__ = ["BestWeights", "Training", "fit_to_the_best"]


class Training(NamedTuple):
    """What a training took, and where it is monitored, that at each validation and at the best.

    Epochs count from 1; what is monitored is infinite where it was not finite.
    """

    seconds: float
    epochs: int
    best_epoch: int | None = None
    lowest: float = math.inf
    history: tuple[float, ...] = ()


class BestWeights(Callback):
    """Keeps a copy of the weights whenever a validation is the best so far.

    Args:
        monitor: What a validation is judged by, less is better.

    Attributes:
        history: The value of each validation, infinite where it was not finite.
        lowest: The least of them.
        epoch: Its epoch, from 1.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor, self.lowest, self.epoch = monitor, math.inf, 0
        self.history: list[float] = []
        self.state: dict[str, Tensor] | None = None
        self.seen: list[str] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what the validation has logged."""
        if trainer.sanity_checking:
            return
        self.seen = sorted(trainer.callback_metrics)
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        self.history.append(value if math.isfinite(value) else math.inf)
        if value < self.lowest:
            self.lowest = value
            self.epoch = trainer.current_epoch + 1
            self.state = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}

    def load_into(self, model: LightningModule) -> None:
        """Give a model the best weights.

        Raises:
            ValueError: If there are none.
        """
        if self.state is None:
            raise ValueError(
                f"monitor={self.monitor!r} never had a finite value in a validation; logged were "
                f"{self.seen}: name one of them, or None to keep the last weights"
            )
        model.load_state_dict(self.state)


def fit_to_the_best(
    trainer: Trainer, model: LightningModule, datamodule: LightningDataModule
) -> Training:
    """Train a model without a word, and load the weights of its best validation.

    Args:
        trainer: The Trainer; with a callback `BestWeights`, or else the last weights are kept.
        model: The model.
        datamodule: Its data.

    Raises:
        KeyboardInterrupt: At Ctrl-C, which Lightning alone would turn into the end of Python.
        ValueError: If the model never logs a finite value of what is monitored.
    """
    with lightning_silenced():
        start = time.perf_counter()
        try:
            trainer.fit(model, datamodule)
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        seconds = time.perf_counter() - start
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    best = next((each for each in callbacks if isinstance(each, BestWeights)), None)
    if best is None:
        return Training(seconds, trainer.current_epoch)
    best.load_into(model)
    found = best.epoch, best.lowest, tuple(best.history)
    return Training(seconds, trainer.current_epoch, *found)
