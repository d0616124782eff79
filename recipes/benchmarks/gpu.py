"""A photonic layer's step on a GPU beside the same on one core of its machine.

python recipes/benchmarks/gpu.py

Equal first: probabilities and gradients of both agree before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import circumstances, median_ms, rounded

from hybridlit.photonics import Noise, QuantumLayer

HERE = Path(__file__).parent
POINTS = [(6, 3, 64), (8, 4, 64), (8, 4, 4096), (10, 5, 1024), (12, 6, 256), (16, 8, 8)]
NOISE = Noise(transmittance=0.3, indistinguishability=0.92)
NOISY = [(8, 4, 16), (8, 4, 1024)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.json")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("there is no GPU")
        return 1
    torch.set_num_threads(1)
    rows = [measured(point, None, given.repeats) for point in POINTS]
    rows += [measured(point, NOISE, given.repeats) for point in NOISY]
    found = {
        "command": "python recipes/benchmarks/gpu.py",
        "gpu": torch.cuda.get_device_name(),
        "noise": NOISE.plain(),
        **circumstances(),
        "rows": rows,
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    for row in rows:
        print(row)
    return 0


def measured(point: tuple[int, int, int], noise: Noise | None, repeats: int) -> dict[str, Any]:
    """Forward and backward of one size on both, in milliseconds."""
    modes, photons, batch = point
    layer = QuantumLayer(modes - 1, None, n_modes=modes, n_photons=photons, noise=noise)
    other = QuantumLayer(
        modes - 1, None, n_modes=modes, n_photons=photons, noise=noise, device="cuda"
    )
    other.load_state_dict(layer.state_dict())
    x = torch.rand(batch, modes - 1)
    weights = torch.rand(batch, layer.output_size)
    steps, values = [], []
    for each, place in ((layer, "cpu"), (other, "cuda")):
        step = _step(each, x.to(place), weights.to(place))
        step()
        values.append([each(x.to(place)).detach().cpu(), each.phases.grad.cpu()])
        steps.append(step)
    for one, another in zip(*values, strict=True):
        apart = float((one - another).norm() / one.norm())
        if apart > 1e-3:
            raise AssertionError(f"{point}: the GPU is {apart:.1e} from the CPU")
    core, gpu = (median_ms(step, repeats=repeats, min_seconds=0.05) for step in steps)
    graph = median_ms(
        _graph(other, x.to("cuda"), weights.to("cuda")), repeats=repeats, min_seconds=0.05
    )
    torch.cuda.reset_peak_memory_stats()
    steps[1]()
    return {
        "point": list(point),
        "noise": noise is not None,
        "core_ms": float(rounded(core).replace(",", "")),
        "gpu_ms": float(rounded(gpu).replace(",", "")),
        "gpu_graph_ms": float(rounded(graph).replace(",", "")),
        "ratio": float(rounded(core / gpu).replace(",", "")),
        "ratio_graph": float(rounded(core / graph).replace(",", "")),
        "gpu_peak_mib": torch.cuda.max_memory_allocated() // 2**20,
    }


def _step(layer: QuantumLayer, x: torch.Tensor, weights: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        layer.zero_grad(set_to_none=True)
        (layer(x) * weights).sum().backward()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def _graph(layer: QuantumLayer, x: torch.Tensor, weights: torch.Tensor) -> Callable[[], None]:
    """The same step recorded once as a CUDA graph, which has no launches to wait for."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            layer.zero_grad(set_to_none=True)
            (layer(x) * weights).sum().backward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    layer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        (layer(x) * weights).sum().backward()

    def step() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    sys.exit(main())
