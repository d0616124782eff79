"""`hybridlit federate --config recipe.yaml`: several clients train one model together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from hybridlit.cli.checkpoints import RUNS, SOURCE
from hybridlit.cli.runs import name_of_run
from hybridlit.federated.settings import LocalName, federated_settings
from hybridlit.federated.simulation import run_federation
from hybridlit.federated.strategies import StrategyName
from hybridlit.recipe import changed, read_recipe
from hybridlit.recipe_files import recipe_file

__all__ = ["federate"]


def federate(
    config: str,
    clients: int | None = None,
    rounds: int | None = None,
    local_epochs: int | None = None,
    strategy: StrategyName | None = None,
    proximal_mu: float | None = None,
    local: LocalName | None = None,
    seed: int | None = None,
) -> list[Path]:
    """Train clients together in this process; what is not given is as the recipe says.

    Args:
        config: A recipe with a section federated, by file or name.
        clients: Number of clients, whom the rows are dealt out to.
        rounds: Number of rounds.
        local_epochs: Epochs that a client trains in a round.
        strategy: How the weights of the clients become the next ones.
        proximal_mu: How much clients stay near the server's weights, for fedprox.
        local: The component that stays with each client.
        seed: Seed of first weights, of the partition and of the order of batches.

    Returns:
        The checkpoint of the averaged weights.
    """
    recipe = str(recipe_file(config))
    settings = read_recipe(recipe)
    federated = federated_settings(
        settings,
        clients=clients,
        rounds=rounds,
        local_epochs=local_epochs,
        strategy=strategy,
        proximal_mu=proximal_mu,
        local=local,
        seed=seed,
    )
    settings["federated"] = asdict(federated)
    if federated.seed is not None:  # the split whose test rows the checkpoint has not seen
        seeds = dict.fromkeys(("seed_everything", "data.seed"), federated.seed)
        settings = changed(settings, seeds)
    name = name_of_run([recipe], "")
    folder = Path(TensorBoardLogger(RUNS, name=name).log_dir)
    try:
        federation = run_federation(settings, folder=folder)
    finally:
        if folder.exists():
            said = yaml.safe_dump(settings, sort_keys=False)
            (folder / "config.yaml").write_text(f"# {SOURCE}{recipe}\n{said}", encoding="utf-8")
    print(federation)
    print(f"TensorBoard: tensorboard --logdir {RUNS / name}")
    return [] if federation.checkpoint is None else [federation.checkpoint]
