"""How much of a core's arithmetic and memory bandwidth the amplitude recursion achieves.

    python recipes/benchmarks/roofline.py

Measures the peak of fused multiply-adds in float32 in two ways, the memory bandwidth, and
the kernel of hybridlit's amplitude recursion alone. Writes ``roofline.json`` and ``roofline.png``.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from circuit import Point, task
from figures import draw_roofline
from timing import circumstances, median_ms, run, threads

from hybridlit.photonics.amplitudes import occupied_modes
from hybridlit.photonics.kernels.compiled.parts import Amplitudes
from hybridlit.photonics.kernels.compiled.plans import plan_for

RESULTS = Path(__file__).parent / "results"

# Real operations for each complex multiply-add of the recursion: 4 multiplications and 4 additions
# forward; the backward adds the gradient of the state below and that of the unitary.
FLOPS = {"forward": 8, "forward+backward": 24}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the machine and the recursion.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        Exit status 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with threads(1):
        peak = {"torch.mm": matrix_product_gflops(options.matrix)}
        try:
            peak["numba"] = multiply_add_gflops(options.repeats)
        except ImportError:
            print("numba: absent; the peak is that of torch.mm alone")
        bandwidth = copy_gbytes(options.megabytes)
        result: dict[str, Any] = {
            "command": shlex.join(["python", "recipes/benchmarks/roofline.py", *arguments]),
            "dtype": "float32 / complex64",
            **circumstances(),
            "peak_gflops": peak,
            "copy_gbytes_per_s": bandwidth,
            "recursion": [
                measure(Point.parse(text), options.repeats, max(peak.values()), bandwidth)
                for text in options.points
            ],
        }
    for method, value in peak.items():
        print(f"peak in float32, one core, by {method}: {value:.1f} GFLOP/s")
    print(f"copying: {bandwidth:.1f} GB/s, read and written")
    for entry in result["recursion"]:
        point = Point(entry["modes"], entry["photons"], entry["batch"])
        for direction in FLOPS:
            part = entry[direction]
            print(
                f"recursion {point} {direction}: {part['ms']:.3f} ms, "
                f"{part['gflops']:.1f} GFLOP/s = {part['share_of_peak']:.1%} of the peak; "
                f"bound by {part['bound']}, {part['share_of_bound']:.1%} of that"
            )
    (options.out / "roofline.json").write_text(json.dumps(result, indent=1) + "\n")
    draw_roofline(options.out)
    return 0


def measure(point: Point, repeats: int, peak: float, bandwidth: float) -> dict[str, Any]:
    """Time the recursion's compiled kernel at a point and compare it with the machine's bounds.

    The kernel is called as the operator calls it, on tensors that lie ready: no autograd, no
    copies. Its backward pass computes the states again, which is not counted as work done.

    Args:
        point: the sizes.
        repeats: number of runs.
        peak: in GFLOP/s.
        bandwidth: in GB/s.

    Returns:
        Times and shares, for JSON.
    """
    layer, x, _ = task(point)
    occupied = tuple(occupied_modes(layer.input_state))
    with torch.no_grad():
        columns = layer.unitary(x)[..., occupied].permute(1, 2, 0)
    planes = torch.stack([columns.real, columns.imag])
    kernel = Amplitudes(
        plan_for(point.modes, occupied, layer.fock_space.unbunched, True), planes.element_size()
    )
    result_planes = torch.empty(2, point.batch, layer.output_size)
    gradient, column_gradient = torch.randn_like(result_planes), torch.empty_like(planes)

    def forward() -> None:
        kernel.forward(planes.data_ptr(), result_planes.data_ptr(), point.batch)

    def both() -> None:
        forward()
        kernel.backward(
            planes.data_ptr(), gradient.data_ptr(), column_gradient.data_ptr(), point.batch
        )

    # What has to cross memory at least: the occupied columns of the unitaries and the amplitudes,
    # and the gradients of both.
    least_bytes = planes.element_size() * (planes.numel() + gradient.numel())
    products = multiply_adds(point) * point.batch
    result: dict[str, Any] = {
        "modes": point.modes,
        "photons": point.photons,
        "batch": point.batch,
        "multiply_adds_per_sample": multiply_adds(point),
    }
    for direction, call in (("forward", forward), ("forward+backward", both)):
        milliseconds = median_ms(call, repeats=repeats, min_seconds=0.02)
        flops = FLOPS[direction] * products
        moved = least_bytes * (1 if direction == "forward" else 2)
        gflops = 1e-6 * flops / milliseconds
        bounds = {"arithmetic": peak, "memory": bandwidth * flops / moved}
        bound = min(bounds, key=bounds.__getitem__)
        result[direction] = {
            "ms": milliseconds,
            "flops": flops,
            "least_bytes": moved,
            "gflops": gflops,
            "share_of_peak": gflops / peak,
            "bound": bound,
            "share_of_bound": gflops / bounds[bound],
        }
    return result


def multiply_adds(point: Point) -> int:
    """Return the complex multiply-adds of the recursion in Fock space for one sample.

    Each of the D_k states of k < n photons goes to m states of one photon more.
    """
    below = sum(math.comb(point.modes + k - 1, k) for k in range(point.photons))
    return point.modes * below


def matrix_product_gflops(size: int) -> float:
    """Return the best rate of a float32 matrix product by torch."""
    a, b = torch.rand(2, size, size)
    out = torch.empty(size, size)
    best = min(run(lambda: torch.mm(a, b, out=out), 1) for _ in range(12))
    return 2e-6 * size**3 / best


def multiply_add_gflops(repeats: int) -> float:
    """Return the best rate of independent multiply-adds that stay in registers, by numba."""
    from numba import njit

    @njit(fastmath=True)
    def polynomials(x: np.ndarray, out: np.ndarray, factor: float, sweeps: int) -> None:
        for _ in range(sweeps):
            for i in range(len(x)):
                a, b, c, d = x[i], x[i] + factor, x[i] - factor, x[i] * factor
                for _ in range(_DEGREE):
                    a = a * a + factor
                    b = b * b + factor
                    c = c * c + factor
                    d = d * d + factor
                out[i] = a + b + c + d

    x, out = np.full((2, 1024), 0.1, dtype=np.float32)
    sweeps = 2000
    polynomials(x, out, np.float32(0.1), sweeps)
    best = min(
        run(lambda: polynomials(x, out, np.float32(0.1), sweeps), 1) for _ in range(4 * repeats)
    )
    return 1e-6 * sweeps * len(x) * 4 * _DEGREE * 2 / best


_DEGREE = 8  # small enough to be unrolled, without which nothing is vectorised


def copy_gbytes(megabytes: int) -> float:
    """Return the best rate of copying an array that no cache holds; reading and writing count."""
    source = torch.rand(megabytes * 2**18)
    target = torch.empty_like(source)
    best = min(run(lambda: target.copy_(source), 1) for _ in range(10))
    return 2e-6 * source.nbytes / best


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Roofline of the amplitude recursion, one core.")
    parser.add_argument("--points", nargs="+", default=["12,6,64"], help="modes,photons,batch ...")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--matrix", type=int, default=1024, help="size of the matrix product")
    parser.add_argument("--megabytes", type=int, default=256, help="size of the array copied")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
