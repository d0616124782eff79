"""Writes results/scores.json: score and time of the recipes that compare.py has not compared.

OMP_NUM_THREADS=1 python recipes/scores.py --seeds 2

`hybridlit recipes` shows both; times are those of a processor. Data that a script of a recipe
writes are written first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from lightning.pytorch import Trainer

from hybridlit.recipe import read_recipe, train
from hybridlit.recipe.building import trainer_arguments
from hybridlit.recipe_files import scripts_of

HERE = Path(__file__).parent
FILE = HERE / "results" / "scores.json"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", help="names; all that were not compared without")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each recipe")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    compared = {path.stem for path in (HERE / "results" / "compare").glob("*.json")}
    every = {path.stem: path for path in sorted(HERE.glob("*.yaml"))}
    for name in options.recipes or [name for name in every if name not in compared]:
        known[name] = scores(every[name], options.seeds)
        print(name, known[name], flush=True)
        options.out.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def scores(recipe: Path, seeds: int) -> dict[str, object]:
    """Train a recipe, from the folder above `recipes/`, with so many seeds."""
    for script in scripts_of(recipe):
        subprocess.run([sys.executable, script], check=True, stdout=subprocess.DEVNULL)
    settings = read_recipe(recipe)
    tested, seconds = [], 0.0
    for seed in range(seeds):
        begin = time.process_time()
        found = train(settings, seed, test=False)
        seconds += time.process_time() - begin
        tester = Trainer(**trainer_arguments(settings))
        (metrics,) = tester.test(found.model, found.data, verbose=False)
        tested.append({k.removeprefix("test/"): v for k, v in metrics.items() if k != "test/loss"})
    metric = next(iter(tested[0]))  # the first that the recipe names, or that its task has
    return {
        "metric": metric,
        "scores": [each[metric] for each in tested],
        "seconds": seconds / seeds,
    }


if __name__ == "__main__":
    main()
