"""Does the photonic layer of a recipe help? Runs it against its twins, on equal terms.

  python recipes/compare.py recipes/wine_parallel.yaml --seeds 5
  python recipes/compare.py --all --seeds 5     # every recipe, and the table in recipes/README.md

Three arms share data, epochs and everything else that the recipe says:

  hybrid     the recipe
  classical  the photonic layer replaced by a classical block with as many parameters
  untrained  interferometers drawn at random and kept; all else trains

Where the recipe has two learning rates, each arm is trained with both as they are, with the
classical one for everything, and with the photonic one for everything, and the lowest validation
loss counts: a rate that suits the photonic layer need not suit its twin. No twin is called beaten
that was still improving, fast enough to catch up.

Beside them stands a support vector machine with scikit-learn's default settings.

A seed decides initial weights and split alike, so that arms are compared pair by pair. A score is
the test score of the checkpoint with the lowest validation loss.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.svm import SVC, SVR

from hybridlit import HybridModule, split_parameters
from hybridlit.analysis.ablation.evidence import may_catch_up
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.statistics import interval, verdict
from hybridlit.cli.training import HybridCLI

HERE = Path(__file__).parent
ARMS = {
    "hybrid": [],
    "classical": ["quantum=mlp"],
    "untrained": ["{circuit}reservoir_mode=true", "{circuit}use_bandwidth_tuning=false"],
}
"""Arguments of the model that differ from the recipe, by arm."""

MARGIN = 0.01  # of accuracy or R2: what is surely less than this is called neutral
BEGIN, END = "<!-- compare.py --all writes from here -->", "<!-- to here -->"


@dataclass(frozen=True)
class Run:
    """What one training run gave; parameters are those that train."""

    metric: str
    score: float
    seconds: float
    epochs: int
    parameters: int
    photonic_parameters: int
    test_per_train: float
    rates: str
    histories: tuple[tuple[float, ...], ...]


class Validations(Callback):
    """Keeps every validation loss."""

    def __init__(self):
        self.history = []

    def on_validation_end(self, trainer, pl_module):
        """Note the loss of a validation."""
        if not trainer.sanity_checking:
            self.history.append(trainer.callback_metrics["val/loss"].item())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", type=Path, nargs="*", help="YAML files")
    parser.add_argument("--all", action="store_true", help="every recipe, and the README's table")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm, at least 2")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for every arm")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "compare")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    options = parser.parse_args(arguments)
    recipes = models() if options.all else options.recipes
    if not recipes or options.seeds < 2:
        parser.error("give recipes or --all, and at least 2 seeds")

    text = options.readme.read_text() if options.all else ""
    if options.all and not (BEGIN in text and END in text):
        parser.error(
            f"{options.readme} lacks the lines between which the table goes: {BEGIN} {END}"
        )

    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for recipe in recipes:
        results.append(compare(recipe, options.seeds, options.epochs))
        stem = options.out / recipe.stem
        stem.with_suffix(".json").write_text(json.dumps(results[-1], indent=2) + "\n")
        stem.with_suffix(".md").write_text(table(results[-1:]))
    print("\n" + table(results), end="")
    if options.all:
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        options.readme.write_text(f"{before}{BEGIN}\n{table(results)}{END}{after}")


def models() -> list[Path]:
    """Return the recipes that are there for their model, and not for callbacks or for images."""
    texts = {path: path.read_text() for path in sorted(HERE.glob("*.yaml"))}
    others = ("callbacks:", "ImageFolderDataModule")
    return [path for path, text in texts.items() if not any(each in text for each in others)]


def compare(recipe: Path, seeds: int, epochs: int | None = None) -> dict[str, Any]:
    """Run all arms of a recipe with seeds 0, 1, ... and return everything that is to be known."""
    runs: dict[str, list[Run]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):  # seeds outside: whatever else the machine does hits all arms alike
        for arm in ARMS:
            run = best_of_rates(recipe, arm, seed, epochs)
            runs[arm].append(run)
            done = sum(map(len, runs.values()))
            print(
                f"{recipe.stem}  {done:2} of {seeds * len(ARMS)}  seed {seed}  {arm:9}"
                f"  {run.metric} {run.score:.4f}  {run.seconds:.1f} s",
                flush=True,
            )
    machines = [support_vectors(recipe, seed) for seed in range(seeds)]
    scores = {arm: [run.score for run in runs[arm]] for arm in ARMS}
    first = runs["hybrid"][0]
    differences = {}
    for arm in ("classical", "untrained"):
        pairs = zip(scores["hybrid"], scores[arm], strict=True)
        difference = interval([ours - theirs for ours, theirs in pairs], first.test_per_train)
        word, loser = verdict(difference, MARGIN), {"helps": arm, "hurts": "hybrid"}
        if word in loser:
            rival = {arm: "hybrid", "hybrid": arm}[loser[word]]
            both = zip(runs[loser[word]], runs[rival], strict=True)
            improving = sum(may_catch_up(one.histories, other.histories) for one, other in both)
            word = "inconclusive" if 2 * improving >= seeds else word
        differences[arm] = {**asdict(difference), "verdict": word}
    return {
        "recipe": recipe.stem,
        "metric": first.metric,
        "epochs": first.epochs,
        "test_per_train": first.test_per_train,
        "margin": MARGIN,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "arms": {
            arm: {
                "scores": scores[arm],
                **asdict(interval(scores[arm])),
                "parameters": runs[arm][0].parameters,
                "photonic_parameters": runs[arm][0].photonic_parameters,
                "seconds": median(run.seconds for run in runs[arm]),
                "rates": [run.rates for run in runs[arm]],
            }
            for arm in ARMS
        },
        "hybrid_minus": differences,
        "svm": {"scores": machines, **asdict(interval(machines))},
    }


def best_of_rates(recipe: Path, arm: str, seed: int, epochs: int | None = None) -> Run:
    """Train one arm with one seed at every pair of rates, and keep the best by validation."""
    with lightning_silenced():
        given = _build(recipe, arm, seed).model.hparams  # defaults of the template included
    classical, photonic = given["classical_lr"], given["quantum_lr"]
    tried = {"own": (classical, photonic)}
    if classical != photonic:
        tried |= {"classical": (classical, classical), "photonic": (photonic, photonic)}
        if arm != "hybrid":  # no photonic parameter is trained: its own are the classical ones
            del tried["own"]
    runs = [train(recipe, arm, seed, epochs, name, pair) for name, pair in tried.items()]
    best = min(runs, key=lambda run: min(run.histories[0]))
    return replace(best, histories=tuple(run.histories[0] for run in runs))


def train(
    recipe: Path,
    arm: str,
    seed: int,
    epochs: int | None = None,
    rates: str = "own",
    pair: tuple[float, float] | None = None,
) -> Run:
    """Train one arm with one seed, at a pair of rates if given, and test its best checkpoint."""
    with TemporaryDirectory() as folder, lightning_silenced():
        best, validations = ModelCheckpoint(folder, monitor="val/loss"), Validations()
        cli = _build(recipe, arm, seed, epochs, best, validations, rates=pair)
        model, data, trainer = cli.model, cli.datamodule, cli.trainer
        start = time.process_time()  # of the processor: other programs must not count
        trainer.fit(model, data)
        seconds = time.process_time() - start
        (metrics,) = trainer.test(model, data, ckpt_path=best.best_model_path, verbose=False)
    metric = model.task.score
    counts = {
        kind: sum(p.numel() for p in parameters.values() if p.requires_grad)
        for kind, parameters in split_parameters(model).items()
    }
    return Run(
        metric=metric,
        score=metrics[f"test/{metric}"],
        seconds=seconds,
        epochs=trainer.current_epoch,
        parameters=sum(counts.values()),
        photonic_parameters=counts["photonic"],
        test_per_train=len(data.test[0]) / len(data.train[0]),
        rates=rates,
        histories=(tuple(validations.history),),
    )


def support_vectors(recipe: Path, seed: int) -> float:
    """Score a support vector machine, settings untouched, on the same rows as all arms."""
    with lightning_silenced():
        data = _build(recipe, "hybrid", seed).datamodule
    (x, y), (test_x, test_y) = ((x.flatten(1), y) for x, y in (data.train, data.test))
    machine = SVR() if y.is_floating_point() else SVC()
    return float(machine.fit(x.numpy(), y.numpy()).score(test_x.numpy(), test_y.numpy()))


def table(results: list[dict[str, Any]]) -> str:
    """Return results as a table in Markdown."""
    lines = [
        "| recipe | score | hybrid | classical twin | untrained photons | SVM "
        "| hybrid - classical | hybrid - untrained | parameters | seconds a run |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        arms, differences = result["arms"], result["hybrid_minus"]
        cells = [
            f"`{result['recipe']}`",
            f"{result['metric']}, {len(arms['hybrid']['scores'])} seeds",
            *(_shown(arms[arm], ".3f") for arm in ARMS),
            _shown(result["svm"], ".3f"),
            *(f"{_shown(d, '+.3f')}: {d['verdict']}" for d in differences.values()),
            " / ".join(str(arms[arm]["parameters"]) for arm in ARMS),
            " / ".join(f"{arms[arm]['seconds']:.1f}" for arm in ARMS),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _build(
    recipe: Path,
    arm: str,
    seed: int,
    epochs: int | None = None,
    *callbacks: Callback,
    rates: tuple[float, float] | None = None,
) -> HybridCLI:
    """Build model, data and Trainer of an arm as the command line does, without running them."""
    model = yaml.safe_load(recipe.read_text(encoding="utf-8"))["model"]
    circuit = "experiment." if model["init_args"].get("experiment") else ""
    return HybridCLI(
        HybridModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        trainer_defaults={"callbacks": list(callbacks), "enable_model_summary": False},
        run=False,
        args=[
            f"--config={recipe}",
            f"--seed_everything={seed}",
            f"--data.init_args.seed={seed}",
            "--trainer.logger=false",
            "--trainer.enable_progress_bar=false",
            *([] if epochs is None else [f"--trainer.max_epochs={epochs}"]),
            *([] if rates is None else [f"--model.init_args.classical_lr={rates[0]}"]),
            *([] if rates is None else [f"--model.init_args.quantum_lr={rates[1]}"]),
            *(f"--model.init_args.{change.format(circuit=circuit)}" for change in ARMS[arm]),
        ],
    )


def _shown(values: dict[str, Any], digits: str) -> str:
    high = min(values["high"], 1.0)  # neither accuracy nor R2 goes beyond
    return f"{values['mean']:{digits}} ({values['low']:{digits}} to {high:{digits}})"


if __name__ == "__main__":
    main()
