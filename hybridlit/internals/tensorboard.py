"""What hybridlit uses of TensorBoard that is not documented. Seen in 2.21, torch 2.13 and 2.14."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["add_png"]


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
