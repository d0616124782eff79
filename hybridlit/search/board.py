"""Trials in TensorBoard: a line each in the table HParams, with the curve of its loss."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger

from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.reports import training_goes_on
from hybridlit.internals.tensorboard import add_hyperparameters
from hybridlit.search.outcomes import Outcome
from hybridlit.search.settings import ARMS
from hybridlit.search.storage import folder_of

__all__ = ["log_trial"]

_COSTS = ("parameters", "photonic_parameters", "states", "peak_bytes")


def log_trial(study: str, trial: Outcome) -> None:
    """Write a trial that was trained as a run of TensorBoard, in `runs/search/<study>/trials`.

    The table shows its changes and, as `hp/<name>`, its validation score, costs and duration; its
    validation loss is a curve. Several workers may write: a run is there as a whole or not at all,
    and once. What cannot be written is a warning.

    Args:
        study: Name of the study.
        trial: The trial; one that was refused or failed has no run.
    """
    folder, name = folder_of(study) / "trials", f"{trial.number:04}-{trial.arm}"
    if trial.outcome in ("complete", "pruned") and not (folder / name).exists():
        with training_goes_on("what TensorBoard shows of this trial"):
            _write(folder, name, trial)


def _write(folder: Path, name: str, trial: Outcome) -> None:
    writing = f".{name}.{id(trial):x}"
    board = TensorBoardLogger(folder, name=None, version=writing, default_hp_metric=False)
    for epoch, loss in enumerate(trial.history):
        board.experiment.add_scalar(LogKey.LOSS("val"), loss, epoch)
    changes = trial.changes.items()
    arguments = {name: _plain(value) for name, value in changes if name not in ARMS[trial.arm]}
    add_hyperparameters(board, {"arm": trial.arm, "outcome": trial.outcome, **arguments})
    measured = {trial.metric: trial.score, "seconds": trial.seconds}
    measured |= {cost: trial.cost.get(cost) for cost in _COSTS}
    for key, value in measured.items():
        if value is not None:
            board.experiment.add_scalar(LogKey.SCORE(key), value, 0)
    board.experiment.close()
    with suppress(OSError):  # another worker was first
        (folder / writing).rename(folder / name)
    shutil.rmtree(folder / writing, ignore_errors=True)


def _plain(value: object) -> str | float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return str(value)  # flags as words: the table would show 0.0000 and 1.0000
