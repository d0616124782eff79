"""Do sets cover as promised, are probabilities honest, and which rows are doubted?

    OMP_NUM_THREADS=1 python recipes/uncertainty.py              # all of it, some minutes
    OMP_NUM_THREADS=1 python recipes/uncertainty.py coverage     # or temperature, or doubts

Models and data are those of recipes, with more test rows. Seeds were not chosen.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import betabinom
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc

from hybridlit import Calibration, HybridModule, calibrate, uncertainty
from hybridlit.recipe import build, changed, read_recipe
from hybridlit.templates.predictions.calibration import conformal_scores
from hybridlit.templates.predictions.uncertainty import UNCERTAINTIES, disagreement, variants

RECIPES = Path(__file__).parent
COVERAGE, SPLITS, SEEDS = 0.9, 200, 5


def trained(name: str, seed: int, data: dict[str, Any], **model: Any) -> tuple[HybridModule, Any]:
    """Train a recipe to its last epoch, data and model a little changed, split as the data say."""
    changes = {f"data.{key}": value for key, value in data.items()}
    changes |= {f"model.{key}": value for key, value in model.items()}
    settings = read_recipe(RECIPES / f"{name}.yaml")
    made, rows, trainer = build(changed(settings, changes | {"seed_everything": seed}))
    trainer.fit(made, rows)
    return made.eval(), rows


def coverage() -> None:
    """Split the held-out rows 200 times in halves: one to calibrate by, the other to count."""
    print(f"| recipe | rows of a half | promised | covered, {SPLITS} splits | error | in range |")
    print("|---|---|---|---|---|---|")
    for name in ("digits_sequential", "breast_cancer_residual", "diabetes_residual"):
        model, data = trained(name, 0, {"val_fraction": 0.1, "test_fraction": 0.5})
        inputs, targets = data.test
        with torch.no_grad():
            predictions = model.calibrated(model(inputs))
        prepared = model.in_units(model.prepare_targets(predictions, targets))
        scores = conformal_scores(model, predictions, prepared)
        half = len(scores) // 2
        found = []
        for seed in range(SPLITS):
            order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
            one, other = scores[order[:half]], scores[order[half:]]
            bounds = Calibration(None, one.sort(0).values).quantiles(COVERAGE)
            found.append(float((other <= bounds).double().mean()))
        rank = int(np.ceil((half + 1) * COVERAGE))
        promised = rank / (half + 1)
        # of so many other rows, that is the distribution of the number that is covered
        rows = len(scores) - half
        low, high = betabinom(rows, rank, half + 1 - rank).ppf([0.025, 0.975]) / rows
        inside = np.mean([low <= share <= high for share in found])
        error = np.std(found, ddof=1) / np.sqrt(SPLITS)
        print(
            f"| `{name}` | {half} | {promised:.4f} | {np.mean(found):.4f} | {error:.4f} "
            f"| {inside:.1%} of splits within {low:.3f} to {high:.3f} |",
            flush=True,
        )


def temperature(names: Sequence[str] = ("mnist_cnn_sequential", "digits_sequential")) -> None:
    """Expected calibration error of test rows, before and after, of five seeds and splits."""
    seeds = " | ".join(f"seed {seed}" for seed in range(SEEDS))
    print(f"| recipe | {seeds} | lower in | log loss lower in |")
    print("|---" * (SEEDS + 3) + "|")
    for name in names:
        cells, lower, likelier = [], 0, 0
        for seed in range(SEEDS):
            model, data = trained(name, seed, {"seed": seed, "test_fraction": 0.5})
            calibrate(model, data)
            found = uncertainty(model, data).calibration_error
            assert found is not None and model.calibration is not None
            before, after = found
            cells.append(f"{before:.4f} -> {after:.4f} (T {model.calibration.temperature:.2f})")
            lower += after < before
            likelier += _log_loss(model, data, 1.0) > _log_loss(
                model, data, model.calibration.temperature
            )
        counts = f"{lower} of {SEEDS} | {likelier} of {SEEDS}"
        print(f"| `{name}` | {' | '.join(cells)} | {counts} |", flush=True)


def _log_loss(model: HybridModule, data: Any, temperature: float) -> float:
    inputs, targets = data.test
    with torch.no_grad():
        return float(F.cross_entropy(model(inputs) / temperature, targets))


def doubts() -> None:
    """Which rows are wrong: by probability, paths, passes, and seeds."""
    models = []
    for seed in range(SEEDS):
        split = {"test_fraction": 0.5}
        model, data = trained("digits_rows_gru", seed, split, path_dropout=0.2, dropout=0.2)
        models.append(model)
    found = uncertainty(models[0], data)
    print(found.to_markdown())
    inputs, targets = data.test
    with torch.no_grad():
        every = torch.stack([model.predictions(model(inputs)) for model in models])
        for name in UNCERTAINTIES:
            others = []
            for way in variants(models[0], name, 20):
                with way():
                    others.append(models[0].predictions(models[0](inputs)).double())
            shares = torch.stack(others)
            information = _entropy(shares.mean(0)) - _entropy(shares).mean(0)
            wrong = every[0].argmax(1) != targets
            area = float(binary_auroc(information / np.log(10), wrong.int()))
            print(f"Mutual information of label and {name}: AUROC of errors {area:.3f}")
    mean, apart = every.mean(0), disagreement(models[0], every, every.mean(0))[:, 0]
    wrong = (mean.argmax(1) != targets).double()
    kept = [
        float(wrong[apart.argsort()[: round(share * len(wrong))]].mean())
        for share in (1, 0.9, 0.8, 0.5)
    ]
    area = float(binary_auroc(apart.float().clamp(max=1.0), wrong.int()))
    cells = " | ".join(f"{risk:.3f}" for risk in kept)
    print(f"| {SEEDS} seeds, their mean | {cells} | {area:.3f} |")


def _entropy(shares: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(shares).sum(-1)


PARTS = {"coverage": coverage, "temperature": temperature, "doubts": doubts}


def main(names: Sequence[str]) -> None:
    """Measure some of `PARTS`, or all."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for name in names or PARTS:
        print(f"\n{name}: {PARTS[name].__doc__}\n", flush=True)
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
