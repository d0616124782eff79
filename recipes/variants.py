"""What an argument of a recipe does: the recipe, and the same with other arguments, by seeds.

  python recipes/variants.py recipes/imbalanced_table.yaml class_weights=null
  python recipes/variants.py recipes/digits_paths.yaml path_dropout=0.0 --paths
  python recipes/variants.py recipes/mnist_backbone.yaml freeze_front=false --extremes

A seed decides initial weights and split alike. Scores are of the test rows, by the weights with the
lowest validation loss: means over the seeds, and 95 % intervals by Student's t, or the lowest
and the highest seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import yaml

from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.statistics import Interval, interval
from hybridlit.analysis.trainings import BestWeights, fit_to_the_best
from hybridlit.recipe import build, changed, read_recipe
from hybridlit.words import piped


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, help="a YAML file")
    parser.add_argument("variants", nargs="*", help="arguments of the model, such as gate=gated")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each, at least 2")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--paths", action="store_true", help="test without each path as well")
    parser.add_argument("--extremes", action="store_true", help="lowest and highest, no intervals")
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("give at least 2 seeds")
    found: dict[str, list[dict[str, float]]] = {"as it is": [], **{v: [] for v in options.variants}}
    for seed in range(options.seeds):
        for variant, runs in found.items():
            changes = [] if variant == "as it is" else variant.split()
            runs.append(scores(options.recipe, changes, seed, options.epochs, options.paths))
            shown = ", ".join(f"{name} {score:.4f}" for name, score in runs[-1].items())
            print(f"{options.recipe.stem}  seed {seed}  {variant}: {shown}", flush=True)
    print("\n" + table(found, extremes if options.extremes else interval))


def scores(
    recipe: Path, changes: list[str], seed: int, epochs: int | None = None, paths: bool = False
) -> dict[str, float]:
    """Train a recipe and test its best weights, and if asked for without each of its paths."""
    pairs = (change.partition("=") for change in changes)
    given = {f"model.{name}": yaml.safe_load(value) for name, _, value in pairs}
    given |= {} if epochs is None else {"trainer.max_epochs": epochs}
    settings = changed(read_recipe(recipe), given)
    model, data, trainer = build(settings, seed, callbacks=[BestWeights("val/loss")])
    fit_to_the_best(trainer, model, data)
    with lightning_silenced():
        (metrics,) = trainer.test(model, data, verbose=False)
        names = [*model.test_metrics.keys(keep_base=True), "loss"]
        main, found = names[0], {name: metrics[f"test/{name}"] for name in names}
        for name in model.paths.names if paths else ():
            with model.without(name):
                (metrics,) = trainer.test(model, data, verbose=False)
            found[f"without {name}"] = metrics[f"test/{main}"]
    return found


def extremes(values: list[float]) -> Interval:
    """Return the mean with the lowest and the highest value."""
    return Interval(sum(values) / len(values), min(values), max(values))


def table(
    found: dict[str, list[dict[str, float]]], summed: Callable[[list[float]], Interval] = interval
) -> str:
    """Return means over the seeds, and differences to the recipe as it is, in Markdown."""
    ours, rows = found["as it is"], []
    names = list(ours[0])
    for variant, runs in found.items():
        cells = [_shown(summed([run[name] for run in runs]), "") for name in names]
        pairs = [run[names[0]] - own[names[0]] for run, own in zip(runs, ours, strict=True)]
        rows.append([variant, *cells, "" if runs is ours else _shown(summed(pairs), "+")])
    return piped(["model", *names, f"{names[0]} beyond the recipe"], rows)


def _shown(found: Interval, sign: str) -> str:
    return f"{found.mean:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


if __name__ == "__main__":
    main()
