"""How much memory light of imperfect photons takes, and the refusal of what cannot fit."""

from __future__ import annotations

import torch

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.choice import serves_any
from hybridlit.photonics.kernels.compiled import layout
from hybridlit.photonics.kernels.compiled.light import Table
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.noise.compiled import light_refuses
from hybridlit.photonics.noise.detected import DetectedOutcomes
from hybridlit.photonics.noise.program import Program
from hybridlit.photonics.noise.steps import table_for
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.sizes import (
    selection_bytes,
    states_up_to,
    table_bytes,
    transition_bytes,
)
from hybridlit.words import in_bytes, in_digits

__all__ = [
    "light_bytes",
    "light_scratch",
    "light_tables",
    "light_work",
    "require_light_memory",
    "shown_bytes",
]


def light_work(program: Program) -> tuple[int, int]:
    """Return the real multiply-adds for one sample, and the bytes of a tile's values.

    Args:
        program: What to do.
    """
    table = table_for(program, program.behind_photons)
    return table.multiply_adds, 64 * table.places


def light_bytes(program: Program, batch: int, dtype: torch.dtype, kernel: str) -> int:
    """Return the memory of light and its gradient at the peak of a forward and backward pass.

    Args:
        program: What to do; where it begins with ideal photons, beside their simulation.
        batch: Samples of all circuits.
        dtype: Real dtype.
        kernel: `"compiled"`, which has a tile's values and their gradient for each thread, or
            `"torch"`, which keeps values of every sample. Of that three quarters of the products
            and twice the terms of the largest sum were found, within a factor of 2.

    Returns:
        Bytes above what was in use before, without those of phases and interferometers.
    """
    table = table_for(program, program.behind_photons)
    item = torch.finfo(dtype).bits // 8
    light = 2 * batch * program.light.size * item
    columns = 4 * batch * table.columns * table.modes * item
    if kernel == "torch":
        numbers = 3 * table.multiply_adds // 4 + 2 * _most_terms(table, program.space)
        whole = FockSpace(table.modes, table.photons, program.space)
        return columns + batch * item * numbers + transition_bytes(whole, item)
    tiles = -(-batch // (64 // item))
    workers = min(torch.get_num_threads(), max(1, tiles))
    return light + columns + light_tables(program) + workers * light_scratch(program, dtype)


def light_tables(program: Program) -> int:
    """Return the bytes of the compiled kernel's tables, which all layers of a program share.

    Args:
        program: What to do.
    """
    table = table_for(program, program.behind_photons)
    space = FockSpace(table.modes, table.photons, program.space)
    return table_bytes(space) + 8 * (0 if table.unbunched else states_up_to(space))


def light_scratch(program: Program, dtype: torch.dtype) -> int:
    """Return the compiled kernel's bytes for each thread on the way back, where it takes most.

    Args:
        program: What to do.
        dtype: Real dtype.
    """
    item = torch.finfo(dtype).bits // 8
    return item * table_for(program, program.behind_photons).scratch(item, backward=True)


def _most_terms(table: Table, kind: ComputationSpace) -> int:
    """Return how many real numbers the terms of the largest sum are, for one sample."""
    most, parts = 0, {layout.PHOTON: 2, layout.HIT: 1, layout.LOSE: 1}
    for step, number in {(row[layout.STEP], row[layout.NUMBER]) for row in table.steps.tolist()}:
        if step in parts:
            below = FockSpace(table.modes, number - (step != layout.LOSE), kind)
            most = max(most, parts[step] * table.modes * below.size)
    return most


def shown_bytes(outcomes: Outcomes, batch: int, dtype: torch.dtype) -> int:
    """Return the memory that detectors take beside the light that arrives at them.

    Args:
        outcomes: What they show.
        batch: Samples of all circuits.
        dtype: Real dtype.
    """
    if not isinstance(outcomes, DetectedOutcomes):
        return 0
    found = 0
    if outcomes.selected or outcomes.detection.detectors is not None:
        found += selection_bytes(outcomes.size, batch, dtype)
    detection = outcomes.detection
    if detection.by_mode:  # of each mode and each number of photons that it can lose, a product
        products = detection.light.modes * (2 * detection.light.most + 1)
        numbers = products * detection.arrived.size * batch
        found += numbers * torch.finfo(dtype).bits // 8
    return found


def require_light_memory(program: Program, batch: int, like: torch.Tensor) -> None:
    """Refuse light that cannot fit into the memory of this machine.

    Args:
        program: What to do.
        batch: Samples of all circuits.
        like: A tensor of the device and real dtype; only the CPU's memory is known beforehand.

    Raises:
        MemoryError: With the estimate and what to do.
    """
    if not like.is_cpu:
        return
    refused = light_refuses(program, "cpu", like.dtype) is not None
    kernel = "torch" if refused or not serves_any(like) else "compiled"
    free, needed = available_memory(), light_bytes(program, batch, like.dtype, kernel)
    if needed <= free:
        return
    fitting = batch
    while fitting and light_bytes(program, fitting, like.dtype, kernel) > free:
        fitting //= 2
    advice = [f"a batch of {fitting}"] if fitting else []
    advice.append("fewer photons")
    if program.light.most > len(program.photons):
        advice.append("no g2")
    if program.alike == "some":
        advice.append("an indistinguishability of 1 or 0")
    raise MemoryError(
        f"light of {in_digits(program.light.size)} states, {program.light.least} to "
        f"{program.light.most} photons in {program.modes} modes: a batch of {batch} needs about "
        f"{in_bytes(needed)} of the {in_bytes(free)} free; use {', or '.join(advice)}"
    )
