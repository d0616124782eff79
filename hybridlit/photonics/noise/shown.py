"""What detectors show of each state that arrives, and which of it is kept: the tables."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.noise.detectors import shown
from hybridlit.photonics.noise.light import Light
from hybridlit.photonics.postselection import parsed
from hybridlit.photonics.tables import on_device
from hybridlit.words import in_bytes, in_digits

__all__ = [
    "Detection",
    "Table",
    "kept_by",
    "photons_in",
    "photons_shown",
    "places",
    "positions",
    "raised_by",
    "table_of",
]


class Detection(NamedTuple):
    """How light is detected.

    Attributes:
        light: What reaches the detectors, before modes lose photons on their own.
        by_mode: Whether each mode loses photons on its own.
        detectors: Names, one a mode; None: all resolve photon numbers.
        least: Photons that are shown together, at least.
        space: `"unbunched"` keeps what shows at most one photon a mode.
        rule: What else is kept; None: all.
    """

    light: Light
    by_mode: bool
    detectors: tuple[str, ...] | None
    least: int
    space: ComputationSpace
    rule: str | None

    @property
    def arrived(self) -> Light:
        """What the detectors absorb."""
        light = self.light
        return Light(light.modes, light.most, 0, light.space) if self.by_mode else light


class Table(NamedTuple):
    """What is shown: outcomes, and from which states with which probability.

    Attributes:
        states: Photons shown in each mode by each outcome, shape (outcomes, modes).
        sources: The states that arrive, one for each term.
        targets: The outcome of each term; empty where each term is an outcome of its own.
        shares: The probability that its state is shown as its outcome; empty as well.
        selected: Whether something is dropped.
        kept: How much of 0, 1, ... photons is kept, on average over random interferometers.
    """

    states: npt.NDArray[np.signedinteger[Any]]
    sources: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float64]
    selected: bool
    kept: tuple[float, ...]


@lru_cache(maxsize=16)
def table_of(detection: Detection) -> Table:
    """Return what is shown and kept.

    Args:
        detection: How light is detected.

    Raises:
        MemoryError: If there are too many states to look at each.
        ValueError: If fewer than two outcomes are kept.
    """
    arrived = detection.arrived
    needed, free = 24 * arrived.modes * arrived.size, available_memory()
    if needed > free:
        raise MemoryError(
            f"{in_digits(arrived.size)} states of {arrived.least} to {arrived.most} photons in "
            f"{arrived.modes} modes take {in_bytes(needed)} of the {in_bytes(free)} free to say "
            "what detectors show of them; use fewer modes or photons"
        )
    states = arrived.states.astype(np.int64)
    sources, shares = np.arange(len(states)), np.ones(len(states))
    if detection.detectors is not None:
        for mode, name in enumerate(detection.detectors):
            chance = shown(name, arrived.most)
            if ((chance == 0) | (chance == 1)).all():  # as a threshold detector
                states[:, mode] = chance.argmax(0)[states[:, mode]]
                continue
            which, clicks = np.nonzero(chance.T[states[:, mode]])
            shares = shares[which] * chance[clicks, states[which, mode]]
            states, sources = states[which], sources[which]
            states[:, mode] = clicks
    keep = states.sum(1) >= detection.least
    if detection.space is ComputationSpace.UNBUNCHED:
        keep &= (states <= 1).all(1)
    if detection.rule is not None:
        keep &= parsed(detection.rule).keeps(states)
    squarefree = arrived.space is ComputationSpace.UNBUNCHED  # where others were never followed
    selected = squarefree or not keep.all()
    states, sources, shares = states[keep], sources[keep], shares[keep]
    numbers = arrived.states.sum(1)[sources]
    each = np.bincount(numbers, shares, minlength=arrived.most + 1)
    kept = tuple(
        float(chance) / math.comb(arrived.modes + number - 1, number)
        for number, chance in enumerate(each)
    )
    if detection.detectors is None:
        outcomes, targets = states, np.empty(0, np.int64)  # light has them in their order
    else:
        outcomes, targets = _distinct(states)
    if len(outcomes) < 2:
        found = f"{(*outcomes[0].tolist(),)} alone" if len(outcomes) else "nothing"
        raise ValueError(
            f"{kept_by(detection)} must keep two outcomes or more, got {found} of "
            f"{arrived.most} photons at most in {arrived.modes} modes, so that no feature reaches "
            "the output"
        )
    small = outcomes.astype(np.int16)
    small.setflags(write=False)
    if detection.detectors is None:
        shares = np.empty(0)
    return Table(small, sources, targets, shares, selected, kept)


def _distinct(
    states: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the different states, those of the most photons first, and which one each is.

    Each number of photons has its states in descending lexicographic order.
    """
    numbers, base = states.sum(1), int(states.max(initial=0)) + 1
    span = base ** states.shape[1]
    largest = (int(numbers.max(initial=0)) + 1) * span
    if largest >= 2**63:  # rows are sorted more slowly than numbers
        keys = np.column_stack([numbers, states])
        _, first, which = np.unique(-keys, axis=0, return_index=True, return_inverse=True)
        return states[first], which.reshape(-1)
    keys = numbers * span + states @ (np.int64(base) ** np.arange(states.shape[1])[::-1])
    if largest > 4 * len(states) + 2**16:
        _, first, which = np.unique(-keys, return_index=True, return_inverse=True)
        return states[first], which
    one = np.full(largest, -1)  # a place for every key: nothing to sort
    one[keys] = np.arange(len(keys))
    found = np.flatnonzero(one >= 0)[::-1]
    place = np.empty(largest, dtype=np.int64)
    place[found] = np.arange(len(found))
    return states[one[found]], place[keys]


def kept_by(detection: Detection) -> str:
    """Return what says which outcomes there are, for messages."""
    names = detection.detectors
    given = {
        "min_detected_photons": detection.least or None,
        "detectors": names[0] if names and len(set(names)) == 1 else names,
        "postselect": detection.rule,
        "computation_space": detection.space.value if detection.space.value != "fock" else None,
    }
    parts = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    return " with ".join(parts) or "detectors='pnr'"


@lru_cache(maxsize=16)
def places(detection: Detection) -> dict[tuple[int, ...], int]:
    """Return the position of each outcome."""
    return {tuple(state): place for place, state in enumerate(table_of(detection).states.tolist())}


@constant_in_graphs
def positions(detection: Detection, real: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return `sources`, `targets` and `shares` on a device; no sources where all are in order."""
    dtype = np.float64 if real == torch.float64 else np.float32

    def make() -> list[npt.NDArray[Any]]:
        table = table_of(detection)
        sources = table.sources
        if not len(table.targets) and np.array_equal(sources, np.arange(detection.arrived.size)):
            sources = sources[:0]
        return [sources, table.targets, table.shares.astype(dtype)]

    return on_device(("detected", detection, dtype), make, device)


@constant_in_graphs
def raised_by(light: Light, real: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return for each mode and each d of 1 to the most photons the state with d more photons there.

    Returns:
        Its position, and in how many ways it can lose d, shape (modes, most, size) each; where
        there is none, any and 0.
    """
    dtype = np.float64 if real == torch.float64 else np.float32

    def make() -> list[npt.NDArray[Any]]:
        starts = {}
        before = 0
        for space in light.spaces:
            starts[space.photons] = before
            before += space.size
        most, states = light.most, light.states.astype(np.int64)
        more = np.zeros((light.modes, most, len(states)), np.int64)
        ways = np.zeros((light.modes, most, len(states)), dtype)
        numbers = states.sum(1)
        for mode in range(light.modes):
            for lost in range(1, most + 1):
                raised = states.copy()
                raised[:, mode] += lost
                for number in range(most - lost + 1):
                    rows = np.flatnonzero(numbers == number)
                    space = FockSpace(light.modes, number + lost, light.space)
                    more[mode, lost - 1, rows] = starts[number + lost] + space.rank(raised[rows])
                    held = states[rows, mode]
                    ways[mode, lost - 1, rows] = [math.comb(n + lost, lost) for n in held]
        return [more, ways]

    return on_device(("raised", light, dtype), make, device)


@constant_in_graphs
def photons_in(light: Light, real: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return the photons of each state in each mode, shape (size, modes), alone in a tuple."""
    dtype = np.float64 if real == torch.float64 else np.float32
    return on_device(("arrived", light, dtype), lambda: [light.states.astype(dtype)], device)


@constant_in_graphs
def photons_shown(
    detection: Detection, real: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """Return the photons that each outcome shows in each mode, shape (size, modes), as above."""
    dtype = np.float64 if real == torch.float64 else np.float32
    key = ("shown", detection, dtype)
    return on_device(key, lambda: [table_of(detection).states.astype(dtype)], device)
