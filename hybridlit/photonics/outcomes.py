"""What detectors can show, and how much of the light they keep.

All outcomes of the Fock space have probability 1 together. Of the unbunched ones, and of those that
a rule keeps, there is a share, the success probability of a sample; their probabilities are
conditional on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.finite import can_look_at, rows_in_words
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.postselection import parsed
from hybridlit.photonics.tables import occupations, on_device
from hybridlit.words import in_bytes, in_digits

__all__ = ["Outcomes", "RareOutcomesError"]


_FEW = 10_000
"""Up to so many outcomes some are shown."""


class RareOutcomesError(ValueError):
    """Post-selection keeps too little to be told from rounding errors."""


class Outcomes:
    """The outcomes that have a probability: a sequence of occupation tuples in a space's order.

    Args:
        space: What is simulated, of which they are all or a part.
        rule: What keeps them, as `postselection.parsed` reads it; None: all of the space are kept.

    Attributes:
        space: What is simulated.
        rule: What keeps them, or None.
        size: Their number D.
        modes: Number of modes.
        selected: Whether they are post-selected: others can happen, and are dropped.
        resolves: Whether they tell every photon: none is dropped, and all detectors count.
        whole: All outcomes of the space.

    Raises:
        MemoryError: If there are too many outcomes to look at each.
        ValueError: If the rule keeps fewer than two outcomes.

    Example:
        >>> outcomes = Outcomes(FockSpace(3, 2), "[0]==1")
        >>> outcomes, outcomes.index((1, 0, 1))
        (<2 post-selected outcomes: (1, 1, 0), (1, 0, 1)>, 1)
    """

    def __init__(self, space: FockSpace, rule: str | None = None) -> None:
        self.space, self.rule, self.modes = space, rule, space.modes
        self._kept = None if rule is None else _kept(*self._key)
        self.size = space.size if self._kept is None else len(self._kept)
        self.whole: Outcomes = self if rule is None else Outcomes(space)
        everything = math.comb(space.modes + space.photons - 1, space.photons)
        self.selected = space.unbunched or self.size < everything
        self.resolves = not self.selected
        self._mean_kept = self.size / everything if self.selected else 1.0

    @property
    def _key(self) -> tuple[int, int, ComputationSpace, str]:
        space = self.space
        return space.modes, space.photons, space.space, self.rule or ""

    @property
    def mean_kept(self) -> float:
        """The share of events that is kept, on average over interferometers drawn at random.

        Of photons that are not all alike it is taken to be that of ideal ones.
        """
        return self._mean_kept

    @property
    def states(self) -> npt.NDArray[np.signedinteger[Any]]:
        """Photons in each mode of each outcome, shape (size, modes)."""
        states = self.space.states
        return states if self._kept is None else states[self._kept]

    @property
    def most(self) -> int:
        """The most photons that can arrive."""
        return self.space.photons

    @property
    def kept_by(self) -> str:
        """What says which of them are kept, for messages."""
        return f"postselect={self.rule!r}"

    @property
    def _remedy(self) -> str:
        """What would keep more, for messages."""
        return "computation_space='fock'" if self.rule is None else "another postselect"

    @property
    def words(self) -> str:
        """What they are called behind their number."""
        named = "unbunched outcomes" if self.space.unbunched else "outcomes"
        return named if self.rule is None else f"post-selected {named}"

    def index(self, state: Sequence[int]) -> int:
        """Return the position of an outcome.

        Args:
            state: Occupation numbers, one a mode.

        Returns:
            0 to `size - 1`.

        Raises:
            ValueError: If it is not one of them.
        """
        position = self.space.index(state)
        if self._kept is None:
            return position
        found = int(np.searchsorted(self._kept, position))
        if found == self.size or self._kept[found] != position:
            raise ValueError(f"state must be one that {self.rule!r} keeps, got {tuple(state)}")
        return found

    def __repr__(self) -> str:
        if self.space.size > _FEW:  # whose table takes long to make
            return f"<{in_digits(self.size)} {self.words}>"
        first = ", ".join(map(str, islice(self, 3)))
        more = ", ..." if self.size > 3 else ""
        return f"<{self.size} {self.words}: {first}{more}>"

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: SupportsIndex) -> tuple[int, ...]:
        return self.space[position if self._kept is None else self._kept[position]]

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return (tuple(state) for state in self.states.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcomes) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[type[Outcomes], tuple[FockSpace, str | None]]:
        return Outcomes, (self.space, self.rule)  # which are short

    def least_kept(self, dtype: torch.dtype) -> float:
        """Return the success probability down to which outcomes keep three digits.

        Amplitudes err by a few eps of what they are for typical interferometers, whose mean success
        probability is that of Haar-random ones; a million times eps squared below it, errors reach
        some thousandths.

        Args:
            dtype: Real dtype of the computation.

        Returns:
            A probability.
        """
        return self._mean_kept * (1000 * torch.finfo(dtype).eps) ** 2

    def chosen(self, values: Tensor) -> Tensor:
        """Return those entries of the last dimension that the rule keeps.

        Args:
            values: One for each state of the space, shape (..., space.size).

        Returns:
            Shape (..., size); the same without a rule.
        """
        if self._kept is None:
            return values
        return values.index_select(-1, _positions(*self._key, values.device)[0])

    def photons(self, like: Tensor) -> Tensor:
        """Return the photons in each mode, with the dtype and device of a tensor.

        Args:
            like: A real tensor.

        Returns:
            Shape (size, modes).
        """
        space = self.space
        if like.is_meta:  # where there may be more than fit anywhere
            return like.new_empty(self.size, self.modes)
        (found,) = occupations(space.modes, space.photons, space.space, like.dtype, like.device)
        return self.chosen(found.mT).mT

    def conditional(
        self, weights: Tensor, share: Tensor | None = None, *, least: float | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what is left of probabilities given that an outcome is kept, and the chance of it.

        Args:
            weights: Probabilities of the states of the space, shape (..., batch, space.size).
            share: What these are conditional on has this probability, shape (..., batch); None: 1.
            least: The success probability that is needed; `least_kept` by default.

        Returns:
            Shape (..., batch, D), each row of sum 1, and success probabilities, shape (..., batch);
            the weights themselves and None where nothing is dropped.

        Raises:
            RareOutcomesError: As `checked`.
        """
        if not self.selected:
            return weights, None
        weights = self.chosen(weights)
        kept = weights.sum(-1)
        whole = kept if share is None else kept * share
        checked = self.checked(whole, least)
        if share is not None:
            checked = checked / share  # kept, or NaN
        return weights / checked[..., None], whole

    def conditional_amplitudes(
        self, amplitudes: Tensor, norm: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the amplitudes of a state given that an outcome is kept, and the chance of it.

        Args:
            amplitudes: Of the states of the space, shape (..., batch, space.size).
            norm: Squared norm of the state that entered, shape (..., batch or 1); None: 1.

        Returns:
            Shape (..., batch, D), each row of norm 1, and success probabilities, shape
            (..., batch); the amplitudes themselves and None where nothing is dropped.

        Raises:
            RareOutcomesError: As `checked`.
        """
        if not self.selected:
            return amplitudes, None
        amplitudes = self.chosen(amplitudes)
        mass = (amplitudes.real.square() + amplitudes.imag.square()).sum(-1)
        share = self.checked(mass if norm is None else mass / norm)
        root = share.sqrt() if norm is None else (share * norm).sqrt()
        return amplitudes / root[..., None], share

    def checked(self, kept: Tensor, least: float | None = None) -> Tensor:
        """Raise where post-selection leaves too little to know, if looking is free.

        Args:
            kept: Success probability of each sample, shape (..., batch).
            least: What is needed; `least_kept` by default.

        Returns:
            The same; where nothing could be looked at, with NaN for what is too little.

        Raises:
            RareOutcomesError: If a sample has no more than `least`.
        """
        if least is None:
            least = self.least_kept(kept.dtype)
        if not can_look_at(kept):
            return kept.masked_fill(kept <= least, math.nan)
        if not kept.numel() or float(kept.detach().amin()) > least:
            return kept
        rare = kept.detach() <= least
        if not bool(rare.any()):  # NaN is not rare
            return kept
        rows = rows_in_words(rare.reshape(-1, rare.shape[-1]).any(0))
        double = "" if kept.dtype == torch.float64 else "compute in float64 with .double(), "
        raise RareOutcomesError(
            f"the {self.words} of {rows} of x (counted through its leading "
            f"dimensions) have a probability of at most {float(kept.detach()[rare].max()):.2g} "
            f"together, and {str(kept.dtype).removeprefix('torch.')} tells them from rounding "
            f"errors above {least:.2g} only: {double}leave these rows out, change their features "
            f"or input_state, or use {self._remedy}"
        )


@lru_cache(maxsize=64)
def _kept(modes: int, photons: int, space: ComputationSpace, rule: str) -> npt.NDArray[np.int64]:
    """The positions in a space that a rule keeps."""
    everything = FockSpace(modes, photons, space)
    needed, free = 8 * modes * everything.size, available_memory()
    if needed > free:
        raise MemoryError(
            f"postselect={rule!r} looks at each of {in_digits(everything.size)} outcomes, which "
            f"takes {in_bytes(needed)} of the {in_bytes(free)} free; use fewer modes or photons"
        )
    kept = np.flatnonzero(parsed(rule).keeps(everything.states))
    if len(kept) < 2:
        found = f"{everything[kept[0]]} alone" if len(kept) else "nothing"
        raise ValueError(
            f"postselect must keep two outcomes or more, got {rule!r}, which keeps {found} of "
            f"{photons} photons in {modes} modes, so that no feature reaches the output"
        )
    kept.setflags(write=False)
    return kept


@constant_in_graphs
def _positions(
    modes: int, photons: int, space: ComputationSpace, rule: str, device: torch.device
) -> tuple[Tensor, ...]:
    """The same on a device."""
    key = ("kept", modes, photons, space, rule)
    return on_device(key, lambda: [_kept(modes, photons, space, rule)], device)
