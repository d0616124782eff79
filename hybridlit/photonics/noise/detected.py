"""What detectors show of light of several photon numbers, and how much of it is kept."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.noise.shown import (
    Detection,
    kept_by,
    photons_in,
    photons_shown,
    places,
    positions,
    raised_by,
    table_of,
)
from hybridlit.photonics.outcomes import Outcomes

__all__ = ["DetectedOutcomes"]


class DetectedOutcomes(Outcomes):
    """Outcomes of any number of photons: those of the most photons first, each number in order.

    Args:
        space: The states of as many photons as were asked for.
        detection: How they are detected.
        arriving: Probabilities that 0, 1, ... photons arrive, from which follows how much is kept,
            about; what is far rarer is refused. None: as if all did.

    Attributes:
        detection: How they are detected.

    Raises:
        MemoryError: If there are too many states to say what is shown of each.
        ValueError: If fewer than two outcomes are kept, or nothing ever is.
    """

    def __init__(
        self, space: FockSpace, detection: Detection, arriving: tuple[float, ...] | None = None
    ) -> None:
        self.space, self.rule, self.modes = space, detection.rule, space.modes
        self.detection, self._arriving = detection, arriving
        self._arrived = detection.arrived  # torch.compile cannot make one
        table = table_of(detection)
        self._states, self.size = table.states, len(table.states)
        self.selected, self.whole = table.selected, self
        self.resolves = detection.detectors is None and not table.selected
        self._mean_kept = 1.0
        if arriving is not None and table.selected:
            self._mean_kept = sum(map(operator.mul, arriving, table.kept))
        if not self._mean_kept:
            raise ValueError(
                f"{self.kept_by} must keep what can happen, but this noise lets no such light "
                "arrive; ask for fewer photons, or take less noise"
            )

    @property
    def _key(self) -> Any:
        return self.space, self.detection

    @property
    def states(self) -> npt.NDArray[np.signedinteger[Any]]:
        """Photons shown in each mode by each outcome, shape (size, modes)."""
        return self._states

    @property
    def most(self) -> int:
        """The most photons that can arrive."""
        return self.detection.light.most

    @property
    def kept_by(self) -> str:
        """What says which outcomes are kept, for messages."""
        return kept_by(self.detection)

    @property
    def _remedy(self) -> str:
        return f"another {kept_by(self.detection)}, or less noise"

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
        found = places(self.detection).get(tuple(map(int, state)))
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
        return DetectedOutcomes, (self.space, self.detection, self._arriving)

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
        arrived = self._arrived
        missing = arrived.size - light.shape[-1]
        values = torch.cat([light, light.new_zeros(*light.shape[:-1], missing)], -1)
        more, ways = raised_by(arrived, light.dtype, light.device)
        counts = photons_in(arrived, light.dtype, light.device)[0]
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
        sources, targets, shares = positions(self.detection, values.dtype, values.device)
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
        return photons_shown(self.detection, like.dtype, like.device)[0]

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
