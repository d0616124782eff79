"""`hybridlit fit|validate|test|predict --config recipe.yaml`: Lightning's command line, set up."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    TQDMProgressBar,
)
from lightning.pytorch.cli import ArgsType, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_helpers import is_overridden

import hybridlit.data  # noqa: F401  # short class names work for what is imported
from hybridlit import __version__
from hybridlit.templates import HybridModule

__all__ = ["HybridCLI", "run"]

_HARMLESS = (
    ".*LeafSpec.*",  # Lightning uses a name that torch deprecates
    ".*does not have many workers.*",  # data in memory load fastest in the main process
    ".*is smaller than the logging interval.*",  # losses and metrics are logged once an epoch
)


class HybridCLI(LightningCLI):
    """LightningCLI with the logging, checkpoints and final test that a run should have anyway.

    Every run logs to TensorBoard under `runs/<name of the config file>/version_<n>`, keeps its best
    (by `val/loss`) and last checkpoint there, and shows a progress bar; `fit` ends with a test of
    the best checkpoint. Loggers and callbacks given by the user replace the default of their kind.
    """

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the logger and callbacks that the user has not chosen."""
        given = self._get(self.config_init, "trainer")
        logger = given.logger
        if logger is False:
            self.save_config_callback = None  # it would write into the working directory
        if logger is None or logger is True:
            logger = TensorBoardLogger("runs", name=self._run_name(), default_hp_metric=False)
        callbacks = given.callbacks or []
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]

        def missing(kind: type[Callback]) -> bool:
            return not any(isinstance(callback, kind) for callback in callbacks)

        if given.enable_progress_bar is not False and missing(ProgressBar):
            callbacks.append(TQDMProgressBar())
        if self.subcommand == "fit":
            if given.enable_checkpointing is not False and missing(ModelCheckpoint):
                callbacks += _best_and_last()
            if logger is not False and missing(LearningRateMonitor):
                callbacks.append(LearningRateMonitor(logging_interval="epoch"))
        else:  # the callbacks of training are left out on purpose
            warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
        return super().instantiate_trainer(logger=logger, callbacks=callbacks, **kwargs)

    def fit(self, **kwargs: Any) -> None:
        """Fit, and leave a readable message after an interruption from the keyboard."""
        try:
            self.trainer.fit(**kwargs)
        except SystemExit:
            if self.trainer.interrupted:
                self._say(*self._interrupted())
                raise SystemExit(130) from None  # what shells expect after Ctrl-C
            raise

    def after_fit(self) -> None:
        """Test the best checkpoint, if there are test data, and say where everything is."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        checkpoint = self.trainer.checkpoint_callback
        best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
        tested = self._has_test_data() and any(self._test(best))
        lines = []
        if isinstance(checkpoint, ModelCheckpoint) and best:
            score = checkpoint.best_model_score
            value = "" if score is None else f" ({checkpoint.monitor} {score.item():.4f})"
            lines.append(f"Best checkpoint: {best}{value}")
        elif tested:
            lines.append("No best checkpoint was kept: the test is of the last weights.")
        if isinstance(self.trainer.logger, TensorBoardLogger):
            lines.append(f"TensorBoard: tensorboard --logdir {self.trainer.logger.save_dir}")
        self._say(*lines)

    def predict(self, **kwargs: Any) -> None:
        """Predict, and save the predictions as `predictions.pt` in the directory of the run.

        Of several processes, each saves the rows that it was given.
        """
        batches: list[Any] | None = self.trainer.predict(**kwargs)
        if not batches:
            self._say("No predictions: there are no prediction data.")
            return
        predictions = torch.cat(batches) if isinstance(batches[0], torch.Tensor) else batches
        rank = f"-rank{self.trainer.global_rank}" if self.trainer.world_size > 1 else ""
        path = Path(self.trainer.log_dir or ".") / f"predictions{rank}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(predictions, path)
        self._say(f"Predictions: {path}")

    def _run_name(self) -> str:
        """Name runs after the last config file, or else after the model."""
        names = [Path(str(file)).stem for file in self._get(self.config, "config") or []]
        # runs save their own settings as config.yaml, which names nothing
        return names[-1] if names and names[-1] != "config" else type(self.model).__name__

    def _has_test_data(self) -> bool:
        return is_overridden("test_dataloader", self.datamodule) or is_overridden(
            "test_dataloader", self.model
        )

    def _test(self, checkpoint: str) -> Sequence[Mapping[str, float]]:
        with warnings.catch_warnings():  # an empty test loader is our way to say that there is none
            warnings.filterwarnings("ignore", message=".*across ranks is zero.*")
            return self.trainer.test(
                self.model, datamodule=self.datamodule, ckpt_path=checkpoint or None
            )

    def _interrupted(self) -> list[str]:
        kept = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        paths = [Path(c.last_model_path or c.best_model_path) for c in kept]
        files = [path for path in paths if path.is_file()]  # the very first may be half written
        if not files:
            return ["", "Interrupted before the first checkpoint."]
        last = max(files, key=lambda path: path.stat().st_mtime)
        return ["", f"Interrupted. Last checkpoint: {last}", f"Resume: add --ckpt_path {last}"]

    @rank_zero_only
    def _say(self, *lines: str) -> None:
        print(*lines, sep="\n")


def run(args: ArgsType = None) -> None:
    """Run `hybridlit fit|validate|test|predict`.

    Args:
        args: Arguments as a list of strings or a nested dictionary; None: those of the process.
    """
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    with warnings.catch_warnings():
        for message in _HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        try:
            HybridCLI(
                HybridModule,
                LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                seed_everything_default=0,
                auto_configure_optimizers=False,  # the templates have their own
                parser_kwargs={
                    "prog": "hybridlit",
                    "version": __version__,
                    "description": "Train hybrid models; `hybridlit plan --help` for the cost of a "
                    "circuit before it is built.",
                },
                args=args,
            )
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            raise SystemExit(130) from None


def _best_and_last() -> list[Callback]:
    best = ModelCheckpoint(
        monitor="val/loss",
        filename="best-epoch{epoch:03d}-step{step}",
        auto_insert_metric_name=False,
    )
    # not save_last=True of the first: Lightning then writes it only when the best improves
    last = ModelCheckpoint(filename="last", enable_version_counter=False)
    return [best, last]


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
