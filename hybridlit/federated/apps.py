"""The apps for a real deployment with Flower: `flwr run`, see recipes/federated/.

Each machine reads a recipe of its own: what the run's configuration calls `recipe`, or the node's
own configuration. Neither code nor settings with classes come from another machine.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from hybridlit.federated.client import client_app_of
from hybridlit.federated.server import serve
from hybridlit.federated.settings import FederatedSettings, federated_settings
from hybridlit.internals.flower import Context, Grid, ServerApp
from hybridlit.recipe import read_recipe

__all__ = ["client_app", "server_app"]

_OF_RUN = [each.name for each in fields(FederatedSettings)]


def _settings_of(context: Context) -> dict[str, Any]:
    """Read the recipe of a node.

    The run's configuration may change settings of the federation: what is 0 there is not given,
    since every setting of a Flower app needs a value.
    """
    recipe = context.node_config.get("recipe") or context.run_config.get("recipe")
    if not recipe:
        raise ValueError(
            "no recipe: name a file of this machine, by --node-config 'recipe=\"PATH\"' of the "
            "SuperNode or --run-config 'recipe=\"PATH\"' of the run"
        )
    settings = read_recipe(str(recipe))
    given = {name.replace("-", "_"): value for name, value in context.run_config.items()}
    own = {name: value or None for name, value in given.items() if name in _OF_RUN}
    return settings | {"federated": asdict(federated_settings(settings, **own))}


client_app = client_app_of(_settings_of)
server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve a federation; `output` of the run's configuration is the folder of its results."""
    output = context.run_config.get("output")
    federation = serve(grid, _settings_of(context), Path(str(output)) if output else None)
    print(federation, flush=True)
