"""What callbacks give to loggers: values at the step they belong to, and pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor

from hybridlit.analysis.pictures.heat_map import Picture
from hybridlit.internals.lightning import log_now
from hybridlit.internals.tensorboard import add_png

__all__ = ["boards", "log_largest", "log_values", "show_picture"]


def boards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Return the TensorBoard loggers of a run."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def log_values(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Log values of this moment, to all loggers and for callbacks that monitor one of them.

    Like Lightning's own `LearningRateMonitor`, past `LightningModule.log`: that keeps sums for
    means over an epoch, which such values do not need, and takes several times as long. So they
    stand at the number of batches that stepped, also where a model logs a `step` of its own, and in
    tables in rows of their own, with the epoch.

    Args:
        trainer: The Trainer in a training epoch, or in a validation amid or behind one.
        values: Numbers by key, at least one, the same in all processes.
    """
    tensors = torch.tensor(list(values.values()), device=trainer.strategy.root_device).unbind()
    latest = dict(zip(values, tensors, strict=True))
    trainer.callback_metrics.update(latest)
    log_now(trainer, latest)


def log_largest(model: LightningModule, values: Mapping[str, float | Tensor]) -> None:
    """Log values once at the end of the epoch: the largest of it and of all processes."""
    model.log_dict(dict(values), on_step=False, on_epoch=True, reduce_fx="max", sync_dist=True)


def show_picture(board: TensorBoardLogger, tag: str, picture: Picture, step: int) -> None:
    """Show a picture, of shape (height, width, 3), in TensorBoard.

    As `SummaryWriter.add_image` does, in a half to two thirds of the time: that turns pixels into
    floats and back, and compresses harder, by a tenth to a third, than a training run should wait
    for.
    """
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG", compress_level=1)
    add_png(board, tag, png.getvalue(), (picture.shape[1], picture.shape[0]), step)
