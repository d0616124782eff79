"""Digits trained on ideal light and trained under noise and shots, each tested under both.

    OMP_NUM_THREADS=1 python recipes/noise.py [seeds]       # 5 seeds take some five minutes

Weights are those of the best validation, which each training sees as it trains. Seeds were not
chosen. The noise is that of `digits_noisy.yaml`, without errors of phases.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from hybridlit import Noise, under_noise
from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.splits import batches_of, prepared
from hybridlit.analysis.statistics import interval
from hybridlit.recipe import read_recipe, train
from hybridlit.recipe.training import Trained
from hybridlit.words import piped

RECIPES = Path(__file__).parent
TRAINED = {"ideal light": "digits_sequential", "noise, 100 events": "digits_noisy"}
NOISE = Noise(transmittance=0.06, indistinguishability=0.9, g2=0.019)
CONDITIONS: dict[str, tuple[Noise | None, int | None]] = {
    "ideal light": (None, None),
    "noise": (NOISE, None),
    "noise, 1,000 events": (NOISE, 1000),
    "noise, 100 events": (NOISE, 100),
    "noise, 10 events": (NOISE, 10),
}
"""What models are tested under: noise, and how many events of each row are kept."""


def tested(trained: Trained) -> Iterator[float]:
    """Yield the accuracy on the test rows under each of the conditions."""
    measure = Measure(trained.model)
    with prepared(trained.data):
        test = batches_of(trained.data, "test")
        for noise, shots in CONDITIONS.values():
            torch.manual_seed(0)
            with under_noise(trained.model, noise) as layers:
                for layer in layers.values():
                    layer.shots = shots
                yield measure(trained.model, test).mean


def main(seeds: int = 5) -> None:
    """Train and test each of `TRAINED` with some seeds, and print the table."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    found: dict[str, list[list[float]]] = {name: [] for name in TRAINED}
    for seed in range(seeds):
        for name, recipe in TRAINED.items():
            settings = read_recipe(RECIPES / f"{recipe}.yaml")
            trained = train(settings, seed, enable_progress_bar=False, logger=False)
            found[name].append(list(tested(trained)))
            print(f"seed {seed}, trained on {name}: {found[name][-1]}", flush=True)
    scores = {name: np.array(each) for name, each in found.items()}
    rows = []
    for name, each in scores.items():
        means, spreads = each.mean(0), each.std(0, ddof=1)
        cells = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(means, spreads, strict=True)]
        rows.append([name, *cells])
    ideal, noisy = scores.values()
    gains = [interval(list(gain)) for gain in (noisy - ideal).T]
    gained = [f"{each.mean:+.3f} ({each.low:+.3f} to {each.high:+.3f})" for each in gains]
    rows.append(["the second less the first", *gained])
    print(piped(["trained on", *CONDITIONS], rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
