"""`hybridlit fit --budget`: the circuit of a run, chosen before anything of it is built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from hybridlit.constructors import raised_in
from hybridlit.photonics.budget import MACHINE
from hybridlit.photonics.sizes import require_memory
from hybridlit.recipe.fitting import fitted
from hybridlit.templates.loading import read_checkpoint
from hybridlit.unwrapping import cause_of

__all__ = ["add_budget", "budget_named", "choose_circuit"]


def add_budget(parser: ArgumentParser) -> None:
    """Add the option, which has no effect on other verbs than fit."""
    parser.add_argument(
        "--budget",
        type=str | None,
        default=None,
        help="Of fit: take the largest circuit of the recipe's kind whose training step is within, "
        f"such as '2GiB, 20ms', 'ascella' or '{MACHINE}', the memory that is free.",
    )


@contextmanager
def budget_named(verb: str) -> Iterator[None]:
    """Let the refusal of a circuit that cannot fit name the budget that makes it smaller."""
    try:
        yield
    except (MemoryError, ValueError) as error:
        cause = cause_of(error)
        if verb != "fit" or raised_in(cause) != require_memory.__module__:
            raise
        raise MemoryError(
            f"{cause}; or --budget {MACHINE}, for the largest circuit of this kind that fits"
        ) from error


def choose_circuit(config: Namespace, resumed: str | None) -> list[str]:
    """Put the circuit that the budget among settings allows into them, and say so in a line.

    The budget is taken out, so that whoever runs the settings again has the same circuit.

    Args:
        config: The settings of `hybridlit fit`, to be changed.
        resumed: The checkpoint that a run goes on from, whose circuit stays.

    Returns:
        The line, in a list that is empty if there is no budget.
    """
    budget, config["budget"] = config.get("budget"), None
    if budget is None:
        return []
    if resumed is not None:
        known = read_checkpoint(resumed).get("hyper_parameters", {})
        own = {name: known[name] for name in ("n_modes", "n_photons") if name in known}
        if known.get("experiment") is not None:
            own = {name: known["experiment"][name] for name in ("n_modes", "n_photons")}
        _put(config, own)
        return [
            "The budget does not count: a run that goes on keeps the circuit of its checkpoint."
        ]
    _refuse_processes(config)
    found = fitted(config.as_dict(), budget)
    _put(config, {"n_modes": found.n_modes, "n_photons": found.n_photons})
    return [found.line]


def _put(config: Namespace, numbers: dict[str, int]) -> None:
    place: Any = config["model"]["init_args"]
    if place.get("experiment") is not None:
        place = place["experiment"]
        place = place["init_args"] if "class_path" in place else place
    for name, value in numbers.items():
        place[name] = value


def _refuse_processes(config: Namespace) -> None:
    """Refuse several processes, each of which would choose a circuit of its own."""
    trainer: Any = config["trainer"]
    several = str(trainer.get("devices")) not in ("None", "auto", "1") or trainer.num_nodes > 1
    if several or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "a budget is for one process, and with several each would measure for itself: run it "
            "with --trainer.devices 1 --trainer.fast_dev_run true, and give the modes and photons "
            "that it says"
        )
