"""How clients together do against one place, and against each alone: the tables of FEDERATED.md.

python recipes/federated_scores.py --seeds 5
"""

import argparse
import statistics
import time
from pathlib import Path

from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.trainings import fit_to_the_best
from hybridlit.federated import run_federation
from hybridlit.federated.partition import keep_shard
from hybridlit.federated.settings import federated_settings
from hybridlit.recipe import build, changed, read_recipe, train

RECIPE = Path(__file__).with_name("federated_digits.yaml")

VARIANTS = {
    "as the recipe says": {},
    "classes unlike, `concentration=0.3`": {"concentration": 0.3},
    "the same, `fedprox`, `proximal_mu=0.1`": {
        "concentration": 0.3,
        "strategy": "fedprox",
        "proximal_mu": 0.1,
    },
    "`local: classical`": {"local": "classical"},
    "`local: photonic`": {"local": "photonic"},
    "the same, circuits of 3, 3, 2 photons, and none": {
        "local": "photonic",
        "changes": {2: {"model.n_photons": 2}, 3: {"model.quantum": "mlp"}},
    },
}


def main(seeds):
    settings = read_recipe(RECIPE)
    federated = settings["federated"]
    epochs = federated["rounds"] * federated["local_epochs"]
    central = changed(settings, {"trainer.max_epochs": epochs})
    print(f"| how | test accuracy, mean of {seeds} seeds (lowest to highest) | seconds |")
    print("|---|---|---|")
    row("all rows in one place, as many epochs", seeds, one_place, central)
    row("each client alone, as many epochs, mean by rows", seeds, alone, central)
    for name, changes in VARIANTS.items():
        row(name, seeds, federation, settings, changes)


def one_place(seed, settings):
    return train(settings, seed).tested.mean


def alone(seed, settings):
    federated = federated_settings(settings, seed=seed)
    found, rows = [], []
    for client in range(federated.clients):
        built = build(settings, seed)
        keep_shard(built.data, federated, client)
        fit_to_the_best(built.trainer, built.model, built.data)  # the last weights, as in a round
        rows.append(len(built.data.train[0]))
        with lightning_silenced():
            (scores,) = built.trainer.test(built.model, built.data, verbose=False)
        found.append(scores["test/acc"])
    return sum(r * f for r, f in zip(rows, found, strict=True)) / sum(rows)


def federation(seed, settings, changes):
    changes = {"seed": seed, **changes}
    return run_federation(settings, say=lambda line: None, **changes).scores["test/acc"]


def row(name, seeds, score, *given):
    start = time.perf_counter()
    found = [score(seed, *given) for seed in range(seeds)]
    seconds = (time.perf_counter() - start) / seeds
    spread = f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})"
    print(f"| {name} | {spread} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    main(parser.parse_args().seeds)
