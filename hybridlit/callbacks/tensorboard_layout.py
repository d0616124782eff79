"""What TensorBoard shows first: curves in groups, and a table of runs with their scores."""

from __future__ import annotations

import math
import re
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.trainer.states import TrainerFn

from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.reports import boards, training_goes_on

__all__ = ["TensorBoardLayout"]

_LOSS = LogKey.LOSS("val")

_STAGES = ("train", "val")
_OF_A_STAGE = f"({'|'.join(_STAGES)})/"


class TensorBoardLayout(Callback):
    """Arrange what TensorBoard shows: its pages Custom Scalars and HParams.

    Custom Scalars puts curves into the groups Loss, Score, Balance, Overfitting, Precision and
    Profile. A chart is there if the run logs something for it.

    HParams compares runs: arguments of model and data, and at the end of training, as
    `hp/<metric>`, the validation loss and metrics of the epoch with the lowest `val/loss`, or
    without validation the last training ones. (Tags of their own, so that curves get no point
    more.) Test results are left out on purpose: whoever chooses a model by them has no test left.

    Nothing is written without a `TensorBoardLogger`, which should be made with
    `default_hp_metric=False`, since it writes `hp_metric` = -1 otherwise.
    """

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self._drawn: set[str] = set()
        self._tags: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run; one that is resumed brings its best scores afterwards."""
        if stage == "fit":
            self._best, self._drawn, self._tags = {}, set(), set()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the scores of the best epoch."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        with training_goes_on("what TensorBoardLayout keeps of this epoch"):
            scores = _scores(trainer, "val/")
            best = self._best.get(_LOSS, math.nan)
            if _LOSS in scores and (scores[_LOSS] < best or math.isnan(best)):
                self._best = scores

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out the charts of what has been logged so far, if there are new ones."""
        with training_goes_on("TensorBoardLayout's page Custom Scalars"):
            self._lay_out(trainer)

    def _lay_out(self, trainer: Trainer) -> None:
        found = boards(trainer)
        if not found or not trainer.is_global_zero:
            return
        tags = set(trainer.callback_metrics)
        if any(isinstance(callback, LearningRateMonitor) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            tags.add("lr-")
        if tags <= self._tags:
            return
        self._tags = tags
        layout = charts(tags)
        drawn = {pattern for group in layout.values() for pattern in group.values()}
        if drawn - self._drawn:
            self._drawn |= drawn
            shown = {
                group: {title: ["Multiline", [tag]] for title, tag in members.items()}
                for group, members in layout.items()
            }
            for board in found:
                board.experiment.add_custom_scalars(shown)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out what callbacks behind this one logged last; write hyperparameters and scores."""
        with training_goes_on("TensorBoardLayout's page Custom Scalars"):
            self._lay_out(trainer)
        with training_goes_on("TensorBoardLayout's page HParams"):
            self._write_hyperparameters(trainer, pl_module)

    def _write_hyperparameters(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        scores = self._best or _scores(trainer, "val/") or _scores(trainer, "train/")
        metrics = {LogKey.SCORE(name.replace("/", "_")): score for name, score in scores.items()}
        if metrics:
            data = _arguments(getattr(trainer, "datamodule", None))
            arguments = _arguments(pl_module) | {f"data/{name}": data[name] for name in data}
            for board in boards(trainer):
                board.log_hyperparams(arguments, metrics, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Return the scores of the best epoch so far."""
        return {"best": dict(self._best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the scores of the best epoch of the run that is resumed."""
        self._best = dict(state_dict["best"])


def charts(tags: set[str]) -> dict[str, dict[str, str]]:
    """Choose the charts that something was logged for, from tags.

    Returns:
        A regular expression of tags, as TensorBoard matches them, by title of the chart, by group.

    Example:
        >>> charts({"train/loss", "val/acc"})
        {'Loss': {'loss': '(train|val)/loss$'}, 'Score': {'acc': '(train|val)/acc$'}}
    """
    groups = {
        "Loss": {"loss": rf"{_OF_A_STAGE}loss$", "learning rates": r"lr-"},
        "Score": {name: rf"{_OF_A_STAGE}{re.escape(name)}$" for name in _metrics(tags)},
    }
    keys: dict[tuple[str, str], list[LogKey]] = {}
    for key in LogKey:
        if key.chart is not None:
            keys.setdefault(key.chart, []).append(key)
    for (group, title), shown in keys.items():
        patterns = "|".join(key.pattern for key in shown)
        groups.setdefault(group, {})[title] = f"({patterns})$"
    found = {
        group: {
            title: pattern
            for title, pattern in members.items()
            if any(re.match(pattern, tag) for tag in tags)
        }
        for group, members in groups.items()
    }
    return {group: members for group, members in found.items() if members}


def _metrics(tags: set[str]) -> list[str]:
    """Return the metrics of a template: what else it logs has charts of its own."""
    charted = {key.value for key in LogKey if key.chart} | {LogKey.LOSS(s) for s in _STAGES}
    matches = (re.fullmatch(rf"{_OF_A_STAGE}([^/]+)", tag) for tag in tags - charted)
    return sorted({match[2] for match in matches if match})


def _scores(trainer: Trainer, prefix: str) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
    }


def _arguments(module: LightningModule | LightningDataModule | None) -> dict[str, Any]:
    if module is None:
        return {}
    given = {name: value for name, value in module.hparams.items() if not name.startswith("_")}
    # flags as words: the table would show 0.0000 and 1.0000
    return {n: str(value) if isinstance(value, bool) else value for n, value in given.items()}
