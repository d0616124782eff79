"""`hybridlit fit|validate|test|predict --config recipe.yaml`: Lightning's command line, set up."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from argparse import SUPPRESS
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from lightning.pytorch.utilities.model_helpers import is_overridden

import hybridlit.data  # noqa: F401  # short class names work for what is imported
from hybridlit import __version__
from hybridlit.cli.budget import add_budget, budget_named, choose_circuit
from hybridlit.cli.checkpoints import (
    RUNS,
    SETTINGS,
    checkpoint_path,
    is_remote,
    noted_recipes,
    values_of,
    with_recipes,
    with_settings,
)
from hybridlit.cli.defaults import default_callbacks
from hybridlit.cli.parser import TrainingParser
from hybridlit.cli.runs import SaveSettings, logger_of_run, name_of_run, no_empty_folder
from hybridlit.cli.tested import CountsRows, in_words
from hybridlit.ranks import every_rank, in_turns
from hybridlit.recipe.classes import importable
from hybridlit.recipe.reading import OTHER_SECTIONS
from hybridlit.resume.folder import best_checkpoint, newest_checkpoint, step_of
from hybridlit.templates import HybridModule
from hybridlit.templates.foreign_names import named_strings, unimported_name
from hybridlit.templates.hyperparameters import RENAMED
from hybridlit.templates.loading import read_checkpoint

__all__ = ["HybridCLI", "run"]

_HARMLESS = (
    ".*LeafSpec.*",  # Lightning uses a name that torch deprecates
    ".*does not have many workers.*",  # data in memory load fastest in the main process
    ".*LightningCLI's args parameter.*",  # `main` has looked at them already
    ".*is smaller than the logging interval.*",  # losses and metrics are logged once an epoch
    ".*Using `DistributedSampler` with the dataloaders.*",  # which repeats no row of an evaluation
)


class HybridCLI(LightningCLI):
    """LightningCLI with the logging, checkpoints and final test that a run should have anyway.

    Every run logs to TensorBoard under `runs/<name of the config file>/version_<n>` and shows its
    progress. `fit` keeps its best (by `val/loss`) and last checkpoint there, adds pictures of the
    photons (`PhotonicInspector`), pictures of the predictions (`EvaluationPictures`, if there is
    matplotlib), scores first and a table of runs (`TensorBoardLayout`) to TensorBoard, and ends
    with a test of the best checkpoint, whose accuracy has an interval. Loggers and callbacks given
    by the user replace the default of their kind.

    `fit --ckpt` goes on exactly where a run was interrupted, unless that was amid a step (see
    `ExactResume`). It takes a checkpoint, a folder (its newest undamaged checkpoint), or `last`:
    the newest of the callback's `dirpath` if one is given, or else of the newest run of the same
    name under `runs/`. Instead of a damaged checkpoint, it takes the newest undamaged one beside
    it. The other commands take a file, `last` or `best`. A run that goes on does so in its own
    folder and curve (`logger_of_run`); one that fails before its first step leaves no folder.

    Interrupted by Ctrl-C, `fit` exits with 130, by SIGTERM with 143, and says how to go on. It ends
    the step first, unless data come from worker processes, which Ctrl-C ends as well; a second
    Ctrl-C does not wait.
    """

    verbs: ClassVar[Sequence[str]] = ()
    """Verbs whose options are made, which takes its time; all if there are none."""

    _given: str | None = None
    """The checkpoint that the user has given."""

    _counts: CountsRows
    """Of the rows of the last test."""

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:
        """Return the verbs, each with the arguments of the Trainer's method that are no options."""
        every = LightningCLI.subcommands()
        return {verb: every[verb] | {"ckpt_path"} for verb in cls.verbs or every}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the checkpoint, and sections of recipes that are for other verbs.

        The former name of the checkpoint in the command line is still its name in files.
        """
        for section in OTHER_SECTIONS:
            parser.add_argument(f"--{section}", type=Any, default=None, help=SUPPRESS)
        parser.add_argument(
            "--ckpt",
            "--ckpt_path",
            dest="ckpt_path",
            type=str | None,
            default=None,
            help="A checkpoint: a file, last or best (of the run that was written to last, with "
            "its own settings unless --config or --model is given); of fit: go on from there.",
        )
        add_budget(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and find the checkpoint that `--ckpt` stands for."""
        super().parse_arguments(parser, args)
        command = self.config.get("subcommand")
        if not command:
            return
        for section in OTHER_SECTIONS:
            self.config[command].pop(section, None)
        model = self.config[command].get("model")
        arguments = model.get("init_args") if isinstance(model, Namespace) else None
        for former, name in RENAMED.items():  # one that is not given has nothing to say to a reader
            if arguments is not None and arguments.get(former) == name:
                del arguments[former]
        given = self.config[command].get("ckpt_path")
        if given is None:
            if command != "fit":
                rank_zero_warn(
                    f"hybridlit {command} without --ckpt is of an untrained model: give a "
                    "checkpoint, or --ckpt best."
                )
            return
        self._given = self._checkpoint(command, str(given))
        self._refuse(command, self._given)
        # settings of fit are as given: Lightning would take those of the checkpoint
        self.config[command]["ckpt_path"] = None if command == "fit" else self._given

    def before_instantiate_classes(self) -> None:
        """Choose the circuit, if there is a budget."""
        if self.subcommand == "fit":
            self._say(*choose_circuit(self.config["fit"], self._given))

    def instantiate_classes(self) -> None:
        """Make model, data and Trainer; say of a circuit that is too large what a budget does."""
        with budget_named(str(self.subcommand)):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the logger and callbacks that the user has not chosen; build a model for its data."""
        if self.datamodule is not None and not isinstance(self.model, HybridModule):
            self.model.build(self.datamodule)
        given = self.config_init.get(str(self.subcommand), self.config_init)["trainer"]
        logger = given.logger
        if logger is False:
            self.save_config_callback = None  # it would write into the working directory
        if logger is None or logger is True:
            resumed = self._given if self.subcommand == "fit" else None
            logger = logger_of_run(self._run_name(str(self.subcommand)), resumed)
        if self.save_config_callback is SaveSettings:
            self.save_config_kwargs = {"recipes": self._recipes()}
        callbacks = given.callbacks or []
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        verb = str(self.subcommand)
        callbacks += default_callbacks(verb, given, callbacks, logger, self.model)
        self._counts = CountsRows()
        callbacks.append(self._counts)
        if self.subcommand != "fit":  # the callbacks of training are left out on purpose
            warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
        return super().instantiate_trainer(logger=logger, callbacks=callbacks, **kwargs)

    def fit(self, **kwargs: Any) -> None:
        """Fit, and leave a readable message after an interruption."""
        begins = 0 if self._given is None else max(step_of(self._given), 0)
        try:
            with no_empty_folder(self.trainer, begins):
                self.trainer.fit(**kwargs, ckpt_path=self._given)
        except SystemExit:
            if self.trainer.interrupted:
                self._say(*self._interrupted())
                raise self._as_shells_expect() from None
            raise

    def after_fit(self) -> None:
        """Test the best checkpoint, if there are test data, and say where everything is."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        checkpoint = self.trainer.checkpoint_callback
        best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
        lines = [*self._stopped_early()]
        if isinstance(checkpoint, ModelCheckpoint) and best:
            score = checkpoint.best_model_score
            value = "" if score is None else f" ({checkpoint.monitor} {score.item():.4g})"
            lines.append(f"Best checkpoint: {best}{value}")
        try:
            tested = self._has_test_data() and any(self._test(best))
        except SystemExit:
            if self.trainer.interrupted:
                self._say("", "The run is complete; its test was interrupted.", *lines)
                raise self._as_shells_expect() from None
            raise
        if tested and not best:
            lines.append("No best checkpoint was kept: the test is of the last weights.")
        if isinstance(self.trainer.logger, TensorBoardLogger):
            lines.append(f"TensorBoard: tensorboard --logdir {self.trainer.logger.save_dir}")
        self._say(*lines)

    def validate(self, **kwargs: Any) -> None:
        """Validate the checkpoint that is given."""
        with no_empty_folder(self.trainer, math.inf):
            self.trainer.validate(**kwargs, ckpt_path=self._given)

    def test(self, **kwargs: Any) -> None:
        """Test the checkpoint that is given."""
        with no_empty_folder(self.trainer, math.inf):
            self._say_scores(self.trainer.test(**kwargs, ckpt_path=self._given))

    def predict(self, **kwargs: Any) -> None:
        """Predict, and save the predictions as `predictions.pt` in the directory of the run.

        Those of several processes come together, in the order of the rows. Where they share rows in
        another way than Lightning, each saves those that it was given.
        """
        with no_empty_folder(self.trainer, math.inf):
            batches: list[Any] | None = self.trainer.predict(**kwargs, ckpt_path=self._given)
        if not batches:
            self._say("No predictions: there are no prediction data.")
            return
        predictions = torch.cat(batches) if isinstance(batches[0], torch.Tensor) else batches
        folder, name = Path(self.trainer.log_dir or "."), "predictions.pt"  # asks all processes
        if self.trainer.world_size > 1:
            whole = in_turns(every_rank(predictions))
            if whole is None:
                name = f"predictions-rank{self.trainer.global_rank}.pt"
            elif not self.trainer.is_global_zero:
                return
            predictions = predictions if whole is None else whole
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(predictions, folder / name)
        self._say(f"Predictions: {folder / name}")

    def _checkpoint(self, command: str, given: str) -> str:
        """Return the undamaged file that `--ckpt` stands for.

        Lightning's command line reads it before there is a Trainer, for the model's arguments.
        """
        if is_remote(given):
            return given
        folder = self._own_folder(command) if given in ("last", "best") else None
        if folder is not None:
            return str(newest_checkpoint(folder) if given == "last" else best_checkpoint(folder))
        runs = RUNS / self._run_name(command)
        return str(checkpoint_path(given, runs, resume=command == "fit"))

    def _refuse(self, command: str, path: str) -> None:
        """Let the checkpoint name only classes that are imported, or that the user has named.

        Lightning's command line builds the model that the checkpoint describes, unless it trains.
        """
        if not Path(path).is_file():
            return
        content = read_checkpoint(path)
        if command == "fit":
            if "optimizer_states" not in content:
                raise ValueError(f"{path} holds weights alone, so that no training can go on there")
            return
        arguments = content.get("hyper_parameters", {})
        own = self.config[command].get("model")
        trusted = set(named_strings(own.as_dict() if isinstance(own, Namespace) else own))
        name = unimported_name(arguments, trusted)
        if name is not None:
            raise ValueError(
                f"the checkpoint asks for {name}, whose module is not imported: if you trust it, "
                "give the config.yaml of its run with --config, or other settings that name it"
            )

    def _own_folder(self, command: str) -> Path | None:
        """Return the folder that the user has chosen for checkpoints, if he has."""
        given = self.config[command].trainer
        callbacks = given.callbacks or []
        for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
            dirpath = callback.get("init_args", {}).get("dirpath")
            if dirpath:
                return Path(dirpath)
        if command == "fit" and given.logger not in (None, True):
            raise FileNotFoundError(
                "runs with a logger of their own, or none, are not looked for: give a folder"
            )
        return None

    def _run_name(self, command: str) -> str:
        files = [str(file) for file in self.config[command].get("config") or []]
        return name_of_run(files, self.config[command].model.class_path)

    def _recipes(self) -> list[str]:
        """The recipes of the user, also those of a run whose saved settings are used."""
        given = self.config if self.subcommand is None else self.config[self.subcommand]
        files = [str(file) for file in given.get("config") or []]
        return [each for file in files for each in noted_recipes(file) or [file]]

    def _has_test_data(self) -> bool:
        return is_overridden("test_dataloader", self.datamodule) or is_overridden(
            "test_dataloader", self.model
        )

    def _test(self, checkpoint: str) -> Sequence[Mapping[str, float]]:
        with warnings.catch_warnings():  # an empty test loader is our way to say that there is none
            warnings.filterwarnings("ignore", message=".*across ranks is zero.*")
            found = self.trainer.test(
                self.model, datamodule=self.datamodule, ckpt_path=checkpoint or None
            )
        self._say_scores(found)
        return found

    def _say_scores(self, found: Sequence[Mapping[str, float]]) -> None:
        self._say(*in_words(found, self._counts.rows, self.model.task.one_class))

    def _stopped_early(self) -> Iterator[str]:
        for callback in self.trainer.early_stopping_callbacks:
            if callback.stopped_epoch and callback.wait_count >= callback.patience:
                yield (
                    f"Stopped early, after {callback.stopped_epoch + 1} epochs: "
                    f"{callback.monitor} was not better for {callback.patience} validations."
                )

    def _interrupted(self) -> list[str]:
        kept = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        paths = [Path(c.last_model_path or c.best_model_path) for c in kept]
        files = [path for path in paths if path.is_file()]  # the very first may be half written
        if not files:
            return ["", "Interrupted before the first checkpoint."]
        last = max(files, key=lambda path: path.stat().st_mtime)
        return ["", f"Interrupted. Last checkpoint: {last}", f"Resume: add --ckpt {last}"]

    def _as_shells_expect(self) -> SystemExit:
        return SystemExit(
            128 + (signal.SIGTERM if self.trainer.received_sigterm else signal.SIGINT)
        )

    @rank_zero_only
    def _say(self, *lines: str) -> None:
        for line in lines:
            print(line)


def run(args: ArgsType = None) -> None:
    """Run `hybridlit fit|validate|test|predict`.

    Args:
        args: Arguments as a list of strings or a nested dictionary; None: those of the process.
    """
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    every = LightningCLI.subcommands()
    HybridCLI.verbs = [args[0]] if isinstance(args, list) and args and args[0] in every else []
    if isinstance(args, list):
        args = with_recipes(args)
        recipes = values_of(args, SETTINGS)
        noted = [each for file in recipes if Path(file).is_file() for each in noted_recipes(file)]
        importable(*recipes, *noted)
        args = with_settings(args) if HybridCLI.verbs else args
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
                save_config_callback=SaveSettings,
                parser_class=TrainingParser,
                parser_kwargs={"prog": "hybridlit", "version": __version__},
                args=args,
            )
        except MisconfigurationException as error:  # what a user has asked for cannot be
            raise ValueError(str(error)) from None


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    return "Tip:" not in said and "with model summary callbacks" not in said
