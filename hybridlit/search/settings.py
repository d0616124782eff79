"""The `search:` section of a recipe, and what its words stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import optuna
from optuna.study import StudyDirection

from hybridlit.checks import choice, integer
from hybridlit.photonics import Noise
from hybridlit.photonics.budget import Budget
from hybridlit.search.hardware import EVENTS, HARDWARE_COSTS
from hybridlit.search.space import Space, read_space
from hybridlit.words import meant

__all__ = ["ARMS", "OBJECTIVES", "PRUNERS", "SAMPLERS", "Objective", "SearchSettings"]


class Objective(NamedTuple):
    """What trials are judged by.

    Attributes:
        maximized: Whether more of it is better.
        words: What it is.
    """

    maximized: bool
    words: str


OBJECTIVES: dict[str, Objective] = {
    "score": Objective(True, "score on the validation rows"),
    "seconds": Objective(False, "estimated seconds of a training step"),
    "parameters": Objective(False, "number of parameters"),
    "peak_bytes": Objective(False, "estimated memory of a training step, in bytes"),
    "states": Objective(False, "number of outcomes of the circuit"),
    "photons": Objective(False, "photons that hardware is asked for at once"),
    "shots": Objective(False, f"estimated shots of a row, of which {EVENTS:,} are kept"),
}
"""Objectives by name; all but the score are costs, of the `ModelCost` or of `hardware_costs`."""

SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    # half of Optuna's ten random trials first: an arm has half of the trials
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=5),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
"""Samplers of Optuna by name, made with a seed."""

PRUNERS: dict[str, Callable[[int], optuna.pruners.BasePruner]] = {
    "none": lambda epochs: optuna.pruners.NopPruner(),
    "median": lambda epochs: optuna.pruners.MedianPruner(
        n_startup_trials=4, n_warmup_steps=max(1, epochs // 5)
    ),
    "halving": lambda epochs: optuna.pruners.SuccessiveHalvingPruner(
        min_resource=max(1, epochs // 8), reduction_factor=2
    ),
}
"""Pruners of Optuna by name, made for trials of some number of epochs."""

ARMS: dict[str, dict[str, Any]] = {
    "hybrid": {},
    "classical": {"model.quantum": "mlp"},
}
"""What trials of an arm change in the recipe; arms take turns."""


@dataclass(frozen=True)
class SearchSettings:
    """What a search is, as the `search:` section of a recipe says it.

    Args:
        space: What may change: see `read_space`.
        objective: A key of `OBJECTIVES`, or several: then the best trials are a Pareto front.
        budget: What a trial may cost at most, as in `hybridlit.Budget.parse`; None: what the recipe
            has as its `budget:`, or else anything.
        noise: That of the hardware whose shots and photons are an objective, as for an
            `Experiment`; None: what the model has. It changes nothing of the training.
        sampler: A key of `SAMPLERS`.
        pruner: A key of `PRUNERS`; None: `"median"` with one objective, none with several.
        epochs: Epochs of a trial, at least 1; None: those of the recipe.
        seeds: Number of seeds with which the best trials are trained again at the end.
        trials: Number of trials, half of them of each arm, at least 2.
        slurm: Options of SLURM for workers on a cluster.

    Raises:
        TypeError: If something has the wrong type.
        ValueError: If something is unknown or out of range.
    """

    space: Space
    objective: tuple[str, ...] = ("score",)
    budget: str | None = None
    noise: Mapping[str, Any] | str | None = None
    sampler: str = "tpe"
    pruner: str = "median"
    epochs: int | None = None
    seeds: int = 5
    trials: int = 40
    slurm: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Any) -> SearchSettings:
        """Make them of the section as it stands in a recipe."""
        if not isinstance(given, Mapping):
            raise TypeError(
                "the recipe has no search: section, with the space to search in, such as "
                "search: {space: {model.n_modes: [4, 6, 8]}}"
            )
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                raise ValueError(f"search has no {name!r}{meant(str(name), known)}; it has {known}")
        found = {name: value for name, value in given.items() if value is not None}
        objective = found.get("objective", "score")
        listed = isinstance(objective, (list, tuple))
        found["objective"] = tuple(objective if listed else [objective])
        several = len(found["objective"]) > 1
        if several and found.get("pruner", "none") != "none":
            raise ValueError(
                f"pruner must be none where there are several objectives, since Optuna judges "
                f"unfinished trials by one, got {found['pruner']!r}"
            )
        found.setdefault("pruner", "none" if several else "median")
        return cls(**{**found, "space": read_space(found.get("space"))})

    def __post_init__(self) -> None:
        for name in self.objective:
            choice(name, "objective", OBJECTIVES)
        if len(set(self.objective)) < len(self.objective) or "score" not in self.objective:
            raise ValueError(
                f"objective must be score, alone or beside costs, each once, got "
                f"{list(self.objective)}"
            )
        choice(self.sampler, "sampler", SAMPLERS)
        choice(self.pruner, "pruner", PRUNERS)
        if self.epochs is not None:
            integer(self.epochs, "epochs", 1)
        integer(self.seeds, "seeds", 2)
        integer(self.trials, "trials", 2)
        if self.budget is not None:
            if not isinstance(self.budget, str):
                raise TypeError(f"budget must be words such as '2GiB, 20ms', got {self.budget!r}")
            Budget.parse(self.budget)
        Noise.of(self.noise)
        if self.noise is not None and not set(self.objective) & set(HARDWARE_COSTS):
            raise ValueError(
                f"noise is that of the hardware for the objectives {' and '.join(HARDWARE_COSTS)}, "
                f"got it with {list(self.objective)}: trials are trained under what the model's "
                "experiment says"
            )
        if not isinstance(self.slurm, Mapping):
            raise TypeError(f"slurm must hold options by name, got {self.slurm!r}")

    @property
    def directions(self) -> list[StudyDirection]:
        """Return the direction of each objective."""
        most, least = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
        return [most if OBJECTIVES[name].maximized else least for name in self.objective]
