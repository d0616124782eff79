"""Curves of a federation in TensorBoard: a run for each client, and one for the centre."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger

__all__ = ["Curves"]


class Curves:
    """Writes scores by round into `<folder>/centre` and `<folder>/<client>`.

    All have the same tags, so that TensorBoard shows clients and centre in one chart.

    Args:
        folder: The folder of the run; None: nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._boards: dict[str, TensorBoardLogger] = {}

    def write(self, whose: str, scores: Mapping[str, float], number: int) -> None:
        """Write the scores of the centre or a client after a round."""
        if self._folder is None or not scores:
            return
        if whose not in self._boards:
            self._boards[whose] = TensorBoardLogger(self._folder, name="", version=whose)
        self._boards[whose].log_metrics(dict(scores), number)

    def close(self) -> None:
        """Bring everything to the disk."""
        for board in self._boards.values():
            board.finalize("success")
