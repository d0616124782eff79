"""What hybridlit uses of TensorBoard that is not documented. Seen in 2.21, torch 2.13 and 2.14."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import hparams

__all__ = ["add_hyperparameters", "add_png"]


def add_png(
    board: TensorBoardLogger, tag: str, png: bytes, size: tuple[int, int], step: int
) -> None:
    """Show a picture that is compressed already.

    `SummaryWriter.add_image` takes pixels alone, and compresses them harder than a training run
    should wait for. If it goes: that function.

    Args:
        board: The logger.
        tag: The picture's name.
        png: A PNG file with three channels.
        size: Its width and height.
        step: The step it belongs to.
    """
    width, height = size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    board.experiment._get_file_writer().add_summary(summary, step)


def add_hyperparameters(board: TensorBoardLogger, arguments: Mapping[str, str | float]) -> None:
    """Give a run a line in the table HParams.

    `TensorBoardLogger.log_hyperparams` says besides which columns the table has: of all runs, those
    of the first that is found. Where no run says so, TensorBoard takes the arguments of all runs,
    those first that differ, and all scalars, by name. If this goes: that function.

    Args:
        board: The logger.
        arguments: Values by name.
    """
    _, start, end = hparams(dict(arguments), {})
    for summary in (start, end):
        board.experiment._get_file_writer().add_summary(summary)
