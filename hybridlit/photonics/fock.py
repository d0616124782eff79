"""Fock spaces: which basis states there are, in which order, and how to rank them.

The order is descending lexicographic in the occupation numbers, (2,0), (1,1), (0,2): the order in
which Perceval and MerLin print their states. A state's rank is a sum of binomials over its modes,
so that no dictionary of states is ever needed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from hybridlit.checks import enum_member, integer
from hybridlit.photonics.vocabulary import Vocabulary

__all__ = ["ComputationSpace", "FockSpace", "raising_table", "states_before"]

IntArray = npt.NDArray[np.int64]


class ComputationSpace(Vocabulary):
    """Which outcomes are simulated: all Fock states, or those with at most one photon a mode.

    Attributes:
        row: From numbers of modes and photons to how many there are.

    Example:
        >>> [space.row(6, 3) for space in ComputationSpace]
        [56, 20]
    """

    row: Callable[[int, int], int]

    FOCK = "fock", lambda modes, photons: math.comb(modes + photons - 1, photons)
    UNBUNCHED = "unbunched", math.comb


@dataclass(frozen=True)
class FockSpace:
    r"""The basis of `photons` indistinguishable photons in `modes` modes.

    Behaves as a sequence of occupation tuples in descending lexicographic order. Its size is
    :math:`\binom{m+n-1}{n}` for all Fock states and :math:`\binom{m}{n}` for the unbunched ones.

    Args:
        modes: Number of modes m, at least 1.
        photons: Number of photons n, at least 0; at most `modes` if unbunched.
        space: `"fock"` for all states, `"unbunched"` for those of 0 and 1 only.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range or the space unknown.

    Example:
        >>> space = FockSpace(modes=3, photons=2)
        >>> list(space)
        [(2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2)]
        >>> space.index((0, 2, 0))
        3
    """

    modes: int
    photons: int
    space: ComputationSpace = ComputationSpace.FOCK

    def __post_init__(self) -> None:
        object.__setattr__(self, "modes", integer(self.modes, "modes", 1))
        object.__setattr__(self, "photons", integer(self.photons, "photons", 0))
        object.__setattr__(self, "space", enum_member(ComputationSpace, self.space, "space"))
        if self.unbunched and self.photons > self.modes:
            raise ValueError(
                f"photons must be at most modes={self.modes} in the unbunched space, got "
                f"{self.photons}; use fewer photons or space='fock'"
            )

    @property
    def unbunched(self) -> bool:
        """Whether a mode holds at most one photon."""
        return self.space is ComputationSpace.UNBUNCHED

    @property
    def size(self) -> int:
        """Number of basis states D."""
        return self.space.row(self.modes, self.photons)

    @cached_property
    def states(self) -> npt.NDArray[np.signedinteger[Any]]:
        """All states in descending lexicographic order, shape (size, modes), read-only."""
        # Grown mode by mode for all states at once: each partial state branches into one copy for
        # every occupation that the next mode can take, the largest first.
        left = np.array([self.photons])
        columns: list[IntArray] = []
        for mode in range(self.modes):
            behind = self.modes - mode - 1
            if self.unbunched:
                highest, lowest = np.minimum(left, 1), np.where(left > behind, 1, 0)
            else:
                highest, lowest = left, (left if behind == 0 else np.zeros_like(left))
            branches = highest - lowest + 1
            parent = np.repeat(np.arange(len(left)), branches)
            first_of_parent = np.repeat(np.cumsum(branches) - branches, branches)
            occupation = highest[parent] - (np.arange(len(parent)) - first_of_parent)
            columns = [column[parent] for column in columns] + [occupation.astype(np.int32)]
            left = left[parent] - occupation
        small = self.photons <= np.iinfo(np.int16).max
        states: npt.NDArray[np.signedinteger[Any]] = np.stack(columns, axis=1)
        states = states.astype(np.int16 if small else np.int32)
        states.setflags(write=False)
        return states

    def rank(self, states: npt.ArrayLike) -> IntArray:
        r"""Return the positions of states in the basis.

        With :math:`M_j = m-j-1` modes and :math:`r_j` photons behind mode j, the rank is
        :math:`\sum_j \binom{r_j - 1 + M_j}{M_j}`, or
        :math:`\sum_{j: s_j=0} \binom{M_j}{r_j - 1}` if unbunched.

        Args:
            states: Occupation numbers, shape (..., modes), each row a state of this space.

        Returns:
            Ranks, shape (...), int64.
        """
        occupation = np.asarray(states, dtype=np.int64)
        before = states_before(self.modes, self.photons, self.unbunched)
        behind = self.photons - np.cumsum(occupation, axis=-1)
        at_mode = np.arange(self.modes)
        if self.unbunched:
            terms = np.where(occupation == 0, before[at_mode, behind + occupation], 0)
        else:
            terms = before[at_mode, behind]
        ranks: IntArray = terms.sum(-1)
        return ranks

    def index(self, state: Sequence[int]) -> int:
        """Return the position of one state in the basis.

        Args:
            state: Occupation numbers, one a mode.

        Returns:
            Its rank, 0 to `size - 1`.

        Raises:
            ValueError: If it is not a state of this space.
        """
        occupation = tuple(operator.index(number) for number in state)
        possible = range((1 if self.unbunched else self.photons) + 1)
        fits = len(occupation) == self.modes and all(number in possible for number in occupation)
        if not fits or sum(occupation) != self.photons:
            raise ValueError(f"state must be one of {self!r}, got {occupation}")
        return int(self.rank(occupation))

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, position: SupportsIndex) -> tuple[int, ...]: ...

    @overload
    def __getitem__(self, position: slice) -> list[tuple[int, ...]]: ...

    def __getitem__(self, position: Any) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(position, slice):
            return [tuple(state) for state in self.states[position].tolist()]
        return tuple(self.states[operator.index(position)].tolist())

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return (tuple(state) for state in self.states.tolist())

    def __contains__(self, state: object) -> bool:
        try:
            self.index(state)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        return True

    def __getstate__(self) -> dict[str, Any]:
        # The table of states is cheap to rebuild and would dominate a pickle.
        return {"modes": self.modes, "photons": self.photons, "space": self.space}


@lru_cache(maxsize=128)
def states_before(modes: int, photons: int, unbunched: bool) -> IntArray:
    """Rank's term for each mode and number of photons left, shape (modes, photons + 1)."""
    table = np.zeros((modes, photons + 1), dtype=np.int64)
    for mode in range(modes):
        behind = modes - mode - 1
        for left in range(1, photons + 1):
            if unbunched:
                table[mode, left] = math.comb(behind, left - 1)
            elif behind:
                table[mode, left] = math.comb(left - 1 + behind, behind)
    table.setflags(write=False)
    return table


def raising_table(modes: int, photons: int, space: ComputationSpace) -> IntArray:
    """Return the ranks that the states of `photons` photons get by one photon more in each mode.

    Shape (modes, D), entry [i, t] the rank of state t plus a photon in mode i, in the space of
    `photons + 1`; -1 where mode i is full (unbunched only).
    """
    lower = FockSpace(modes, photons, space)
    before = states_before(modes, photons + 1, lower.unbunched)
    states = lower.states
    table = np.empty((modes, len(states)), dtype=np.int64)
    step = max(1, 2**16 // modes)  # states at a time, so that what lies between takes no memory
    for first in range(0, len(states), step):
        part = slice(first, first + step)
        table[:, part] = _raised(states[part].astype(np.int64), before, photons, lower.unbunched).T
    return table


def _raised(states: IntArray, before: IntArray, photons: int, unbunched: bool) -> IntArray:
    """Some rows of `raising_table`, transposed: shape (states, modes)."""
    at_mode = np.arange(states.shape[1])
    behind = photons - np.cumsum(states, axis=1)
    # A photon added to mode i raises the number of photons left at every mode up to i, so the new
    # rank is a prefix sum of raised terms and a suffix sum of unchanged ones.
    if unbunched:
        left = behind + states
        empty = states == 0
        raised = np.where(empty, before[at_mode, left + 1], 0)
        same = np.where(empty, before[at_mode, left], 0)
    else:
        raised, same = before[at_mode, behind + 1], before[at_mode, behind]
    prefix = np.cumsum(raised, axis=1) - raised
    suffix = same.sum(1, keepdims=True) - np.cumsum(same, axis=1)
    if unbunched:  # mode i itself is now occupied and counts no state before it
        return np.where(empty, prefix + suffix, -1)
    found: IntArray = prefix + suffix + same
    return found
