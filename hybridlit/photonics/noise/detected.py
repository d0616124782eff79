"""What detectors show of light of several photon numbers, and how much of it is kept."""

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
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.postselection import parsed
from hybridlit.photonics.tables import on_device
from hybridlit.words import in_bytes, in_digits

__all__ = ["DetectedOutcomes", "Detection"]


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


class DetectedOutcomes(Outcomes):
    """Outcomes of any number of photons: those of the most photons first, each number in order.

    Args:
        space: The states of as many photons as were asked for.
        detection: How they are detected.
        share: Of how much is kept, about: what is far rarer is refused.

    Attributes:
        detection: How they are detected.
    """

    def __init__(self, space: FockSpace, detection: Detection, share: float = 1.0) -> None:
        self.space, self.rule, self.modes = space, detection.rule, space.modes
        self.detection, self._share = detection, share
        table = _table(detection)
        self._states, self.size = table.states, len(table.states)
        self.selected, self.whole = table.selected, self
        self.resolves = detection.detectors is None and not table.selected
        self._mean_kept = share

    @property
    def _key(self) -> Any:
        return self.space, self.detection

    @property
    def states(self) -> npt.NDArray[np.signedinteger[Any]]:
        """Photons shown in each mode by each outcome, shape (size, modes)."""
        return self._states

    @property
    def kept_of_states(self) -> npt.NDArray[np.float64]:
        """The chance that a state that arrives is shown as an outcome, shape (arrived.size,)."""
        table = _table(self.detection)
        shares = table.shares if len(table.targets) else None
        return np.bincount(table.sources, shares, self.detection.arrived.size).astype(float)

    @property
    def words(self) -> str:
        """What they are called behind their number."""
        unbunched = self.detection.space is ComputationSpace.UNBUNCHED
        named = "unbunched outcomes" if unbunched else "outcomes"
        return named if self.rule is None else f"post-selected {named}"

    def index(self, state: Any) -> int:
        """Return the position of an outcome.

        Args:
            state: Photons shown, one number a mode.

        Returns:
            0 to `size - 1`.

        Raises:
            ValueError: If it is not one of them.
        """
        found = _places(self.detection).get(tuple(map(int, state)))
        if found is None:
            raise ValueError(f"state must be one of the outcomes, got {tuple(state)}")
        return found

    def __getitem__(self, position: Any) -> tuple[int, ...]:
        return tuple(self._states[position].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DetectedOutcomes) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> Any:
        return DetectedOutcomes, (self.space, self.detection, self._share)

    def arriving(self, light: Tensor, transmittance: Tensor | None) -> Tensor:
        """Return what is left where each mode loses photons on its own.

        Args:
            light: Probabilities of the states of the light, shape (..., light.size).
            transmittance: Of each mode, shape (modes,); None: nothing is lost here.

        Returns:
            Shape (..., arrived.size).
        """
        if transmittance is None:
            return light
        arrived = self.detection.arrived
        missing = arrived.size - light.shape[-1]
        values = torch.cat([light, light.new_zeros(*light.shape[:-1], missing)], -1)
        more, ways = _raised(arrived, light.dtype, light.device)
        counts = _counts(arrived, light.dtype, light.device)[0]
        for mode in range(self.modes):
            kept = transmittance[mode]
            total = values
            for photons in range(1, more.shape[1] + 1):
                # C(n + d, d) (1 - t)^d of the state with d photons more
                lost = values.index_select(-1, more[mode, photons - 1]) * ways[mode, photons - 1]
                total = total + lost * (1 - kept) ** photons
            values = total * kept ** counts[:, mode]
        return values

    def chosen(self, values: Tensor) -> Tensor:
        """Return the probabilities of what is shown and kept.

        Args:
            values: Of the states that arrive, shape (..., arrived.size).

        Returns:
            Shape (..., size).
        """
        sources, targets, shares = _positions(self.detection, values.dtype, values.device)
        if not len(targets):  # each is a state of its own
            return values if len(sources) == 0 else values.index_select(-1, sources)
        terms = values.index_select(-1, sources) * shares
        zeros = values.new_zeros(*values.shape[:-1], self.size)
        return zeros.index_add(-1, targets, terms)

    def photons(self, like: Tensor) -> Tensor:
        """Return the photons shown in each mode, with the dtype and device of a tensor.

        Args:
            like: A real tensor.

        Returns:
            Shape (size, modes).
        """
        if like.is_meta:
            return like.new_empty(self.size, self.modes)
        key = ("shown", self.detection, like.dtype)
        dtype = np.float64 if like.dtype == torch.float64 else np.float32
        return on_device(key, lambda: [self._states.astype(dtype)], like.device)[0]

    def conditional(
        self, weights: Tensor, share: Tensor | None = None, *, least: float | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what detectors show, given that it is kept, and the chance of that.

        Args:
            weights: Probabilities of the states that arrive, shape (..., batch, arrived.size).
            share: As for `Outcomes`, and so is the other.
            least: The success probability that is needed.

        Returns:
            Shape (..., batch, size), each row of sum 1, and success probabilities, shape
            (..., batch), or None where nothing is dropped.

        Raises:
            RareOutcomesError: As `checked`.
        """
        weights = self.chosen(weights)
        if not self.selected:
            return weights, None
        kept = weights.sum(-1)
        whole = kept if share is None else kept * share
        checked = self.checked(whole, least)
        if share is not None:
            checked = checked / share
        return weights / checked[..., None], whole


class _Table(NamedTuple):
    """What is shown: outcomes, and from which states with which probability."""

    states: npt.NDArray[np.signedinteger[Any]]
    sources: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float64]
    selected: bool


@lru_cache(maxsize=16)
def _table(detection: Detection) -> _Table:
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
    order = np.lexsort((*-states.T[::-1], -states.sum(1)))
    shown_states, targets = np.unique(
        np.column_stack([-states.sum(1), -states]), axis=0, return_inverse=True
    )
    if len(shown_states) < 2:
        found = f"{tuple(-shown_states[0, 1:])} alone" if len(shown_states) else "nothing"
        raise ValueError(
            f"what is kept must be two outcomes or more, got {found} with "
            f"min_detected_photons={detection.least}, {arrived.most} photons at most and "
            f"postselect={detection.rule!r}, so that no feature reaches the output"
        )
    small = -shown_states[:, 1:].astype(np.int16)
    small.setflags(write=False)
    if detection.detectors is None:
        return _Table(small, sources[order], np.empty(0, np.int64), np.empty(0), selected)
    return _Table(small, sources, targets.reshape(-1), shares, selected)


@lru_cache(maxsize=16)
def _places(detection: Detection) -> dict[tuple[int, ...], int]:
    return {tuple(state): place for place, state in enumerate(_table(detection).states.tolist())}


@constant_in_graphs
def _positions(detection: Detection, real: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    dtype = np.float64 if real == torch.float64 else np.float32

    def make() -> list[npt.NDArray[Any]]:
        table = _table(detection)
        sources = table.sources
        if not len(table.targets) and np.array_equal(sources, np.arange(detection.arrived.size)):
            sources = sources[:0]
        return [sources, table.targets, table.shares.astype(dtype)]

    return on_device(("detected", detection, dtype), make, device)


@constant_in_graphs
def _raised(light: Light, real: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """For each mode and each d of 1 to the most photons: the state with d more, and ways to lose d.

    Shapes (modes, most, size); where there is none, any and 0.
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
def _counts(light: Light, real: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    dtype = np.float64 if real == torch.float64 else np.float32
    return on_device(("arrived", light, dtype), lambda: [light.states.astype(dtype)], device)
