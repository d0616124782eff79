"""The time of an epoch of a recipe: as it is, with other layers in it, and in a bare loop.

    python recipes/benchmarks/training.py

- as it is: by Lightning, with the recipe's Trainer, validation and metrics;
- bare loop: the same model, data and optimizer, training and validation without Lightning, logs and
  metrics;
- MLP twin: a classical layer of as many parameters in place of the photonic one;
- MerLin: its layer with the same circuit, phases and readout in place of ours, where MerLin is
  installed and has the circuit; outputs are compared before anything is timed.

Arms take turns, on one thread, by the CPU time of the process; an epoch is the median of all but
the first. Writes ``training.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from peers import MerLin, merlin_layer
from timing import circumstances, threads
from torch import Tensor, nn

from hybridlit.analysis.ablation.arms import apply_arm, observed_widths
from hybridlit.components import mark_photonic, photonic_modules
from hybridlit.photonics import QuantumLayer
from hybridlit.recipe.building import Built, build
from hybridlit.recipe.reading import read_recipe

HERE = Path(__file__).parent
RECIPES = ["iris_sequential", "wine_parallel", "digits_sequential", "digits_bank"]
ARMS = ("as it is", "bare loop", "MLP twin", "MerLin")


class MerLinLayer(nn.Module):
    """MerLin's circuit in front of the readout of one of our layers."""

    def __init__(self, layer: QuantumLayer) -> None:
        super().__init__()
        self.circuit, _ = merlin_layer(layer)
        self.readout, self.bandwidth = layer.readout, layer.bandwidth
        states = np.array([tuple(key) for key in self.circuit.output_keys])
        order = np.argsort(layer.fock_space.rank(states))
        self.register_buffer("order", torch.from_numpy(order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer of ours would."""
        radians = math.pi * x if self.bandwidth is None else math.pi * x * self.bandwidth
        result: Tensor = self.readout(self.circuit(radians)[:, self.order])
        return result


class Clock(Callback):
    """Notes the CPU time at which epochs begin, and the end."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note that an epoch begins."""
        self.seen.append(time.process_time())

    def on_fit_end(self, *_: Any) -> None:
        """Note the end."""
        self.seen.append(time.process_time())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--rounds", type=int, default=3, help="of all arms in turns")
    parser.add_argument("--epochs", type=int, default=6, help="of each round, at least 2")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    known = find_spec("merlin") is not None
    with threads(1):
        found: dict[str, Any] = {
            "command": shlex.join(["python", "recipes/benchmarks/training.py", *arguments]),
            **circumstances("lightning", *(MerLin.distributions if known else ())),
            "recipes": {},
        }
        for recipe in options.recipes:
            taken = measured(recipe, options.rounds, options.epochs, known)
            found["recipes"][recipe] = taken
            for arm, seconds in taken.items():
                print(f"{recipe:20} {arm:10} {1e3 * seconds:8.1f} ms an epoch", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "training.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measured(recipe: str, rounds: int, epochs: int, merlin: bool) -> dict[str, float]:
    """Return the seconds of an epoch of each arm that there is."""
    settings = read_recipe(HERE.parent / f"{recipe}.yaml")
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for arm in ARMS:
            clock = Clock()
            built = build(settings, 0, callbacks=[clock], max_epochs=epochs)
            if arm == "MLP twin":
                make_classical(built)
            elif arm == "MerLin" and not (merlin and put_merlin(built)):
                continue
            times = bare(built, epochs) if arm == "bare loop" else fitted(built, clock)
            lasted = [after - before for before, after in pairwise(times)]
            seconds.setdefault(arm, []).extend(lasted[1:])
    return {arm: statistics.median(taken) for arm, taken in seconds.items()}


def fitted(built: Built, clock: Clock) -> list[float]:
    """Train by Lightning."""
    built.trainer.fit(built.model, built.data)
    return clock.seen


def bare(built: Built, epochs: int) -> list[float]:
    """Train in a loop of torch, and validate."""
    model, data, _ = built
    data.prepare_data()
    data.setup("fit")
    optimizer = model.make_optimizer()

    def loss_of(batch: Any) -> Tensor:
        inputs, targets = model.unpack(batch)
        outputs = model(inputs)
        return model.loss_of(batch, outputs, model.prepare_targets(outputs, targets))

    seen = []
    for _ in range(epochs):
        seen.append(time.process_time())
        model.train()
        for batch in data.train_dataloader():
            optimizer.zero_grad()
            loss_of(batch).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for batch in data.val_dataloader():
                loss_of(batch)
    return [*seen, time.process_time()]


def make_classical(built: Built) -> None:
    """Put a classical layer of about as many parameters in the place of each photonic one."""
    model, data, _ = built
    data.prepare_data()
    data.setup("fit")
    (inputs, *_) = next(iter(data.train_dataloader()))
    run: Callable[[], object] = lambda: model(inputs)  # noqa: E731
    apply_arm(model, "mlp", observed_widths(model, run))


def put_merlin(built: Built) -> bool:
    """Put MerLin's layer in the place of ours, if it is one of the circuits that both have."""
    layers = photonic_modules(built.model)
    for name, layer in layers.items():
        experiment = getattr(layer, "experiment", None)
        if (
            type(layer) is not QuantumLayer
            or experiment.circuit_name != "series"
            or layer.input_size != experiment.n_modes - 1
        ):
            return False
        other = MerLinLayer(layer)
        rows = torch.rand(8, layer.input_size)
        torch.testing.assert_close(other(rows), layer(rows), rtol=1e-3, atol=1e-3)
        built.model.set_submodule(name, mark_photonic(other))
    return bool(layers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
