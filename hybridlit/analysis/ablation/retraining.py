"""How arms are trained: fresh models, every optimizer setting, quietly; validation chooses.

A learning rate that suits one arm may be far too small for another one: the photonic model then
wins because the other has not finished. So all arms, the model itself among them, have the same
search.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from hybridlit.analysis.ablation.arms import ARMS, Widths, apply_arm
from hybridlit.analysis.ablation.measure import Bench, ScoredRows
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.splits import first_batches
from hybridlit.analysis.trainings import BestWeights, Training, fit_to_the_best
from hybridlit.components import split_parameters
from hybridlit.templates import HybridModule
from hybridlit.templates.hyperparameters import PlainHyperparameters
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.training.schedule import schedules_by_group

__all__ = ["Build", "Recipe", "Run", "Training", "best_of_trials", "seeded"]

Build = Callable[[], LightningModule]
"""Makes an untrained model."""

_OPTIMIZED_BY = ("lr", "weight_decay", "schedule", "warmup_epochs")
_SETTINGS = {
    "classical": ("classical_lr", *_OPTIMIZED_BY[1:]),
    "photonic": tuple(f"quantum_{name}" for name in _OPTIMIZED_BY),
}
"""Arguments of a template: learning rate, weight decay, schedule and warm-up of its components."""


class Run(NamedTuple):
    """The best of the trainings of an arm with one seed; the fields are as in `RetrainedArm`.

    `histories` are of all these trainings; empty without validations. `rate` is None if there was
    nothing to choose from.
    """

    scored: ScoredRows
    training: Training
    parameters: int
    photonic_parameters: int
    rate: str | None
    histories: tuple[tuple[float, ...], ...]


def seeded(seed: int) -> None:
    """Seed the generators of torch, numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@dataclass(frozen=True)
class Recipe:
    """How models of a study are made and trained.

    Attributes:
        model: The model that arms are compared with; it is only looked at.
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
        stages = isinstance(self.model, HybridModule) and self.model.hparams["stages"]
        return any(component != "classical" for component, _ in stages or [])

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Changes of a template's optimizer settings that every arm is tried with, by name.

        `"own"` changes nothing; `"classical"` gives photonic parameters the optimizer, learning
        rate, weight decay and schedule of classical ones, and `"photonic"` the other way round.
        Only `"own"` for models that are no template, or whose parameters are all optimized alike.
        """
        if not isinstance(self.model, HybridModule):
            return {"own": {}}
        given, found = self.model.hparams, {}
        for group, (schedule, warmup) in schedules_by_group(given).items():
            rate, decay = (given[name] for name in _SETTINGS[group][:2])
            values = rate, decay, schedule, warmup
            found[group] = {
                name: value
                for names in _SETTINGS.values()
                for name, value in zip(names, values, strict=True)
            }
            if given["quantum_optimizer"] is not None:
                own = given["optimizer" if group == "classical" else "quantum_optimizer"]
                found[group] |= {"optimizer": own, "quantum_optimizer": None}
        alike = found["classical"] == found["photonic"]
        return {"own": {}} if alike else {"own": {}} | found

    def validates(self, datamodule: LightningDataModule) -> bool:
        """Whether there is anything to choose weights, settings and baselines by."""
        return self.monitor is not None and bool(first_batches(datamodule, "val", 1))

    def fresh_model(self) -> LightningModule:
        """Make an untrained model like the given one, which shares nothing with it.

        Raises:
            TypeError: If `build` is missing, or makes something else.
            ValueError: If it makes another network, or one that shares tensors with the model.
        """
        model, build = self.model, self.build
        if build is not None:
            fresh = build()
        elif isinstance(model, PlainHyperparameters):
            fresh = type(model)(**model.own_arguments)
        else:
            raise TypeError(
                f"{type(model).__name__} is no HybridModule, so how to make a fresh one is not "
                "known: give build=, a function without arguments that returns an untrained model"
            )
        if not isinstance(fresh, LightningModule):
            raise TypeError(f"build must return a LightningModule, got {type(fresh).__name__}")
        source = "build()" if build is not None else f"{type(model).__name__}(**its arguments)"
        _check_alike(model, fresh, source, freezing=build is None)
        if build is None and isinstance(fresh, HybridNetwork) and isinstance(model, HybridNetwork):
            # a checkpoint does not hold the file that the weights of a front came from
            for ours, theirs in zip(model.frozen, fresh.frozen, strict=True):
                theirs.load_state_dict(ours.state_dict())
        return fresh

    def arm(self, arm: str, widths: Mapping[str, Widths], setting: str) -> LightningModule:
        """Make an untrained model of an arm, a key of `ARMS`, with a setting of `settings`."""
        model, settings = self.fresh_model(), self.settings
        if settings[setting]:
            model.hparams.update(settings[setting])
        apply_arm(model, arm, widths, self.photonic_stage, marked=len(settings) > 1)
        return model

    def train(self, model: LightningModule, datamodule: LightningDataModule) -> Training:
        """Train a fresh model, and load the weights that it had at its best validation."""
        options = copy.deepcopy(dict(self.options))
        given = options.pop("callbacks", None) or []
        callbacks = [*given] if isinstance(given, (list, tuple)) else [given]
        if self.monitor is not None and self.validates(datamodule):
            callbacks.append(BestWeights(self.monitor))
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
            return fit_to_the_best(trainer, model, datamodule)


def best_of_trials(arm: str, widths: Mapping[str, Widths], recipe: Recipe, bench: Bench) -> Run:
    """Train an arm with each of the settings, and score the one with the lowest validation.

    A training that fails, since it diverges at a rate for instance, is no candidate, and a warning
    says so; the error is raised if all do. Without validation data there is nothing to choose by,
    the test data least of all: arms have the model's settings, and what learns in the place of
    photonic layers those of classical parameters. The seed decides weights and order of the data.
    """
    names = _settings(arm, widths, recipe)
    choices, learns = len(names), ARMS[arm].learns
    if not recipe.validates(bench.data):
        names = ["classical"] if learns and "classical" in names else names[:1]
    found: list[tuple[LightningModule, Training, str]] = []
    failure: Exception | None = None
    failed: list[str] = []
    for name in names:
        seeded(bench.seed)  # so that arms start from the same weights wherever they share a module
        model = recipe.arm(arm, widths, name)
        seeded(bench.seed)  # again: what the arm drew must not move dropout or batches
        try:
            found.append((model, recipe.train(model, bench.data), name))
        except (RuntimeError, ValueError) as error:
            failure = error
            failed.append(name)
    if failure is not None and not found:
        raise failure
    if failed:
        rank_zero_warn(
            f"arm {arm!r} with the settings of {' and '.join(failed)} failed with seed "
            f"{bench.seed}, and the others alone were searched: {type(failure).__name__}: {failure}"
        )
    model, training, name = min(found, key=lambda each: each[1].lowest)
    counts = {
        component: sum(p.numel() for p in parameters.values() if p.requires_grad)
        for component, parameters in split_parameters(model).items()
    }
    return Run(
        bench.scored(model),
        training,
        sum(counts.values()),
        0 if learns else counts["photonic"],  # what learns is marked for its settings only
        name if choices > 1 else None,
        tuple(each.history for _, each, _ in found if each.history),
    )


def _settings(arm: str, widths: Mapping[str, Widths], recipe: Recipe) -> list[str]:
    """The settings that differ for an arm: what trains no photonic parameter has two."""
    names = list(recipe.settings)
    parameters = split_parameters(recipe.arm(arm, widths, "own")).values()
    components = sum(any(p.requires_grad for p in own.values()) for own in parameters)
    return names if components > 1 or len(names) == 1 else names[1:]


def _check_alike(
    model: LightningModule, fresh: LightningModule, source: str, freezing: bool
) -> None:
    tensors = {id(t) for t in [*model.parameters(), *model.buffers()]}
    named = [*fresh.named_parameters(), *fresh.named_buffers()]
    shared = [name for name, tensor in named if id(tensor) in tensors]
    if shared or fresh is model:
        raise ValueError(
            f"{source} must make a model of its own, but it shares {shared[:3] or 'everything'} "
            "with the model: make new modules, or copy them with copy.deepcopy"
        )
    ours, theirs = (
        {
            name: f"of shape {tuple(p.shape)}{' (frozen)' * (freezing and not p.requires_grad)}"
            for name, p in each.named_parameters()
        }
        for each in (model, fresh)
    )
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"{source} makes another network: {name} is {theirs.get(name, 'missing')} there "
                f"and {ours.get(name, 'missing')} in the model; give build=, a function without "
                "arguments that makes the model as it was before training"
            )
