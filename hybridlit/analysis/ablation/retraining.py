"""Trains a fresh model of a given kind, quietly, and keeps the weights of its best validation."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.splits import first_batches
from hybridlit.templates import HybridModule
from hybridlit.templates.hyperparameters import PlainHyperparameters
from hybridlit.templates.schedule import schedules_by_group

__all__ = ["Build", "Recipe", "Training", "seeded"]

Build = Callable[[], LightningModule]
"""Makes an untrained model."""


@dataclass(frozen=True)
class Training:
    """What a training run took.

    Attributes:
        seconds: Duration of `Trainer.fit`.
        epochs: Number of epochs.
        best_epoch: The epoch of the best validation, from 1; None where nothing is monitored.
        lowest: What was monitored at that validation.
        history: What was monitored, validation by validation; infinite where it was not finite.
    """

    seconds: float
    epochs: int
    best_epoch: int | None = None
    lowest: float | None = None
    history: tuple[float, ...] = ()


def seeded(seed: int) -> None:
    """Seed the generators of torch, numpy and Python.

    Args:
        seed: The seed.
    """
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@dataclass(frozen=True)
class Recipe:
    """How every arm is made and trained, so that they differ in nothing else.

    Attributes:
        model: The model that is compared; it is only looked at.
        build: Makes an untrained one like it; None: the class of a template is called with the
            arguments that `model` was constructed with.
        max_epochs: Number of epochs.
        monitor: What a validation is judged by, less is better; None, or without validation data:
            the last weights are kept.
        options: Arguments of the Trainer; they are copied for each run, callbacks included.

    Raises:
        ValueError: If `options` sets the number of epochs as well.
    """

    model: LightningModule
    build: Build | None
    max_epochs: int
    monitor: str | None
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if "max_epochs" in self.options:
            raise ValueError("trainer_options must not set max_epochs: give max_epochs instead")

    @property
    def photonic_stage(self) -> bool:
        """Whether the model has a stage that asks for photonic parameters to train."""
        if not isinstance(self.model, HybridModule):
            return False
        stages = self.model.hparams["stages"] or []
        return any(component != "classical" for component, _ in stages)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Changes of a template's optimizer settings that every arm is tried with, by name.

        `"own"` changes nothing; `"classical"` gives photonic parameters the learning rate, weight
        decay and schedule of classical ones, and `"photonic"` the other way round. Only `"own"` for
        models that are no template, or whose parameters are all optimized alike.
        """
        found: dict[str, dict[str, Any]] = {"own": {}}
        if isinstance(self.model, HybridModule):
            given, schedules = self.model.hparams, schedules_by_group(self.model.hparams)
            decays = {"classical": given["weight_decay"], "photonic": given["quantum_weight_decay"]}
            rates = {"classical": given["classical_lr"], "photonic": given["quantum_lr"]}
            for group, (schedule, warmup) in schedules.items():
                found[group] = dict(
                    classical_lr=rates[group],
                    quantum_lr=rates[group],
                    weight_decay=decays[group],
                    quantum_weight_decay=decays[group],
                    schedule=schedule,
                    quantum_schedule=schedule,
                    warmup_epochs=warmup,
                    quantum_warmup_epochs=warmup,
                )
            if found["classical"] == found["photonic"]:
                return {"own": {}}
        return found

    def validates(self, datamodule: LightningDataModule) -> bool:
        """Whether there is anything to choose weights, settings and baselines by.

        Args:
            datamodule: A datamodule that is set up.

        Returns:
            Whether something is monitored and there are validation data.
        """
        return self.monitor is not None and bool(first_batches(datamodule, "val", 1))

    def fresh_model(self) -> LightningModule:
        """Make an untrained model like the given one.

        Returns:
            A model that shares nothing with it.

        Raises:
            TypeError: If `build` is missing, or makes something else.
            ValueError: If it makes another network, or one that shares tensors with the model.
        """
        model, build = self.model, self.build
        if build is not None:
            fresh = build()
        elif isinstance(model, PlainHyperparameters):
            fresh = type(model)(**model._own_arguments)
        else:
            raise TypeError(
                f"{type(model).__name__} is no HybridModule, so how to make a fresh one is not "
                "known: give build=, a function without arguments that returns an untrained model"
            )
        if not isinstance(fresh, LightningModule):
            raise TypeError(f"build must return a LightningModule, got {type(fresh).__name__}")
        source = "build()" if build is not None else f"{type(model).__name__}(**its arguments)"
        _check_alike(model, fresh, source, freezing=build is None)
        return fresh

    def train(self, model: LightningModule, datamodule: LightningDataModule) -> Training:
        """Train a fresh model, and load the weights that it had at its best validation.

        Args:
            model: What `fresh_model` made, whatever was exchanged in it.
            datamodule: Training and validation data, set up.

        Returns:
            What it took.

        Raises:
            KeyboardInterrupt: At Ctrl-C, which Lightning alone would turn into the end of Python.
            ValueError: If the model never logs a finite `monitor`.
        """
        options = copy.deepcopy(dict(self.options))
        given = options.pop("callbacks", None) or []
        callbacks = [*given] if isinstance(given, (list, tuple)) else [given]
        best = None
        if self.monitor is not None and self.validates(datamodule):
            best = _BestWeights(self.monitor)
            callbacks.append(best)
        with TemporaryDirectory() as folder, lightning_silenced():
            quiet: dict[str, Any] = dict(
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                devices=1,
                default_root_dir=folder,
            )
            settings = quiet | options
            trainer = Trainer(max_epochs=self.max_epochs, callbacks=callbacks, **settings)
            start = time.perf_counter()
            try:
                trainer.fit(model, datamodule)
            except SystemExit as error:
                if isinstance(error.__context__, KeyboardInterrupt):
                    raise KeyboardInterrupt from None
                raise
            seconds = time.perf_counter() - start
        if best is None:
            return Training(seconds, trainer.current_epoch)
        best.load_into(model)
        history = tuple(best.history)
        return Training(seconds, trainer.current_epoch, best.epoch, best.lowest, history)


class _BestWeights(Callback):
    """Keeps a copy of the weights whenever a validation is the best so far."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.lowest = math.inf
        self.epoch = 0
        self.history: list[float] = []
        self.state: dict[str, Tensor] | None = None
        self.seen: list[str] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.seen = sorted(trainer.callback_metrics)
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        self.history.append(value if math.isfinite(value) else math.inf)
        if value < self.lowest:
            self.lowest = value
            self.epoch = trainer.current_epoch + 1
            self.state = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}

    def load_into(self, model: LightningModule) -> None:
        if self.state is None:
            raise ValueError(
                f"monitor={self.monitor!r} never had a finite value in a validation; logged were "
                f"{self.seen}: name one of them, or None to keep the last weights"
            )
        model.load_state_dict(self.state)


def _check_alike(
    model: LightningModule, fresh: LightningModule, source: str, freezing: bool
) -> None:
    tensors = {id(t) for t in [*model.parameters(), *model.buffers()]}
    shared = [
        name
        for name, tensor in [*fresh.named_parameters(), *fresh.named_buffers()]
        if id(tensor) in tensors
    ]
    if shared or fresh is model:
        raise ValueError(
            f"{source} must make a model of its own, but it shares {shared[:3] or 'everything'} "
            "with the model: make new modules, or copy them with copy.deepcopy"
        )
    ours, theirs = _described(model, freezing), _described(fresh, freezing)
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"{source} makes another network: {name} is {theirs.get(name, 'missing')} there "
                f"and {ours.get(name, 'missing')} in the model; give build=, a function without "
                "arguments that makes the model as it was before training"
            )


def _described(model: nn.Module, freezing: bool) -> dict[str, str]:
    found = {}
    for name, parameter in model.named_parameters():
        frozen = " (frozen)" if freezing and not parameter.requires_grad else ""
        found[name] = f"of shape {tuple(parameter.shape)}{frozen}"
    return found
