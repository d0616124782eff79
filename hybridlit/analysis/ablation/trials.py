"""Every arm with every optimizer setting; validation chooses, and tells whether it was all done.

A learning rate that suits one arm may be far too small for another one: the photonic model then
wins because the other has not finished. So all arms, the model itself among them, have the same
search, and an arm whose validation loss was still falling fast enough to catch up is not called
beaten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning.pytorch import LightningDataModule, LightningModule

from hybridlit.analysis.ablation.arms import STAND_INS, Widths, apply_arm
from hybridlit.analysis.ablation.retraining import Recipe, Training, seeded
from hybridlit.components import split_parameters

__all__ = ["Trained", "best_of_trials", "last_gain", "may_catch_up"]

_LAST = 0.2
"""The share of a training that is looked at for improvements: its last fifth."""

_AGAIN = 5
"""Catching up counts within so many times as many epochs again."""

_NOTICEABLE = 0.01
"""A gain there that counts, relative to all that the training has gained."""


@dataclass(frozen=True)
class Trained:
    """The best of the trainings of an arm with one seed.

    Attributes:
        model: The model, with the weights of its best validation.
        training: What it took.
        setting: The optimizer settings it was trained with, a key of `Recipe.settings`.
        choices: Number of settings that there were to choose from.
        histories: What was monitored in each of the trainings; empty without validations.
    """

    model: LightningModule
    training: Training
    setting: str
    choices: int
    histories: tuple[tuple[float, ...], ...]


def best_of_trials(
    arm: str, widths: dict[str, Widths], seed: int, recipe: Recipe, datamodule: LightningDataModule
) -> Trained:
    """Train an arm with each of the settings, and keep the one with the lowest validation.

    Args:
        arm: A key of `ARMS`.
        widths: Widths of the model's photonic modules.
        seed: Decides weights and order of the data.
        recipe: How models are made and trained.
        datamodule: The data, set up.

    Returns:
        The best training. Without validation data there is nothing to choose by, the test data
        least of all: arms have the model's settings, and what stands in for photonic layers those
        of classical parameters.

    Raises:
        RuntimeError: If every training fails. One that diverges at a rate is no candidate.
        ValueError: As `Recipe.train`, if that is so at every rate.
    """
    names = _settings(arm, widths, recipe)
    choices = len(names)
    if not recipe.validates(datamodule):
        standing_in = arm in STAND_INS and "classical" in names
        names = ["classical"] if standing_in else names[:1]
    found: list[tuple[LightningModule, Training, str]] = []
    failure: Exception | None = None
    for name in names:
        seeded(seed)  # so that arms start from the same weights wherever they share a module
        model = _fresh(arm, widths, recipe, name)
        seeded(seed)  # again: what the arm drew must not move dropout or the order of the data
        try:
            found.append((model, recipe.train(model, datamodule), name))
        except (RuntimeError, ValueError) as error:
            failure = error
    if not found:
        assert failure is not None
        raise failure
    model, training, name = min(found, key=lambda each: _lowest(each[1]))
    histories = tuple(each.history for _, each, _ in found if each.history)
    return Trained(model, training, name, choices, histories)


def may_catch_up(histories: Sequence[Sequence[float]], rivals: Sequence[Sequence[float]]) -> bool:
    """Tell whether an arm was still improving, and fast enough to catch up with another one.

    It was if a training of it had its best validation in the last fifth and, at the pace of that
    fifth, would reach the other's best within five times as many epochs again. Paces fall off as a
    rule, so that this is generous; an arm that creeps on far behind is beaten all the same.

    Args:
        histories: What was monitored in each training of the arm, less is better.
        rivals: The same of the other arm.

    Returns:
        Whether that is so of any of its trainings.
    """
    wanted = min(min(history) for history in rivals)
    gains = [(min(history), last_gain(history)) for history in histories]
    return any(gain > 0 and best - gain * _AGAIN / _LAST <= wanted for best, gain in gains)


def last_gain(history: Sequence[float]) -> float:
    """Return by how much the last fifth of a training undercut the best validation before.

    Args:
        history: What was monitored, validation by validation; less is better.

    Returns:
        The gain, at least 0; one of less than a hundredth of all that was gained since the first
        validation is none. Infinite if there is nothing before.
    """
    count = math.ceil(_LAST * len(history))
    before, last = history[:-count], history[-count:]
    if not before:
        return math.inf
    gain = min(before) - min(last)
    return gain if gain > _NOTICEABLE * (history[0] - min(last)) else 0.0


def _lowest(training: Training) -> float:
    return math.inf if training.lowest is None else training.lowest


def _settings(arm: str, widths: dict[str, Widths], recipe: Recipe) -> list[str]:
    """The settings that differ for an arm: what trains no photonic parameter has two."""
    names = list(recipe.settings)
    parameters = split_parameters(_fresh(arm, widths, recipe, "own")).values()
    components = sum(any(p.requires_grad for p in own.values()) for own in parameters)
    return names if components > 1 or len(names) == 1 else names[1:]


def _fresh(arm: str, widths: dict[str, Widths], recipe: Recipe, setting: str) -> LightningModule:
    model = recipe.fresh_model()
    if recipe.settings[setting]:
        model.hparams.update(recipe.settings[setting])
    apply_arm(model, arm, widths, recipe.photonic_stage, marked=len(recipe.settings) > 1)
    return model
