"""What TensorBoard shows first: curves in groups, and a table of runs with their scores."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from hybridlit.analysis.pictures.style import pixels
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.constant_answer import ConstantAnswer
from hybridlit.callbacks.measuring.first_loader import FirstLoader
from hybridlit.callbacks.measuring.history import History
from hybridlit.callbacks.measuring.reports import boards, last_step, show_picture, training_goes_on
from hybridlit.internals.tensorboard import add_hyperparameters
from hybridlit.templates import HybridModule

__all__ = ["TensorBoardLayout"]

_LOSS = LogKey.LOSS("val")

_WATCHED = {LogKey.RATIO_SMOOTH(), LogKey.PROBE_VAL()}
"""Some of these is logged by a run whose gradients or whose overfitting are watched."""

_STORY = ("curves", "gradients", "overfitting")
"""Pictures that tell how a run went; its losses stand beside them."""

_STAGES = ("train", "val")
_OF_A_STAGE = f"({'|'.join(_STAGES)})/"
_OF_ANY = f"({'|'.join((*_STAGES, 'test'))})/"


class TensorBoardLayout(FirstLoader):
    """Arrange what TensorBoard shows: what stands first, and its pages Custom Scalars and HParams.

    The first page of TensorBoard sorts by key and opens the first two groups. Losses of training
    and validation, and all metrics, stand there once more, as `Loss/<stage>` and
    `Score/<metric>_<stage>`: capitals come first. `val/loss` and its like are as they were. The
    stage `constant` is what the best constant answer scores on the validation rows, where one
    process trains.

    Where a run was watched by `GradientImbalanceMonitor` or `OverfittingDetector`, its story stands
    before them when training ends, as pictures `In short/<picture>`: the score against that of a
    constant answer, the balance of gradients, what each part did to the validation loss; and in
    words, with what was found, as the text `In short`. They need matplotlib (`hybridlit[plot]`).

    When training ends, those of the epoch with the lowest `val/loss` stand there as of the stage
    `best`, and as `hp/<metric>`: tags of their own, so that curves get no point more. Without
    validation these are the last training ones. A test by the same Trainer adds its own.

    HParams compares runs by the arguments of model and data, and begins with those that differ; of
    the scores with those that come first by name, hence the best, the last and those of the test.
    Whoever chooses a model by its test scores has no test left.

    Custom Scalars puts curves into the groups Loss, Score, Balance, Overfitting, Precision and
    Profile. A chart is there if the run logs something for it.

    Nothing is written without a `TensorBoardLogger`, which should be made with
    `default_hp_metric=False`, since it writes `hp_metric` = -1 otherwise.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from lightning.pytorch.loggers import TensorBoardLogger
        >>> logger = TensorBoardLogger("runs", default_hp_metric=False)
        >>> trainer = Trainer(logger=logger, accelerator="cpu", callbacks=[TensorBoardLayout()])
        >>> "TensorBoardLayout" in [type(each).__name__ for each in trainer.callbacks]
        True
    """

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self._drawn: set[str] = set()
        self._tags: set[str] = set()
        self._in_table = self._watched = False
        self._constant = ConstantAnswer()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run; one that is resumed brings its best scores afterwards."""
        if stage == "fit":
            self._best, self._drawn, self._tags = {}, set(), set()
            self._in_table = self._watched = False
            self._constant = ConstantAnswer()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the targets of the first epoch."""
        self._keep(trainer, pl_module, "train", batch)

    def _see(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Keep the targets of the first validation."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._keep(trainer, pl_module, "val", batch)

    def _keep(self, trainer: Trainer, model: LightningModule, stage: str, batch: Any) -> None:
        if self._constant.scores is None and boards(trainer) and trainer.world_size == 1:
            with training_goes_on("what a constant answer scores"):
                self._constant.see(stage, model, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the scores of the best epoch."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        with training_goes_on("what TensorBoardLayout keeps of this epoch"):
            scores = _scores(trainer, "val")
            best = self._best.get(_LOSS, math.nan)
            if _LOSS in scores and (scores[_LOSS] < best or math.isnan(best)):
                self._best = scores
            _show_first(trainer, scores)
        with training_goes_on("what a constant answer scores"):
            constant = self._constant.score(pl_module)
            _show_first(trainer, {f"constant/{name}": value for name, value in constant.items()})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores, and lay out the charts of what has been logged, if some are new."""
        self._constant.end_epoch()
        with training_goes_on("what TensorBoardLayout shows of this epoch"):
            _show_first(trainer, _scores(trainer, "train"))
        with training_goes_on("TensorBoardLayout's page Custom Scalars"):
            self._lay_out(trainer)

    def _lay_out(self, trainer: Trainer) -> None:
        found, tags = boards(trainer), set(trainer.callback_metrics)
        if not found or not trainer.is_global_zero:
            return
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
        self._watched = bool(_WATCHED & trainer.callback_metrics.keys())
        with training_goes_on("the story of this run in TensorBoard"):
            for board, history in _histories(trainer, pl_module) if self._watched else ():
                words = "\n".join(f"- {sentence}" for sentence in history.words())
                board.experiment.add_text(LogKey.IN_SHORT(), words, last_step(trainer))
                _draw(board, history, _STORY, last_step(trainer))

    def _write_hyperparameters(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        scores = self._best or _scores(trainer, "val") or _scores(trainer, "train")
        if not scores:
            return
        arguments = _arguments(pl_module)
        datamodule: LightningDataModule | None = getattr(trainer, "datamodule", None)
        if datamodule is not None:
            of_data = _arguments(datamodule)
            arguments |= {f"data/{name}": value for name, value in of_data.items()}
        for board in boards(trainer):
            add_hyperparameters(board, arguments)
        _show_first(trainer, {f"best/{name.partition('/')[2]}": v for name, v in scores.items()})
        self._log_table(trainer, scores)
        self._in_table = True

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the scores of a test to what is shown first and, after a training, to the table."""
        with training_goes_on("what TensorBoardLayout shows of this test"):
            scores = _scores(trainer, "test")
            _show_first(trainer, scores)
            if self._in_table:
                self._log_table(trainer, scores)
        with training_goes_on("the story of this run in TensorBoard"):
            for board, history in _histories(trainer, pl_module) if self._watched else ():
                # with the score of the test, a step later, since boards show one picture a step
                _draw(board, history, ["curves"], trainer.global_step)

    def _log_table(self, trainer: Trainer, scores: dict[str, float]) -> None:
        for board in boards(trainer):
            named = {LogKey.SCORE(name.replace("/", "_")): v for name, v in scores.items()}
            board.log_metrics(named, trainer.global_step)

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
        >>> charts({"train/loss", "overfit/gap"})
        {'Loss': {'loss': '(train|val)/loss$'}, 'Overfitting': {'gap': '(overfit/gap)$'}}
    """
    groups = {
        "Loss": {"loss": rf"{_OF_A_STAGE}loss$", "learning rates": r"lr-"},
        "Score": {name: _pattern_of_score(name) for name in _metrics(tags)},
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


def _pattern_of_score(name: str) -> str:
    constant = re.escape(LogKey.FIRST_SCORE(name, "constant"))
    return rf"({_OF_A_STAGE}{re.escape(name)}|{constant})$"


def _metrics(tags: set[str]) -> list[str]:
    """Return the metrics of a template: what else it logs has charts of its own."""
    charted = {key.value for key in LogKey if key.chart}
    matches = (re.fullmatch(rf"{_OF_ANY}([^/]+)", tag) for tag in tags - charted)
    return sorted({match[2] for match in matches if match} - {"loss"})


def _scores(trainer: Trainer, stage: str) -> dict[str, float]:
    """Loss and metrics of a stage, of its first loader."""
    known = trainer.callback_metrics
    names = [LogKey.LOSS(stage), *(f"{stage}/{name}" for name in _metrics(set(known)))]
    return {name: float(known[name]) for name in names if name in known}


def _show_first(trainer: Trainer, scores: dict[str, float]) -> None:
    """Log scores of a stage where TensorBoard's first page begins."""
    values = {}
    for key, score in scores.items():
        stage, _, name = key.partition("/")
        if name != "loss":
            values[LogKey.FIRST_SCORE(name, stage)] = score
        elif stage != "test":  # which would come before the curves
            values[LogKey.FIRST_LOSS(stage)] = score
    for board in boards(trainer) if values else ():
        board.log_metrics(values, last_step(trainer))


def _histories(
    trainer: Trainer, model: LightningModule
) -> Iterator[tuple[TensorBoardLogger, History]]:
    """What each board has of this run, where one process writes."""
    metrics = _metrics(set(trainer.callback_metrics))
    if isinstance(model, HybridModule):
        metrics = [*model.build_metrics()]
    for board in boards(trainer) if trainer.is_global_zero else ():
        board.experiment.flush()
        yield board, History.read(Path(board.log_dir), metrics)


def _draw(board: TensorBoardLogger, history: History, names: Sequence[str], step: int) -> None:
    for name, draw in history.pictures().items():
        if name in names:
            show_picture(board, LogKey.STORY(name), pixels(draw()), step)


def _arguments(module: LightningModule | LightningDataModule) -> dict[str, str | float]:
    given = {name: value for name, value in module.hparams.items() if not name.startswith("_")}
    # flags as words: the table would show 0.0000 and 1.0000
    words = {n for n, v in given.items() if isinstance(v, bool) or not isinstance(v, (int, float))}
    return {name: str(value) if name in words else value for name, value in given.items()}
