"""Light of several photon numbers: the states that reach detectors where photons are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridlit.photonics.fock import ComputationSpace, FockSpace

__all__ = ["Light"]


@dataclass(frozen=True)
class Light:
    """The Fock states of `least` to `most` photons, those of the most photons first.

    Each number of photons has its states in the order of `FockSpace`.

    Attributes:
        modes: Number of modes.
        most: Largest number of photons.
        least: Smallest number of photons.
        space: All of them, or those with at most one photon a mode.
    """

    modes: int
    most: int
    least: int
    space: ComputationSpace = ComputationSpace.FOCK

    @property
    def numbers(self) -> range:
        """Numbers of photons, in order; in the unbunched space up to one a mode."""
        most = min(self.most, self.modes) if self.space.value == "unbunched" else self.most
        return range(most, self.least - 1, -1)

    @property
    def spaces(self) -> Iterator[FockSpace]:
        """The states of each number of photons, in order."""
        return (FockSpace(self.modes, number, self.space) for number in self.numbers)

    @property
    def size(self) -> int:
        """Number of states."""
        return sum(space.size for space in self.spaces)

    @property
    def states(self) -> npt.NDArray[np.signedinteger[Any]]:
        """Photons in each mode, shape (size, modes)."""
        return np.concatenate([space.states for space in self.spaces])

    def index(self, state: Sequence[int]) -> int:
        """Return the position of a state.

        Args:
            state: Photons in each mode.

        Raises:
            ValueError: If it is not one of them.
        """
        before = 0
        for space in self.spaces:
            if sum(state) == space.photons:
                return before + space.index(state)
            before += space.size
        raise ValueError(
            f"state must hold {self.least} to {self.most} photons in {self.modes} modes, got "
            f"{tuple(state)}"
        )
