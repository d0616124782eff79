"""Steps against one another, in turns in one process, by its CPU time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["curvature", "wide"]


def curvature() -> dict[str, Any]:
    """U'' and then backward of a layer of 6 modes, 3 photons and 200 samples, one core."""
    import torch

    from hybridlit.photonics import QuantumLayer
    from hybridlit.photonics.kernels.choice import use_kernel

    torch.set_num_threads(1)
    layer, x = QuantumLayer(5, 1, n_modes=6, n_photons=3), torch.rand(200, 5)

    def first() -> None:
        layer.zero_grad()
        layer(x).square().mean().backward()

    def second() -> None:
        layer.zero_grad()
        rows = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(layer(rows).sum(), rows, create_graph=True)
        (bent,) = torch.autograd.grad(slope[:, 0].sum(), rows, create_graph=True)
        bent[:, 0].square().mean().backward()

    def in_torch() -> None:
        with use_kernel("torch"):
            second()

    taken = _in_turns(
        {"first_order": (first, 20), "second_order": (second, 5), "in_torch": (in_torch, 2)}
    )
    return {
        **{f"{name}_ms": statistics.median(each) for name, each in taken.items()},
        "second_to_first_order": _ratio(taken["second_order"], taken["first_order"]),
        "in_torch_to_compiled": _ratio(taken["in_torch"], taken["second_order"]),
    }


def wide() -> dict[str, Any]:
    """Steps at 200 modes against 128 (2 photons, batch 16), at 4096 rows against 512, one core."""
    import torch

    from hybridlit.photonics import Experiment, QuantumLayer

    def step(modes: int, photons: int, rows: int) -> Callable[[], None]:
        experiment = Experiment("series", modes, photons)
        layer = QuantumLayer(modes - 1, experiment=experiment, output_mapping_strategy="none")
        x, gradient = torch.rand(rows, modes - 1), torch.rand(rows, layer.output_size)
        return lambda: layer(x).backward(gradient)

    torch.set_num_threads(1)
    taken: dict[str, list[float]] = {}
    for larger, smaller in _PAIRS:
        pair = {str(point): (step(*point), times) for point, times in (larger, smaller)}
        taken |= _in_turns(pair)
    return {
        **{f"{name}_ms": statistics.median(each) for name, each in taken.items()},
        **{
            f"{larger}_to_{smaller}": _ratio(taken[str(larger)], taken[str(smaller)])
            for (larger, _), (smaller, _) in _PAIRS
        },
    }


_PAIRS = [
    # modes, photons, batch, and steps at a time, of a larger and a smaller step
    (((200, 2, 16), 5), ((128, 2, 16), 10)),
    (((6, 3, 4096), 10), ((6, 3, 512), 80)),
    (((20, 2, 4096), 2), ((20, 2, 512), 16)),
]


def _in_turns(steps: dict[str, tuple[Callable[[], None], int]]) -> dict[str, list[float]]:
    """Milliseconds of CPU of steps, so many at a time, alternately."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(21):
        for name, (step, times) in steps.items():
            start = time.process_time()
            for _ in range(times):
                step()
            if turn:  # the first one compiles
                taken[name].append(1e3 * (time.process_time() - start) / times)
    return taken


def _ratio(some: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(some, others, strict=True))
