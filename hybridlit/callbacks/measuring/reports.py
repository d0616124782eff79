"""What callbacks tell: values at the step they belong to, pictures, and what went wrong.

A picture, a log or a report never ends a training: `training_goes_on` sees to it, for all of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from torch import Tensor

from hybridlit.analysis.pictures.heat_map import Picture
from hybridlit.internals.lightning import log_now
from hybridlit.internals.tensorboard import add_png

__all__ = [
    "boards",
    "last_step",
    "log_largest",
    "log_values",
    "named",
    "show_picture",
    "training_goes_on",
]


@contextmanager
def training_goes_on(what: str | Callable[[Exception], object]) -> Iterator[None]:
    """Turn an error in a block into a warning; Ctrl-C and the like pass.

    Args:
        what: What is left out after an error, for the warning; or what to do with the error.

    Yields:
        Nothing.
    """
    try:
        yield
    except Exception as error:
        if callable(what):
            what(error)
        else:
            rank_zero_warn(f"{what} is left out, and training goes on: {named(error)}")


def named(error: Exception) -> str:
    """Return an error in a few words."""
    return f"{type(error).__name__}: {error}"


def boards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Return the TensorBoard loggers of a run."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def last_step(trainer: Trainer) -> int:
    """Return the number of the last optimizer step, from 0: where Lightning logs what it gave.

    What stands at a later step is hidden when a run is resumed from behind that step.
    """
    return max(trainer.global_step - 1, 0)


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
    with training_goes_on(f"what loggers get of {', '.join(values)}"):
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
