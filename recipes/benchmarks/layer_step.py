"""A training step of one layer, where nothing else runs and where other work runs in between.

    python recipes/benchmarks/layer_step.py                       # against Linear-ReLU-Linear
    git worktree add ../before COMMIT
    python recipes/benchmarks/layer_step.py --before ../before    # and against another commit

A step is forward and backward of `QuantumLayer(5, 3, n_modes=6, n_photons=3)` on a batch of 64, and
of two `nn.Linear` with as many values between them as the circuit has outcomes. Layers of both
source trees are in this process and have the same parameters; outputs and gradients are compared
before anything is timed. Steps take turns, on one thread, by the CPU time of the process:

- hot: steps in a row;
- after another net's step: a convolution, a batch norm and AdamW have run in between, as other
  modules do in training;
- after a sweep: 48 MB have been written in between.

Writes ``layer_step.json``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from timing import circumstances, run, threads
from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results"
FEATURES, OUTPUTS, BATCH, CIRCUIT = 5, 3, 64, {"n_modes": 6, "n_photons": 3}
CONDITIONS = ("hot", "after another net's step", "after a sweep")
Step = Callable[[], object]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="root of another source tree of hybridlit")
    parser.add_argument("--rounds", type=int, default=300, help="of all steps in turns")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with threads(1):
        nets = {
            "now": importlib.import_module("hybridlit").QuantumLayer(FEATURES, OUTPUTS, **CIRCUIT)
        }
        if options.before is not None:
            with imported_from(options.before) as before:
                nets["before"] = before.QuantumLayer(FEATURES, OUTPUTS, **CIRCUIT)
                nets["before"].load_state_dict(nets["now"].state_dict())
        rows, slope = torch.rand(BATCH, FEATURES), torch.rand(BATCH, OUTPUTS)
        steps = {name: step_of(net, rows, slope) for name, net in nets.items()}
        for name in nets:
            require_equal(nets["now"], nets[name], steps["now"], steps[name], rows)
        width = nets["now"].outcomes.size
        classical = nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, OUTPUTS))
        steps["linear-relu-linear"] = step_of(classical, rows, slope)
        content = {
            "command": command(options.before is not None),
            **circumstances(),
            "conditions": summary(measured(steps, options.rounds)),
        }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "layer_step.json").write_text(json.dumps(content, indent=2) + "\n")
    print(table(content), end="")
    return 0


@contextmanager
def imported_from(root: Path) -> Iterator[Any]:
    """Import the package of another source tree beside that of this process.

    torch has one library of operators of a name; those of the other tree are not registered, which
    steps of layers make no use of.
    """
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if is_ours(name)}
    nothing = {name: mock.MagicMock() for name in ("Library", "register_fake", "register_autograd")}
    sys.path.insert(0, str(root.resolve()))
    try:
        with mock.patch.multiple(torch.library, **nothing):
            other = importlib.import_module("hybridlit")
            if not Path(str(other.__file__)).is_relative_to(root.resolve()):
                raise ValueError(f"--before must hold a folder hybridlit, got {root}")
            yield other
            # What a layer imports late is imported now, as long as it is that of the other tree.
            layer = other.QuantumLayer(FEATURES, OUTPUTS, **CIRCUIT)
            layer(torch.rand(BATCH, FEATURES)).sum().backward()
    finally:
        sys.path.remove(str(root.resolve()))
        for name in filter(is_ours, list(sys.modules)):
            del sys.modules[name]
        sys.modules.update(ours)


def is_ours(module: str) -> bool:
    """Return whether a module belongs to the package."""
    return module.partition(".")[0] == "hybridlit"


def step_of(net: nn.Module, rows: Tensor, slope: Tensor) -> Step:
    """Return a step of a net, with gradients of its parameters that are not there yet."""
    parameters = list(net.parameters())

    def step() -> None:
        for parameter in parameters:
            parameter.grad = None
        net(rows).backward(slope)

    return step


def require_equal(ours: nn.Module, other: nn.Module, *steps_and_rows: Any) -> None:
    """Raise unless two nets have the same outputs and gradients but for rounding errors."""
    *steps, rows = steps_and_rows
    for step in steps:
        step()
    pairs = [(ours(rows), other(rows))]
    pairs += [(a.grad, b.grad) for a, b in zip(ours.parameters(), other.parameters(), strict=True)]
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def measured(steps: dict[str, Step], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the milliseconds of each step in each condition, one for each round."""
    other, swept = another_net(), torch.zeros(12 * 2**20)
    found: dict[str, dict[str, list[float]]] = {
        condition: {name: [] for name in steps} for condition in CONDITIONS
    }
    names = list(steps)
    for step in steps.values():
        run(step, 30)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            step = steps[name]
            run(step, 2)
            found["hot"][name].append(run(step, 20, time.process_time))
            other()
            found["after another net's step"][name].append(run(step, 1, time.process_time))
            swept.add_(1)
            found["after a sweep"][name].append(run(step, 1, time.process_time))
    return found


def another_net() -> Step:
    """Return a step of a net that has nothing in common with those that are timed."""
    net = nn.Sequential(
        nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.GELU(), nn.Flatten(), nn.Linear(8 * 14, 10)
    )
    optimizer = torch.optim.AdamW(net.parameters())
    x, classes = torch.rand(64, 4, 16), torch.randint(0, 10, (64,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), classes).backward()
        optimizer.step()

    return step


def summary(found: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, Any]]:
    """Return medians, and those of the ratios of this tree's steps to others of their round."""
    return {
        condition: {
            name: {
                "ms": statistics.median(taken),
                "ratio": statistics.median(
                    ours / other for ours, other in zip(times["now"], taken, strict=True)
                ),
            }
            for name, taken in times.items()
        }
        for condition, times in found.items()
    }


def command(before: bool) -> str:
    """Return what was run."""
    return "python recipes/benchmarks/layer_step.py" + (" --before ../before" if before else "")


def table(content: dict[str, Any]) -> str:
    """Return the results as a table in Markdown."""
    conditions = content["conditions"]
    others = [name for name in conditions[CONDITIONS[0]] if name != "now"]
    heads = ["", "now, us", *(f"{name}, us | now / {name}" for name in others)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * (2 + 2 * len(others)) + "|"]
    for condition, results in conditions.items():
        cells = [condition, f"{1e3 * results['now']['ms']:.0f}"]
        for name in others:
            cells += [f"{1e3 * results[name]['ms']:.0f}", f"**{results[name]['ratio']:.2f}**"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
