"""What a trial would cost, before anything of it is built, and whether it can be built at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
import torch

from hybridlit.components import photonic_modules
from hybridlit.photonics import Experiment
from hybridlit.photonics.budget import MACHINE, Budget
from hybridlit.photonics.speed import Speed, assume_speed, speed
from hybridlit.recipe.building import build_data
from hybridlit.recipe.cost import dtype_of, empty_model, rows_of
from hybridlit.search.hardware import HARDWARE_COSTS, hardware_costs
from hybridlit.search.names import applied
from hybridlit.search.settings import ARMS, SearchSettings
from hybridlit.templates import HybridModule
from hybridlit.templates.cost import ModelCost, cost_of
from hybridlit.templates.quantum import experiment_of
from hybridlit.templates.sizes import Sizes, sizes_of
from hybridlit.undisturbed import undisturbed

__all__ = ["Judge", "note_speed", "noted_budget", "the_same_speed"]

_SPEED, _BUDGET = "speed", "budget"
_DRAWS = 20
"""Draws of a class that is never chosen for what it costs, after which it cannot be built."""


_Found = tuple[ModelCost | str, Experiment, dict[str, float]]
"""What a model costs, or why that cannot be told, its circuit, and what it takes on hardware."""


class Judge:
    """From the changes of a trial to its cost, and why it is refused, if it is.

    Refused is what the constructors refuse, such as more photons than modes in the unbunched space,
    and what is over the budget. A classical block stands for a photonic layer with as many
    parameters, which must be within the budget as well.

    Args:
        recipe: The settings that trials change.
        settings: Those of the search.
    """

    def __init__(self, recipe: Mapping[str, Any], settings: SearchSettings) -> None:
        self._recipe, self._settings = recipe, settings
        given = settings.budget
        self._budget = None if given is None else Budget.parse(given)
        self._seen: dict[str, tuple[Sizes, int | str]] = {}  # data by their section
        self._found: dict[str, _Found] = {}

    def __call__(self, changes: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
        """Judge the changes of a trial."""
        photonic = {name: value for name, value in changes.items() if name not in _OF_ARMS}
        try:
            cost, _, on_hardware = self._cost(changes)
            block, circuit, _ = self._cost(changes if self._budget is None else photonic)
        except (TypeError, ValueError) as error:
            return None, f"it cannot be built: {error}"
        costs = on_hardware if isinstance(cost, str) else cost.to_dict() | on_hardware
        for name in self._settings.objective:
            if name != "score" and costs.get(name) is None:
                why = f": {cost}" if isinstance(cost, str) else ""
                return None, f"its {name} cannot be told{why}"
        if self._budget is None:
            return costs or None, None
        if isinstance(block, str):
            return None, f"there is a budget, and its cost cannot be told: {block}"
        over = self._budget.refusal(block, circuit)
        return costs, None if over is None else f"over the budget: {over}"

    def refuse_unbuildable(self) -> None:
        """Build models of each class and arm, without numbers, as they would be drawn.

        Raises:
            ValueError: If a class cannot be built in 20 random draws, or holds no photons to search
                for.
        """
        own = self._recipe["model"]["class_path"]
        dimensions = self._settings.space.dimensions
        classes = next((each.choices for each in dimensions if each.name == _CLASS), (own,))
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        left, reasons = set(classes), {}
        for _ in range(_DRAWS * len(classes)):
            changes = self._settings.space.draw(study.ask())
            path = changes.get(_CLASS, own)
            if path in left:
                try:
                    found = {
                        arm: self._model(applied(self._recipe, changes | own_changes))[0]
                        for arm, own_changes in ARMS.items()
                    }
                    if not photonic_modules(found["hybrid"]):
                        raise ValueError(
                            "its hybrid arm would have no photonic layer; a recipe with "
                            "quantum: mlp is classical: leave quantum out, the search compares both"
                        )
                    left.remove(path)
                except (TypeError, ValueError) as error:
                    reasons[path] = str(error)
            if not left:
                return
        if left:
            path = min(left)
            raise ValueError(f"no trial of {path} can be built: {reasons.get(path)}")

    def _cost(self, changes: Mapping[str, Any]) -> _Found:
        settings = applied(self._recipe, changes)
        key = json.dumps([settings["model"], settings["data"]], default=str)
        if key not in self._found:
            model, rows = self._model(settings)
            cost: ModelCost | str
            try:
                cost = rows if isinstance(rows, str) else cost_of(model, rows)
            except ValueError as error:  # of a model of the user, whose inputs are its own
                cost = str(error)
            on_hardware: dict[str, float] = {}
            if set(self._settings.objective) & set(HARDWARE_COSTS):
                on_hardware = hardware_costs(model, self._settings.noise)
            self._found[key] = cost, experiment_of(model.hparams), on_hardware
        return self._found[key]

    def _model(self, settings: Mapping[str, Any]) -> tuple[HybridModule, int | str]:
        """Return the model without numbers, and its rows of a batch or why they are not known."""
        data = json.dumps(settings["data"], default=str)
        if data not in self._seen:
            with undisturbed():
                module = build_data(settings)
                rows: int | str
                try:
                    rows = rows_of(module)
                except ValueError as error:
                    rows = str(error)
                self._seen[data] = sizes_of(module), rows
        sizes, rows = self._seen[data]
        return empty_model(settings["model"], sizes, dtype_of(settings)), rows


_CLASS = "model.class_path"
_OF_ARMS = {name for changes in ARMS.values() for name in changes}


def note_speed(study: optuna.Study, dtype: torch.dtype) -> None:
    """Note in a study how fast this machine is, for estimates that are the same everywhere."""
    if _SPEED not in study.user_attrs:
        study.set_user_attr(_SPEED, speed(dtype).to_dict())


def noted_budget(study: optuna.Study, budget: str | None) -> str | None:
    """Return a budget in which the memory of this machine is what it was when the study began."""
    if budget is None or MACHINE not in budget.lower():
        return budget
    if _BUDGET not in study.user_attrs:
        free = f"{Budget.parse(MACHINE).memory} B"
        study.set_user_attr(_BUDGET, re.sub(MACHINE, free, budget, flags=re.IGNORECASE))
    return str(study.user_attrs[_BUDGET])


@contextmanager
def the_same_speed(study: optuna.Study) -> Iterator[None]:
    """Estimate by the machine that has begun the study, so that trials are refused alike."""
    known = study.user_attrs.get(_SPEED)
    if known is None:
        yield
        return
    assume_speed(Speed.from_dict(known))
    try:
        yield
    finally:
        assume_speed(None)
