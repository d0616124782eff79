"""Input states that are superpositions: terms of one number of photons each, normalised."""

from __future__ import annotations

import cmath
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Complex, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from hybridlit.checks import integer

__all__ = ["Superposition", "given_input", "is_superposition", "occupation_of"]


@dataclass(frozen=True, repr=False)
class Superposition:
    """A normalised superposition of occupations of the same number of photons.

    Args:
        terms: Pairs of an occupation and its amplitude; kept in descending lexicographic order of
            the occupations, with amplitudes divided by their norm.

    Raises:
        TypeError: If an occupation or an amplitude has the wrong type.
        ValueError: If there is no term, one comes twice, their numbers of modes or photons differ,
            or the amplitudes are all 0 or not finite.

    Example:
        >>> state = Superposition.of({(1, 0, 1, 0): 3, (0, 1, 0, 1): 4j})
        >>> state
        {(1, 0, 1, 0): 0.6+0j, (0, 1, 0, 1): 0+0.8j}
        >>> state.modes, state.photons
        (4, 2)
    """

    terms: tuple[tuple[tuple[int, ...], complex], ...]

    def __post_init__(self) -> None:
        found: dict[tuple[int, ...], complex] = {}
        if not isinstance(self.terms, (list, tuple)) or not all(
            isinstance(term, (list, tuple)) and len(term) == 2 for term in self.terms
        ):
            raise TypeError(
                f"terms must be pairs of an occupation and an amplitude, got {self.terms!r}"
            )
        for given, amplitude in self.terms:
            state = occupation_of(given)
            if isinstance(amplitude, bool) or not isinstance(amplitude, Complex):
                raise TypeError(
                    f"each amplitude of input_state must be a number, got "
                    f"{type(amplitude).__name__} {amplitude!r} for {state}"
                )
            if state in found:
                raise ValueError(f"input_state must name each occupation once, got {state} twice")
            found[state] = complex(amplitude)
        if len({(len(state), sum(state)) for state in found}) != 1:
            raise ValueError(
                "the terms of input_state must be some, all of one number of modes and of photons, "
                "got "
                f"{sorted(found, reverse=True)[:5]}"
            )
        states = sorted(found, reverse=True)
        scaled = _normalised([found[state] for state in states])
        object.__setattr__(self, "terms", tuple(zip(states, scaled, strict=True)))

    @classmethod
    def of(cls, given: Any) -> Self:
        """Make a superposition of what users write.

        Args:
            given: A superposition; a mapping from occupations to amplitudes, such as a Perceval
                `StateVector`; or its `plain` form.

        Returns:
            The superposition.

        Raises:
            TypeError: As the class.
            ValueError: As the class.
        """
        if isinstance(given, cls):
            return given
        if not callable(getattr(given, "keys", None)):
            return cls(tuple(_from_plain(term) for term in given))
        return cls(tuple((state, given[state]) for state in given.keys()))

    @property
    def states(self) -> tuple[tuple[int, ...], ...]:
        """The occupations, in descending lexicographic order."""
        return tuple(state for state, _ in self.terms)

    @property
    def amplitudes(self) -> npt.NDArray[np.complex128]:
        """Their amplitudes, of norm 1."""
        return np.array([amplitude for _, amplitude in self.terms])

    @property
    def modes(self) -> int:
        """Number of modes."""
        return len(self.terms[0][0])

    @property
    def photons(self) -> int:
        """Number of photons."""
        return sum(self.terms[0][0])

    @property
    def mean_photons(self) -> tuple[float, ...]:
        """Mean photon number of each mode."""
        weights = np.abs(self.amplitudes) ** 2
        return tuple((weights @ np.array(self.states)).tolist())

    def one_body(self) -> npt.NDArray[np.complex128]:
        """Return the one-body density matrix, entry (i, j) the mean of a_i^dagger a_j."""
        lowered: dict[tuple[int, ...], npt.NDArray[np.complex128]] = {}
        for state, amplitude in self.terms:
            for mode, photons in enumerate(state):
                if photons:
                    left = (*state[:mode], photons - 1, *state[mode + 1 :])
                    row = lowered.setdefault(left, np.zeros(self.modes, dtype=np.complex128))
                    row[mode] += math.sqrt(photons) * amplitude
        rows = np.array(list(lowered.values()))
        matrix: npt.NDArray[np.complex128] = rows.conj().T @ rows
        return matrix

    def plain(self) -> list[dict[str, Any]]:
        """Return the terms for YAML and checkpoints: mappings of `state` and `amplitude`."""
        return [
            {"state": list(state), "amplitude": [amplitude.real, amplitude.imag]}
            for state, amplitude in self.terms
        ]

    def __repr__(self) -> str:
        shown = [f"{state}: {amplitude:.6g}" for state, amplitude in self.terms[:5]]
        more = [f"... {len(self.terms) - 5} more"] if len(self.terms) > 5 else []
        return "{" + ", ".join(shown + more) + "}"


def is_superposition(given: object) -> bool:
    """Return whether an input state is given by terms, and not by the photons in each mode."""
    if isinstance(given, Superposition) or callable(getattr(given, "keys", None)):
        return True
    return isinstance(given, (list, tuple)) and any(isinstance(term, Mapping) for term in given)


def occupation_of(given: object) -> tuple[int, ...]:
    """Return the photons in each mode of what a user may write for them.

    Args:
        given: A sequence of integers, or a Perceval `BasicState` without annotations.

    Raises:
        TypeError: If it is no sequence, or an entry no integer.
        ValueError: If an entry is negative, or the photons can be told apart.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(
            "each occupation of input_state must be a sequence of ints, got "
            f"{type(given).__name__} {given!r}"
        )
    if getattr(given, "has_annotations", False):  # Perceval's distinguishable photons
        raise ValueError(
            f"input_state must be of indistinguishable photons without annotations, got {given}"
        )
    return tuple(integer(photons, "each entry of input_state", 0) for photons in given)


def given_input(
    state: object, modes: int, photons: int | None
) -> tuple[tuple[int, ...] | Superposition, int]:
    """Return an input state in any of the forms in which an experiment takes it.

    Args:
        state: An occupation, or what `Superposition.of` takes.
        modes: Number of modes.
        photons: Number of photons; None: as many as the state has.

    Returns:
        The occupation, or the superposition of several; and the number of photons.

    Raises:
        TypeError: If it is something else.
        ValueError: If its modes or photons are more or fewer.
    """
    if isinstance(state, str) or not (hasattr(state, "__iter__") or is_superposition(state)):
        got = f"{type(state).__name__} {state!r}"
        raise TypeError(f"input_state must be a sequence of ints, got {got}")
    kept: Superposition | tuple[int, ...]
    if is_superposition(state):
        kept = Superposition.of(state)
        occupation = kept.terms[0][0]
        if kept.terms == ((occupation, 1.0),):
            kept = occupation
    else:
        kept = occupation = occupation_of(state)
    photons = integer(sum(occupation) if photons is None else photons, "n_photons", 1)
    if len(occupation) != modes or sum(occupation) != photons:
        raise ValueError(
            f"input_state must hold n_photons={photons} photons in n_modes={modes} "
            f"modes, got {occupation} with {sum(occupation)} photons in {len(occupation)} modes"
        )
    return kept, photons


def _from_plain(term: object) -> tuple[Any, Any]:
    if not isinstance(term, Mapping) or set(term) != {"state", "amplitude"}:
        raise TypeError(
            "each term of input_state must be a mapping of state and amplitude, such as "
            f"{{'state': [1, 0], 'amplitude': [0, 1]}}, got {term!r}"
        )
    amplitude = term["amplitude"]
    if isinstance(amplitude, (list, tuple)):
        parts = [isinstance(part, Real) and not isinstance(part, bool) for part in amplitude]
        if parts != [True, True]:
            raise TypeError(
                "amplitude must be a number, or real and imaginary part, in each term of "
                f"input_state, got {amplitude!r}"
            )
        amplitude = complex(*amplitude)
    return term["state"], amplitude


def _normalised(amplitudes: list[complex]) -> list[complex]:
    """Divide by the norm, unless it is 1 already, so that doing it again changes no bit."""
    largest = max(map(abs, amplitudes))
    if not largest or not all(map(cmath.isfinite, amplitudes)):
        raise ValueError(
            f"the amplitudes of input_state must be finite and not all 0, got {amplitudes[:5]}"
        )

    def norm(values: list[complex]) -> float:
        return math.fsum(v.real**2 + v.imag**2 for v in values)

    if largest <= 2 and abs(norm(amplitudes) - 1) <= 4 * sys.float_info.epsilon:
        return amplitudes
    amplitudes = [amplitude / largest for amplitude in amplitudes]
    root = math.sqrt(norm(amplitudes))
    return [amplitude / root for amplitude in amplitudes]
