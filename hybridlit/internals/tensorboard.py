"""What hybridlit uses of TensorBoard that is not documented. Seen in 2.21, torch 2.13 and 2.14."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import hparams

__all__ = ["add_hyperparameters", "add_png", "read_log"]


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


def read_log(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, list[str]]]:
    """Read what a run has logged in a folder, if anything.

    TensorBoard reads event files itself, and documents nothing to read them by; what a run that was
    resumed has hidden is hidden here too. If it goes: the log is taken to be empty.

    Args:
        folder: The folder of the run.

    Returns:
        Scalars, as steps and values, and texts, both by tag and in order.
    """
    # as much again as what writes events, for the few who read any
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 1, "histograms": 1}
    ).Reload()
    tags = files.Tags()
    scalars = {tag: [(e.step, e.value) for e in files.Scalars(tag)] for tag in tags["scalars"]}
    texts = {
        tag.removesuffix(_TEXT): [
            each.decode("utf-8", "replace")
            for event in files.Tensors(tag)
            for each in event.tensor_proto.string_val
        ]
        for tag in tags["tensors"]
        if tag.endswith(_TEXT)
    }
    return scalars, texts


_TEXT = "/text_summary"
"""What torch adds to the tag of a text."""
