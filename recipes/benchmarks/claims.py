"""Single numbers that no grid holds, each measured in a process of its own.

    python recipes/benchmarks/claims.py            # all of them
    python recipes/benchmarks/claims.py startup    # one of them; --help names all

Writes ``claims.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import costs
import turns
from timing import circumstances

RESULTS = Path(__file__).parent / "results"


def large() -> dict[str, Any]:
    """24 modes, 12 photons, batch 16, unbunched: 2.7 million states."""
    import torch

    from hybridlit.photonics import Experiment, QuantumLayer

    def step(layer: QuantumLayer, x: torch.Tensor) -> float:
        start = time.perf_counter()
        (layer(x) * weights).sum().backward()
        return time.perf_counter() - start

    small = Experiment("series", 4, 2, computation_space="unbunched")
    QuantumLayer(3, 2, experiment=small)(torch.rand(1, 3)).sum().backward()  # loads the kernel
    start = time.perf_counter()
    experiment = Experiment("series", 24, 12, computation_space="unbunched")
    layer = QuantumLayer(23, experiment=experiment, output_mapping_strategy="none")
    x = torch.rand(16, 23)
    with torch.no_grad():
        layer(x[:1])  # the tables of links are built at the first call
    built = time.perf_counter() - start
    weights = torch.rand(layer.output_size)
    first, *others = [step(layer, x) for _ in range(4)]
    return {
        "threads": torch.get_num_threads(),
        "states": layer.fock_space.size,
        "built_and_first_sample_s": built,
        "first_forward_backward_s": first,
        "forward_backward_s": statistics.median(others),
        "peak_rss_gib": _peak_resident() / 2**30,
    }


def modes() -> dict[str, Any]:
    """A training step of 200 modes and 100 photons with MODE_EXPECTATIONS."""
    import torch

    from hybridlit.photonics import Experiment, QuantumLayer

    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    for batch in (16, 64):
        experiment = Experiment("series", 200, 100)
        layer = QuantumLayer(
            199, experiment=experiment, output_mapping_strategy="mode_expectations"
        )
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
        x, target = torch.rand(batch, 199), torch.rand(batch, 200)
        taken = []
        for _ in range(15):
            start = time.perf_counter()
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(layer(x), target).backward()
            optimizer.step()
            taken.append(time.perf_counter() - start)
        found[f"step_ms_batch_{batch}"] = 1e3 * statistics.median(taken[3:])
    return found


def startup() -> dict[str, Any]:
    """Imports, and the first call with an empty and with a filled cache of machine code."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**_as_installed(), "HYBRIDLIT_CACHE_DIR": folder}
        cold = _run_python(_STARTUP, environment)
        warm = [_run_python(_STARTUP, environment) for _ in range(7)]
    return {
        "import_torch_s": statistics.median(run["torch"] for run in warm),
        "import_photonics_over_torch_s": statistics.median(run["photonics"] for run in warm),
        "first_forward_fresh_s": cold["forward"],
        "first_backward_fresh_s": cold["backward"],
        "first_forward_warm_s": statistics.median(run["forward"] for run in warm),
        "first_backward_warm_s": statistics.median(run["backward"] for run in warm),
    }


_STARTUP = """
import json, time
clock = time.perf_counter
start = clock(); import torch
between = clock(); import hybridlit.photonics as photonics
end = clock()
layer = photonics.QuantumLayer(5, 4, experiment=photonics.Experiment("series", 6, 3))
x = torch.rand(64, 5)
torch.nn.Linear(5, 4)(x).sum().backward()  # torch's own first call
before = clock(); output = layer(x)
middle = clock(); output.sum().backward()
after = clock()
print(json.dumps({"torch": between - start, "photonics": end - between,
                  "forward": middle - before, "backward": after - middle}))
"""


def start() -> dict[str, Any]:
    """CPU seconds of what begins a day, in turns: imports, ``--help``, ``fit`` of one step."""
    program = "from hybridlit.cli import main; main()"
    fit = ["fit", "--config", "iris_sequential", "--trainer.max_steps=1"]
    starts = {
        "import_torch": [sys.executable, "-c", "import torch"],
        "import_hybridlit": [sys.executable, "-c", "import hybridlit"],
        "help": [sys.executable, "-c", program, "--help"],
        "import_lightning": [sys.executable, "-c", "import lightning.pytorch"],
        "fit_of_one_step": [sys.executable, "-c", program, *fit],
    }
    taken: dict[str, list[float]] = {name: [] for name in starts}
    for turn in range(6):
        for name, command in starts.items():
            seconds = _cpu_seconds(command)
            if turn:  # the first one compiles
                taken[name].append(seconds)
    return {
        **{f"{name}_s": statistics.median(each) for name, each in taken.items()},
        "fit_over_import_lightning_s": statistics.median(
            fit - alone
            for fit, alone in zip(taken["fit_of_one_step"], taken["import_lightning"], strict=True)
        ),
    }


def _cpu_seconds(command: list[str]) -> float:
    """Seconds of processors that a command takes, in a folder of its own."""
    import resource

    def taken() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = taken()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, capture_output=True, check=True, cwd=folder, env=_as_installed())
    return taken() - before


def _as_installed() -> dict[str, str]:
    """The environment, where Python keeps its bytecode."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def estimate() -> dict[str, Any]:
    """What ``cost.estimate`` says against what a step takes, one thread, median of steps."""
    import torch

    from hybridlit.photonics import Experiment, QuantumLayer
    from hybridlit.photonics.cost import estimate as predict

    torch.set_num_threads(1)
    points = []
    for n_modes, photons, batch, space in _ESTIMATED:
        experiment = Experiment("series", n_modes, photons, computation_space=space)
        predicted = predict(experiment, n_modes - 1, batch).seconds
        layer = QuantumLayer(n_modes - 1, experiment=experiment, output_mapping_strategy="none")
        x, weights = torch.rand(batch, n_modes - 1), torch.rand(layer.output_size)
        taken = []
        for _ in range(9):
            start = time.perf_counter()
            (layer(x) * weights).sum().backward()
            taken.append(time.perf_counter() - start)
        measured = statistics.median(taken[2:])
        points.append(
            {
                "point": [n_modes, photons, batch, space],
                "predicted_ms": 1e3 * predicted,
                "measured_ms": 1e3 * measured,
                "ratio": predicted / measured,
            }
        )
    return {"points": points, "worst": max(max(p["ratio"], 1 / p["ratio"]) for p in points)}


_ESTIMATED = [
    (6, 3, 64, "fock"),
    (6, 3, 512, "fock"),
    (10, 5, 64, "fock"),
    (12, 6, 16, "fock"),
    (12, 6, 256, "fock"),
    (20, 3, 64, "fock"),
    (14, 7, 64, "fock"),
    (10, 5, 64, "unbunched"),
    (16, 8, 16, "unbunched"),
    (18, 9, 64, "unbunched"),
    (22, 11, 16, "unbunched"),
]


def bank() -> dict[str, Any]:
    """A step of ParallelBankHybrid: 4 layers against 1 at 4 modes, 2 photons, batch 64."""
    import torch
    from timing import alternate

    from hybridlit import ParallelBankHybrid

    torch.set_num_threads(1)

    def step_of(layers: int) -> Callable[[], object]:
        model = ParallelBankHybrid(
            8, 3, n_layers=layers, n_modes=4, n_photons=2, circuit_type="parallel"
        )
        optimizer = model.configure_optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer)
        x, y = torch.randn(64, 8), torch.arange(64) % 3

        def step() -> None:
            optimizer.zero_grad()
            model.loss(model(x), y).backward()
            optimizer.step()

        return step

    comparison = alternate(step_of(1), step_of(4), repeats=20, min_seconds=0.05)
    return {
        "one_ms": statistics.median(comparison.ours),
        "four_ms": statistics.median(comparison.peer),
        "ratio": statistics.median(comparison.ratios),
    }


def checkpoint() -> dict[str, Any]:
    """Peak memory of a step with and without ``checkpoint_quantum``, wide classical head."""
    found = {}
    for name, flag in (("without", False), ("with", True)):
        code = _CHECKPOINT.format(flag=flag)
        found[f"peak_mib_{name}"] = _run_python(code, dict(os.environ))["mib"]
    return found


_CHECKPOINT = """
import json, torch
from pathlib import Path
from hybridlit import SequentialHybrid

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what))) / 1024

def step(batch):
    model.loss(model(torch.randn(batch, 31)), torch.arange(batch) % 3).backward()

model = SequentialHybrid(
    31, 8, 3, circuit_type="parallel", n_modes=32, n_photons=8, hidden_dim=31, head_dim=8192,
    output_mapping_strategy="mode_expectations", checkpoint_quantum={flag})
step(8)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
step(2048)
print(json.dumps({{"mib": resident("VmHWM") - before}}))
"""


def rates() -> dict[str, Any]:
    """Lowest validation loss at the recipes' rates, the templates' own and those suggested."""
    import torch

    from hybridlit import find_learning_rates
    from hybridlit.analysis.silence import lightning_silenced
    from hybridlit.recipe import build, changed, read_recipe, train

    torch.set_num_threads(1)

    def lowest(settings: dict[str, Any], seed: int, rates: dict[str, float]) -> float:
        changes = {f"model.{name}": rate for name, rate in rates.items()}
        settings = changed(settings, changes | {"seed_everything": seed})
        return train(settings, test=False).training.lowest

    found: dict[str, Any] = {}
    for name in _TUNED:
        settings = read_recipe(Path(__file__).parents[1] / f"{name}.yaml")
        with lightning_silenced():
            model, data, _ = build(settings)
            result = find_learning_rates(model, data)
            given = {c.component: c.given for c in result.curves.values()}
            tried = {
                "recipe": {},
                "default": {"classical_lr": 3e-3, "quantum_lr": 1e-2},
                "suggested": result.suggestions,
            }
            losses = {
                which: statistics.mean(lowest(settings, seed, rates) for seed in range(5))
                for which, rates in tried.items()
            }
        found[name] = {"given": given, "suggested": result.suggestions, "losses": losses}
    return found


_TUNED = [
    "iris_sequential",
    "wine_parallel",
    "breast_cancer_residual",
    "diabetes_residual",
    "digits_sequential",
    "digits_bank",
]


CLAIMS: dict[str, Callable[[], dict[str, Any]]] = {
    "large": large,
    "modes": modes,
    "startup": startup,
    "start": start,
    "estimate": estimate,
    "cost": costs.models,
    "largest": costs.largest_within,
    "bank": bank,
    "checkpoint": checkpoint,
    "rates": rates,
    "curvature": turns.curvature,
    "wide": turns.wide,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure claims, each in a fresh process, and add them to ``claims.json``.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status 0.
    """
    parser = argparse.ArgumentParser(description="Single numbers, each in a process of its own.")
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(CLAIMS)}; all by default")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--here", action="store_true", help="measure one in this process, print it")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(CLAIMS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CLAIMS)}")
    names = options.names or list(CLAIMS)
    if options.here:
        print(json.dumps(CLAIMS[names[0]]()))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "claims.json"
    claims = json.loads(file.read_text()) if file.exists() else {}
    given = os.environ.get("OMP_NUM_THREADS")
    threads = "" if given is None else f"OMP_NUM_THREADS={given} "
    for name in names:
        command = [sys.executable, __file__, name, "--here"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        claims[name] = {
            "command": threads + shlex.join(["python", "recipes/benchmarks/claims.py", name]),
            "what": (CLAIMS[name].__doc__ or "").strip(),
            **circumstances(),
            "found": json.loads(run.stdout.splitlines()[-1]),
        }
        print(name, json.dumps(claims[name]["found"], indent=1), flush=True)
        file.write_text(json.dumps(claims, indent=1) + "\n")
    return 0


def _run_python(code: str, environment: dict[str, str]) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    found: dict[str, float] = json.loads(run.stdout)
    return found


def _peak_resident() -> int:
    """Bytes of resident memory at their highest, of this process."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    sys.exit(main())
