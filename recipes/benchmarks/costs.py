"""Costs as they are estimated against what training steps take, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["BUDGETS", "MODELS", "UNITS", "largest_within", "measured", "models"]

MODELS: list[tuple[str, dict[str, Any], int]] = [
    # template, arguments beside 64 inputs and 10 classes, rows
    ("SequentialHybrid", dict(quantum_dim=7, n_modes=8, n_photons=3), 64),
    ("SequentialHybrid", dict(quantum_dim=7, n_modes=12, n_photons=6), 256),
    ("SequentialHybrid", dict(quantum_dim=7, n_modes=14, n_photons=6, checkpoint_quantum=True), 64),
    ("SequentialHybrid", dict(quantum_dim=7, quantum="mlp", hidden_dim=2048, head_dim=2048), 512),
    ("SequentialHybrid", dict(quantum_dim=7, front="cnn", input_shape=[1, 8, 8]), 256),
    ("SequentialHybrid", dict(quantum_dim=7, front="gru", input_shape=[8, 8]), 256),
    ("ParallelHybrid", dict(hidden_dims=[512, 256], fusion="attention", path_dropout=0.1), 256),
    ("ResidualHybrid", dict(n_modes=16, n_photons=8, computation_space="unbunched"), 64),
    ("ParallelBankHybrid", dict(n_layers=3, quantum_dim=6, n_modes=10, n_photons=4), 64),
]

BUDGETS = ["30MiB", "200MiB", "800MiB", "2ms", "20ms", "200ms"]
"""What the largest circuit is asked for."""

UNITS = ("mib", "ms")
"""What is measured: memory and time."""


def models(units: Sequence[str] = UNITS) -> dict[str, Any]:
    """What ``model.cost()`` says against what a training step takes, one thread."""
    points = []
    for kind, arguments, rows in MODELS:
        found = measured(kind, {"input_dim": 64, "output_dim": 10, **arguments}, rows, units)
        words = ", ".join(f"{name}={value}" for name, value in arguments.items())
        points.append({"point": [kind, words, rows], **found})
    return {"points": points, **_worst(points, units)}


def largest_within(
    budgets: Sequence[str] = BUDGETS, units: Sequence[str] = UNITS
) -> dict[str, Any]:
    """The largest circuit within each budget, and the next larger one, one thread.

    Args:
        budgets: Memory or time, of one of the units.
        units: What is measured.
    """
    from hybridlit.photonics import Budget, Experiment

    points = []
    for text in budgets:
        budget = Budget.parse(text)
        limits = {"mib": budget.memory and budget.memory / 2**20}
        limits["ms"] = budget.seconds and 1e3 * budget.seconds
        [(unit, limit)] = ((unit, limit) for unit, limit in limits.items() if limit)
        chosen = Experiment.largest(budget, batch_size=64).n_modes
        for modes in (chosen, chosen + 1):
            circuit = {"n_modes": modes, "n_photons": modes // 2, "circuit_type": "series"}
            found = measured("Experiment", circuit, 64, units)
            role = "largest" if modes == chosen else "next"
            share = found[f"measured_{unit}"] / limit
            point = [text, role, f"{modes} modes, {modes // 2} photons", f"{share:.2f} of it"]
            points.append({"point": point, "share": share, **found})
    fits = [point["share"] for point in points[::2]]
    over = [point["share"] for point in points[1::2]]
    worst = _worst(points, units)
    return {"points": points, "most_of_budget": max(fits), "least_of_next": min(over), **worst}


def measured(
    kind: str, arguments: dict[str, Any], rows: int, units: Sequence[str] = UNITS
) -> dict[str, float]:
    """Run steps of a template, or of the probabilities of an ``Experiment``, in a fresh process.

    Returns:
        ``predicted_mib`` and ``measured_mib`` (how far resident memory rises over what it was after
        a small model had trained), ``predicted_ms`` and ``measured_ms`` (the median of steps, of
        the processor's time).
    """
    found: dict[str, float] = {}
    # memory that goes back at once is told exactly, and slows steps down: each in its own process
    for unit in units:
        more = {"MALLOC_MMAP_THRESHOLD_": "65536"} if unit == "mib" else {}
        numbers = _in_a_process({"kind": kind, "arguments": arguments, "rows": rows}, more)
        found |= {name: value for name, value in numbers.items() if name.endswith(unit)}
    return found


def _in_a_process(given: dict[str, Any], more: dict[str, str]) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, json.dumps(given)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


_MEASURE = """
import ctypes, json, os, statistics, sys, time
if "MALLOC_MMAP_THRESHOLD_" in os.environ:  # huge pages would count where a few bytes are in use
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
import torch
from pathlib import Path
import hybridlit
from hybridlit.photonics.cost import estimate

torch.set_num_threads(1)
of_memory = "MALLOC_MMAP_THRESHOLD_" in os.environ
given = json.loads(sys.argv[1])
kind, arguments, rows = given["kind"], given["arguments"], given["rows"]

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))

def layer_steps(arguments, rows):
    circuit = hybridlit.Experiment(**arguments)
    features = circuit.n_modes - 1
    layer = hybridlit.QuantumLayer(features, experiment=circuit, output_mapping_strategy="none")
    x, gradient = torch.rand(rows, features), torch.ones(rows, layer.output_size)
    def step():
        layer(x).backward(gradient)
    return step, lambda: estimate(circuit, features, rows)

def model_steps(arguments, rows):
    model = getattr(hybridlit, kind)(**arguments)
    optimizer = model.make_optimizer()
    x, y = torch.randn(rows, 64), torch.arange(rows) % 10
    def step():
        optimizer.zero_grad()
        model.loss(model(x), y).backward()
        optimizer.step()
    return step, lambda: model.cost(rows)

def run(arguments, rows, times):
    of_layer = kind == "Experiment"
    step, predict = (layer_steps if of_layer else model_steps)(arguments, rows)
    taken = []
    while len(taken) < times or (not of_memory and len(taken) < 40 and sum(taken) < 1):
        start = time.thread_time()
        step()
        taken.append(time.thread_time() - start)
    return taken, predict

small = {"n_modes": 4, "n_photons": 2}
same = ("computation_space", "front", "input_shape", "input_dim", "output_dim", "quantum_dim")
small |= {name: arguments[name] for name in (*same, "circuit_type") if name in arguments}
run(small, 8, 2)
ctypes.CDLL(None).malloc_trim(0)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
taken, predict = run(arguments, rows, 3 if of_memory else 5)
bytes_taken = resident("VmHWM") - before
predicted = predict()
print(json.dumps({
    "predicted_mib": predicted.peak_bytes / 2**20, "measured_mib": bytes_taken / 2**20,
    "predicted_ms": 1e3 * predicted.seconds, "measured_ms": 1e3 * statistics.median(taken[2:])}))
"""


def _worst(found: list[dict[str, Any]], units: Sequence[str]) -> dict[str, float]:
    """The largest factor between what is predicted and measured, either way round."""

    def factor(each: dict[str, Any], unit: str) -> float:
        ratio = float(each[f"predicted_{unit}"] / each[f"measured_{unit}"])
        return max(ratio, 1 / ratio)

    return {f"worst_{unit}": max(factor(each, unit) for each in found) for unit in units}
