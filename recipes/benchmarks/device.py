"""A photonic layer's step on an accelerator beside the same on one core of its machine.

    python recipes/benchmarks/device.py                 # on what torch.accelerator offers
    python recipes/benchmarks/device.py --device cpu    # a rehearsal of it without an accelerator

Equal first: outputs and gradients in float64 (where the device has it) and in float32 agree with
the compiled kernel's before anything is timed. On CUDA the step is also recorded as a graph, which
has no launches to wait for. Writes ``device.json``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from timing import circumstances, median_ms, rounded
from torch import Tensor

from hybridlit.photonics import Noise, QuantumLayer
from hybridlit.photonics.kernels.choice import use_kernel

RESULTS = Path(__file__).parent / "results"
POINTS = ["6,3,64", "8,4,64", "8,4,4096", "10,5,1024", "12,6,256", "16,8,8"]
POINTS += ["8,4,16,noise", "8,4,1024,noise"]
NOISE = Noise(transmittance=0.3, indistinguishability=0.92)
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3}
"""Of the norm of a difference over that of what the CPU finds."""

Step = Callable[[], list[Tensor]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", help="instead of what torch.accelerator offers")
    parser.add_argument("--points", nargs="+", default=POINTS, metavar="M,N,BATCH[,noise]")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--min-seconds", type=float, default=0.05, help="least length of a run")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    offered = torch.accelerator.current_accelerator(check_available=True)
    if given.device is None and offered is None:
        print("torch.accelerator offers no device here; --device cpu is a rehearsal without one")
        return 1
    device = torch.device(given.device) if given.device is not None else offered
    assert device is not None
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    found: dict[str, Any] = {
        "command": shlex.join(["python", "recipes/benchmarks/device.py", *arguments]),
        "device": name if device.type != "cpu" else "none: a rehearsal by torch operations",
        "noise": NOISE.plain(),
        **circumstances(),
        "rows": [],
    }
    for point in given.points:
        row = measured(point, device, given.repeats, given.min_seconds)
        found["rows"].append(row)
        print(" ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "device.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measured(point: str, device: torch.device, repeats: int, min_seconds: float) -> dict[str, Any]:
    """Forward and backward of one size on both, in milliseconds, behind the comparison."""
    *sizes, kind = point.split(",") if point.endswith("noise") else [*point.split(","), ""]
    modes, photons, batch = map(int, sizes)
    noise = NOISE if kind else None
    row: dict[str, Any] = {"point": point}
    for dtype, tolerance in TOLERANCES.items():
        if dtype == torch.float64 and device.type == "mps":
            continue  # which has none
        here, there = (
            QuantumLayer(
                modes - 1, n_modes=modes, n_photons=photons, noise=noise, device=place, dtype=dtype
            )
            for place in ("cpu", device)
        )
        there.load_state_dict(here.state_dict())
        x = torch.rand(batch, modes - 1, dtype=dtype)
        weights = torch.rand(batch, here.output_size, dtype=dtype)
        core, other = step_of(here, x, weights), step_of(there, x.to(device), weights.to(device))
        row[f"differ_{str(dtype)[6:]}"] = apart = difference(core(), elsewhere(other, device)())
        if not apart <= tolerance:  # NaN is not
            raise AssertionError(f"{point}: {device} is {apart:.1e} from the CPU in {dtype}")
    times = {"core": core, "device": waited_for(elsewhere(other, device), device)}
    if device.type == "cuda":
        times["device_graph"] = recorded(there, x.to(device), weights.to(device))
    for name, step in times.items():
        taken = median_ms(step, repeats=repeats, min_seconds=min_seconds)
        row[f"{name}_ms"] = float(rounded(taken).replace(",", ""))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        other()
        row["device_peak_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return row


def step_of(layer: QuantumLayer, x: Tensor, weights: Tensor) -> Step:
    """Return a step, which gives outputs and gradients of the phases and the features."""
    rows = x.detach().clone().requires_grad_()

    def step() -> list[Tensor]:
        outputs = layer(rows)
        gradients = torch.autograd.grad((outputs * weights).sum(), [layer.phases, rows])
        return [outputs.detach(), *gradients]

    return step


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest relative difference of tensors, on the CPU."""
    pairs = zip(ours, (each.cpu() for each in theirs), strict=True)
    found = torch.stack([(a - b).norm() / a.norm() for a, b in pairs])
    return float(found.max())  # NaN if one is, which Python's may pass over


def elsewhere(step: Step, device: torch.device) -> Step:
    """Return a step as it would run on an accelerator, if it is for the CPU."""

    def taken() -> list[Tensor]:
        with use_kernel("torch") if device.type == "cpu" else nullcontext():
            return step()

    return taken


def waited_for(step: Step, device: torch.device) -> Callable[[], None]:
    """Return a step that ends when the device has done it."""

    def taken() -> None:
        step()
        if device.type != "cpu":
            torch.accelerator.synchronize()

    return taken


def recorded(layer: QuantumLayer, x: Tensor, weights: Tensor) -> Callable[[], None]:
    """Return the step recorded once as a CUDA graph."""
    step, side = step_of(layer, x, weights), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = step()

    def replayed(kept: list[Tensor] = kept) -> None:
        graph.replay()
        torch.cuda.synchronize()

    return replayed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
