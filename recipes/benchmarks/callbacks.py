"""What the callbacks cost: the digits recipe with and without them, in turns.

    python recipes/benchmarks/callbacks.py            # all together, and each alone
    python recipes/benchmarks/callbacks.py --together --recipe recipes/mnist_cnn_sequential.yaml

A run is the training of a recipe with TensorBoard; the callbacks are those of
`recipes/digits_callbacks.yaml` as they stand there. Without `HybridCheckpoint`, Lightning saves a
checkpoint of every epoch, as it does by default; ``--without-checkpoints`` leaves checkpoints out
of every arm. Writes ``callbacks_<recipe>.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from lightning.pytorch import LightningDataModule
from timing import circumstances

from hybridlit import HybridModule
from hybridlit.cli.training import HybridCLI

HERE = Path(__file__).parent
RECIPE = HERE.parent / "digits_sequential.yaml"
CALLBACKS = HERE.parent / "digits_callbacks.yaml"
RESULTS = HERE / "results"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="what is trained")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each arm")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--together", action="store_true", help="leave out each alone")
    parser.add_argument(
        "--without-checkpoints", action="store_true", help="no checkpoints in any arm"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    callbacks = {
        callback["class_path"].rpartition(".")[2]: callback
        for callback in yaml.safe_load(CALLBACKS.read_text())["trainer"]["callbacks"]
    }
    kept = not options.without_checkpoints
    if not kept:
        del callbacks["HybridCheckpoint"]
    arms: dict[str, list[Any]] = {"none": [], "all": list(callbacks.values())}
    if not options.together:
        arms |= {name: [callback] for name, callback in callbacks.items()}
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for chosen in (arms["none"], arms["all"]):
        train(options.recipe, chosen, 2, kept)  # kernels and modules loaded, files cached
    for repeat in range(options.repeats):
        for arm, chosen in arms.items():
            seconds[arm].append(train(options.recipe, chosen, options.epochs, kept))
            print(f"{repeat + 1} of {options.repeats}  {arm:32} {seconds[arm][-1]:.2f} s")
    results = {arm: summary(taken, seconds["none"]) for arm, taken in seconds.items()}
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"circumstances": circumstances("lightning"), "arms": results}
    ending = "" if kept else "_without_checkpoints"
    path = options.out / f"callbacks_{options.recipe.stem}{ending}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    print("\n" + table(results), end="")


def train(recipe: Path, callbacks: list[Any], epochs: int | None, checkpoints: bool) -> float:
    """Return the seconds of one fit."""
    with TemporaryDirectory() as folder:
        cli = HybridCLI(
            HybridModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            run=False,
            args=[
                f"--config={recipe}",
                f"--trainer.callbacks={json.dumps(callbacks)}",
                f"--trainer.default_root_dir={folder}",
                "--trainer.logger.class_path=lightning.pytorch.loggers.TensorBoardLogger",
                f"--trainer.logger.init_args.save_dir={folder}",
                "--trainer.enable_progress_bar=false",
                "--trainer.enable_model_summary=false",
                f"--trainer.enable_checkpointing={str(checkpoints).lower()}",
                *([] if epochs is None else [f"--trainer.max_epochs={epochs}"]),
            ],
        )
        start = time.perf_counter()
        cli.trainer.fit(cli.model, cli.datamodule)
        return time.perf_counter() - start


def summary(taken: list[float], bare: list[float]) -> dict[str, Any]:
    """Return seconds and the share that came on top of the bare run of the same round."""
    shares = [with_it / without - 1 for with_it, without in zip(taken, bare, strict=True)]
    return {
        "seconds": statistics.median(taken),
        "cost": statistics.median(shares),
        "costs": shares,
        "runs": taken,
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| callbacks | seconds | on top | from ... to |", "|---|---|---|---|"]
    for arm, result in results.items():
        low, high = min(result["costs"]), max(result["costs"])
        spread = "" if arm == "none" else f"{low:+.1%} ... {high:+.1%}"
        share = "" if arm == "none" else f"{result['cost']:+.1%}"
        lines.append(f"| {arm} | {result['seconds']:.2f} | {share} | {spread} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
