"""Writes results/scores.json: score and time of the recipes that compare.py has not compared.

OMP_NUM_THREADS=1 python recipes/scores.py --seeds 2

`hybridlit recipes` shows both. Data that a script of a recipe writes are written first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from hybridlit.recipe import read_recipe, train

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
    for script in re.findall(r"^# +python (\S+\.py)$", recipe.read_text(), re.MULTILINE):
        subprocess.run([sys.executable, script], check=True, stdout=subprocess.DEVNULL)
    found = [train(read_recipe(recipe), seed) for seed in range(seeds)]
    return {
        "metric": found[0].metric,
        "scores": [each.tested.mean for each in found],
        "seconds": sum(each.training.seconds for each in found) / seeds,
    }


if __name__ == "__main__":
    main()
