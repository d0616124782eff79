"""A federation within this process: one recipe, whose rows are dealt out to clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.federated.client import CHECKPOINT, PARTITION, Client, client_app_of
from hybridlit.federated.grid import InProcessGrid
from hybridlit.federated.server import Federation, serve
from hybridlit.federated.settings import federated_settings
from hybridlit.internals.flower import Context, RecordDict, as_server
from hybridlit.recipe import Parsed, read_recipe
from hybridlit.undisturbed import undisturbed

__all__ = ["run_federation"]


@checked
def run_federation(
    recipe: str | os.PathLike[str] | dict[str, Any],
    *,
    folder: str | os.PathLike[str] | None = None,
    say: Callable[[str], object] = print,
    **changes: Any,
) -> Federation:
    """Train clients together, one after the other in this process, by Flower's strategies.

    The training and validation rows of the recipe are dealt out to the clients; its own validation
    and test rows score the averaged weights after each round. Needs the extra `federated`.

    Args:
        recipe: A recipe with a section `federated:` (`FederatedSettings`), as a file or read.
        folder: Where curves for TensorBoard, checkpoints and, if a component stays local, the
            clients' own models go; None: nowhere.
        say: Called with a line after each round.
        **changes: Settings of the section that differ, such as `rounds=3`.

    Returns:
        The federation.

    Raises:
        ValueError: If settings are wrong or do not fit a client, or no client could train.

    Example:
        >>> recipe = {
        ...     "model": {
        ...         "class_path": "SequentialHybrid",
        ...         "init_args": {"input_dim": 4, "quantum_dim": 2, "output_dim": 3},
        ...     },
        ...     "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
        ... }
        >>> found = run_federation(recipe, clients=2, rounds=1, say=lambda line: None)
        >>> [client.rows for client in found.rounds[-1].trained]
        [45, 45]
    """
    settings = dict(recipe) if isinstance(recipe, dict) else read_recipe(Path(recipe))
    federated = federated_settings(settings, **changes)
    settings["federated"] = asdict(federated)
    place = None if folder is None else Path(folder)
    contexts = {number: _context(number, place) for number in range(federated.clients)}
    read: dict[str, Parsed] = {}
    app = client_app_of(lambda context: settings, read)
    with as_server(), undisturbed():
        grid = InProcessGrid(app, contexts)

        def check(arrays: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
            for context in contexts.values():
                Client(settings, context, read).check(arrays, config)

        return serve(grid, settings, place, say, check)


def _context(number: int, folder: Path | None) -> Context:
    known: dict[str, Any] = {PARTITION: number}
    if folder is not None:
        known[CHECKPOINT] = str(folder / f"client_{number}" / "model.ckpt")
    return Context(0, number, known, RecordDict(), {})
