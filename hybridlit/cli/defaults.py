"""Callbacks that a run has unless the user has chosen some of their kind, or none."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger

from hybridlit.callbacks.evaluation_pictures import EvaluationPictures
from hybridlit.callbacks.photonic_inspector import PhotonicInspector
from hybridlit.callbacks.tensorboard_layout import TensorBoardLayout
from hybridlit.cli.progress import progress_shown
from hybridlit.cli.summary import ShortSummary
from hybridlit.components import photonic_modules
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.exact_resume import ExactResume

__all__ = ["default_callbacks"]


def default_callbacks(
    verb: str, settings: Namespace, given: Sequence[Callback], logger: Any, model: LightningModule
) -> list[Callback]:
    """Return the callbacks that a run has beside those that it was given.

    Args:
        verb: `"fit"`, or one that has none of training.
        settings: Of the Trainer.
        given: Those of the user.
        logger: Of the run, or several; False: none.
        model: The model.
    """

    def missing(kind: type[Callback]) -> bool:
        return not any(isinstance(callback, kind) for callback in given)

    found: list[Callback] = []
    if settings.enable_progress_bar is not False and missing(ProgressBar):
        found.append(progress_shown())
    if verb != "fit":
        return found
    if settings.enable_model_summary is not False and missing(ModelSummary):
        found.append(ShortSummary())
    if _on_tensorboard(logger) and not settings.fast_dev_run:
        if photonic_modules(model) and missing(PhotonicInspector):
            found.append(PhotonicInspector())
        if find_spec("matplotlib") is not None and missing(EvaluationPictures):
            found.append(EvaluationPictures())
        if missing(TensorBoardLayout):
            found.append(TensorBoardLayout())
    if settings.enable_checkpointing is not False:
        found += [ExactResume()] if missing(ExactResume) else []
        found += [HybridCheckpoint()] if missing(ModelCheckpoint) else []
    if logger is not False and missing(LearningRateMonitor):
        found.append(LearningRateMonitor(logging_interval="epoch"))
    return found


def _on_tensorboard(logger: Any) -> bool:
    loggers = logger if isinstance(logger, (list, tuple)) else [logger]
    return any(isinstance(each, TensorBoardLogger) for each in loggers)
