"""What is a missing input worth? Trains digits_multimodal.yaml, and the same on less or on more.

  python recipes/missing_inputs.py --seeds 5

A seed decides initial weights, split, and which rows lack what. Each model is tested on the same
rows four times: as they are (a third lacks the image or the table), with both, without the image,
and without the table. Shown are the mean over seeds and its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from arrays.make_digits import complete, lacking

from hybridlit.analysis.statistics import interval
from hybridlit.recipe import changed, read_recipe, train

HERE = Path(__file__).parent
ARMS: dict[str, dict[str, Any]] = {
    "recipe: a third of the training rows lacks one": {},
    "its classical twin": {"quantum": "mlp"},
    "both in every training row": {"whole": True},
    "image alone": {"whole": True, "inputs": ["image"]},
    "table alone": {"whole": True, "inputs": ["table"]},
}
TESTS = ["as it is", "both", "table only", "image only"]


def score(arm: dict[str, Any], seed: int, epochs: int | None = None) -> dict[str, float]:
    """Train an arm and return its accuracy on each form of the test rows that it can read."""
    rows = np.random.default_rng([seed, 1]).permutation(1797)  # not what `lacking` draws
    whole = complete()
    gaps = lacking(whole, seed)
    test, trained = rows[:360], rows[360:]
    given = whole if arm.get("whole") else gaps
    inputs = arm.get("inputs", ["image", "table"])
    changes: dict[str, Any] = {"model.quantum": arm.get("quantum", "photonic")}
    changes |= {"data.inputs": inputs, "data.val_fraction": 0.25, "data.test_fraction": 0.0}
    if len(inputs) == 1:
        changes |= {"model.path_inputs": None}
        if "image" not in inputs:
            changes |= {"model.front": None, "model.front_dim": None}
    if epochs is not None:
        changes |= {"trainer.max_epochs": epochs}
    with TemporaryDirectory() as folder:
        changes["data.arrays"] = f"{folder}/digits.npz"
        np.savez(changes["data.arrays"], **{name: array[trained] for name, array in given.items()})
        settings = changed(read_recipe(HERE / "digits_multimodal.yaml"), changes)
        model = train(settings, seed).model
    forms = {
        "as it is": {name: gaps[name][test] for name in inputs},
        "both": {name: whole[name][test] for name in inputs},
        "table only": {"table": whole["table"][test]},
        "image only": {"image": whole["image"][test]},
    }
    if len(inputs) == 1:
        forms = {f"{inputs[0]} only": forms[f"{inputs[0]} only"]}
    truth = whole["digit"][test]
    return {
        name: float(np.mean(np.equal(model.predict(form)["digit"], truth)))
        for name, form in forms.items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "missing_inputs.json")
    options = parser.parse_args(arguments)
    found = {
        name: [score(arm, seed, options.epochs) for seed in range(options.seeds)]
        for name, arm in ARMS.items()
    }
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    print(f"| trained on | {' | '.join(f'test: {name}' for name in TESTS)} |")
    print("|---" * (1 + len(TESTS)) + "|")
    for name, runs in found.items():
        cells = []
        for test in TESTS:
            values = [run[test] for run in runs if test in run]
            spread = interval(values) if len(values) > 1 else None
            bounds = f" ({spread.low:.3f} to {min(spread.high, 1):.3f})" if spread else ""
            cells.append(f"{mean(values):.3f}{bounds}" if values else "-")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
