"""What to simulate, as plain validated data: the experiment and the ansatz built from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hybridlit.checks import enum_member, integer
from hybridlit.photonics import encoding as encodings
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.photonics.vocabulary import Vocabulary

__all__ = [
    "Ansatz",
    "AnsatzFactory",
    "CircuitType",
    "CircuitTypeName",
    "Experiment",
    "ReadoutName",
    "SpaceName",
    "StatePattern",
    "StatePatternName",
]


class CircuitType(Vocabulary):
    """Where the data enter a circuit; see `hybridlit.photonics.encoding`.

    Attributes:
        row: From numbers of features and modes to phases in units of pi for each unit of a
            feature, shape (columns, modes, features).
    """

    row: Callable[[int, int], encodings.Encoding]

    SERIES = "series", encodings.series
    PARALLEL = "parallel", encodings.parallel
    PARALLEL_COLUMNS = "parallel_columns", encodings.parallel_columns


def _every_second(modes: int, photons: int) -> list[int]:
    return [*range(0, modes, 2), *range(1, modes, 2)][:photons]


def _spread(modes: int, photons: int) -> list[int]:
    return [modes // 2] if photons == 1 else [i * modes // photons for i in range(photons)]


def _first(modes: int, photons: int) -> list[int]:
    return list(range(photons))


class StatePattern(Vocabulary):
    """Which modes hold the input photons; more photons than modes fill all modes evenly first.

    PERIODIC (also DEFAULT) fills every second mode, then the empty ones from the left; SPACED
    spreads the photons evenly; SEQUENTIAL fills the first modes.

    Attributes:
        row: From numbers of modes and of photons, fewer than these, to the modes that hold one.
    """

    row: Callable[[int, int], list[int]]

    DEFAULT = "default", _every_second
    PERIODIC = "periodic", _every_second
    SPACED = "spaced", _spread
    SEQUENTIAL = "sequential", _first

    def occupation(self, modes: int, photons: int) -> tuple[int, ...]:
        """Return the photons in each mode.

        Args:
            modes: Number of modes.
            photons: Number of photons, in all of them.

        Returns:
            One number a mode.
        """
        full_rounds, rest = divmod(photons, modes)
        chosen = self.row(modes, rest)
        return tuple(full_rounds + (mode in chosen) for mode in range(modes))


if TYPE_CHECKING:
    CircuitTypeName: TypeAlias = str
    ReadoutName: TypeAlias = str
    SpaceName: TypeAlias = str
    StatePatternName: TypeAlias = str
else:
    CircuitTypeName, ReadoutName, SpaceName, StatePatternName = (
        Literal[tuple(member.value for member in kind)]
        for kind in (CircuitType, OutputMappingStrategy, ComputationSpace, StatePattern)
    )


@dataclass(frozen=True)
class Experiment:
    """A linear-optical circuit on a Fock state, not yet tied to a number of features.

    Exactly one of ``circuit_type`` and ``encoding`` says where the data enter.

    Args:
        circuit_type: a :class:`CircuitType` or its string.
        n_modes: number of modes m, at least 2.
        n_photons: number of photons n, at least 1; below ``n_modes`` in the unbunched space.
        state_pattern: where the input photons are, a :class:`StatePattern` or its string.
        use_bandwidth_tuning: give each encoded phase a learnable factor, initially 1.
        reservoir_mode: draw the interferometers' phases once and keep them fixed.
        input_state: the input occupation of each mode, instead of ``state_pattern``.
        computation_space: ``"fock"`` for all outcomes; ``"unbunched"`` for those with at most one
            photon a mode, their probabilities renormalised.
        encoding: instead of a circuit type, the phases in units of pi for each unit of a feature,
            nested sequence of shape (columns, modes, features).

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range, unknown or contradicts another.

    Example:
        >>> Experiment("series", n_modes=5, n_photons=2).occupation
        (1, 0, 1, 0, 0)
    """

    circuit_type: CircuitType | str | None = None
    n_modes: int = 0  # required: 0 is refused; the default only lets encoding= stand alone
    n_photons: int = 0
    state_pattern: StatePattern | str = StatePattern.PERIODIC
    use_bandwidth_tuning: bool = False
    reservoir_mode: bool = False
    input_state: Sequence[int] | None = field(default=None, kw_only=True)
    computation_space: ComputationSpace | str = field(default=ComputationSpace.FOCK, kw_only=True)
    encoding: Sequence[Sequence[Sequence[float]]] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.circuit_type is None) == (self.encoding is None):
            raise ValueError(
                "give exactly one of circuit_type and encoding, got "
                + ("neither" if self.encoding is None else f"both, {self.circuit_type!r} and one")
            )
        self._set("n_modes", integer(self.n_modes, "n_modes", 2))
        self._set("n_photons", integer(self.n_photons, "n_photons", 1))
        self._set("state_pattern", enum_member(StatePattern, self.state_pattern, "state_pattern"))
        space = enum_member(ComputationSpace, self.computation_space, "computation_space")
        self._set("computation_space", space)
        if space is ComputationSpace.UNBUNCHED and self.n_photons >= self.n_modes:
            raise ValueError(
                f"n_photons must be below n_modes={self.n_modes} in the unbunched space, got "
                f"{self.n_photons}: as many photons as modes leave one outcome, whose probability "
                "is always 1; use fewer photons or computation_space='fock'"
            )
        for name in ("use_bandwidth_tuning", "reservoir_mode"):
            flag = getattr(self, name)
            if not isinstance(flag, bool):
                raise TypeError(f"{name} must be a bool, got {type(flag).__name__} {flag!r}")
        if self.circuit_type is not None:
            self._set("circuit_type", enum_member(CircuitType, self.circuit_type, "circuit_type"))
        if self.encoding is not None:
            array = encodings.explicit(self.encoding, self.n_modes)
            self._set(
                "encoding", tuple(tuple(tuple(row) for row in column) for column in array.tolist())
            )
        if self.input_state is not None:
            self._set("input_state", _checked_state(self.input_state, self.n_modes, self.n_photons))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the one way to normalise a frozen field

    @property
    def occupation(self) -> tuple[int, ...]:
        """The input Fock state, photons in each mode."""
        if self.input_state is not None:
            return tuple(self.input_state)
        return StatePattern(self.state_pattern).occupation(self.n_modes, self.n_photons)

    @property
    def fock_space(self) -> FockSpace:
        """The outcomes."""
        return FockSpace(self.n_modes, self.n_photons, ComputationSpace(self.computation_space))

    def encoding_for(self, features: int) -> encodings.Encoding:
        """Return the encoding of a number of features, shape (columns, modes, features).

        Args:
            features: number of features, at least 1.

        Returns:
            Phases in units of pi for each unit of a feature.

        Raises:
            MemoryError: if there are too many features to say where each of them goes.
            ValueError: if an explicit encoding is for another number of features.
        """
        if self.encoding is not None:
            array = np.array(self.encoding)
            if array.shape[2] != features:
                raise ValueError(
                    f"input_size must be {array.shape[2]}, the number of features in the "
                    f"experiment's encoding, got {features}"
                )
            return array
        try:
            return CircuitType(self.circuit_type or "").row(features, self.n_modes)
        except MemoryError as error:
            raise MemoryError(
                f"input_size={features} is too large for n_modes={self.n_modes}: one number for "
                f"each column, mode and feature does not fit into memory ({error}); reduce the "
                "features before the photonic layer"
            ) from error


@dataclass(frozen=True)
class Ansatz:
    """An experiment tied to numbers of features and outputs; made by :class:`AnsatzFactory`.

    Args:
        experiment: the circuit.
        input_size: number of features, at least 1.
        output_size: number of outputs; None where the strategy has one size: NONE, which gives all
            probabilities, MODE_EXPECTATIONS and PAIR_CORRELATIONS.
        output_mapping_strategy: how probabilities become outputs.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range or does not fit the strategy, or if no feature would
            reach the output: mode expectations of as many photons in each input mode, and pair
            correlations of one photon, are constant.
    """

    experiment: Experiment
    input_size: int
    output_size: int | None = None
    output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR

    def __post_init__(self) -> None:
        if not isinstance(self.experiment, Experiment):
            raise TypeError(
                f"experiment must be an Experiment, got {type(self.experiment).__name__}"
            )
        strategy = enum_member(
            OutputMappingStrategy, self.output_mapping_strategy, "output_mapping_strategy"
        )
        object.__setattr__(self, "output_mapping_strategy", strategy)
        object.__setattr__(self, "input_size", integer(self.input_size, "input_size", 1))
        self.experiment.encoding_for(self.input_size)  # an explicit one may have another width
        space, readout = self.experiment.fock_space, strategy.readout
        mapping = f"output_mapping_strategy={strategy.value!r}"
        if readout.expectation is not None and space.unbunched:
            raise ValueError(
                f"{mapping} needs computation_space='fock': expectations after post-selection have "
                "no form without all amplitudes"
            )
        only_size = None if readout.only_size is None else readout.only_size(space)
        if self.output_size is None and only_size is None:
            raise ValueError(
                f"output_size must be given with {mapping}; 'none' gives all {space.size} "
                "probabilities without it"
            )
        wanted = only_size if self.output_size is None else self.output_size
        size = integer(wanted, "output_size", 1)
        object.__setattr__(self, "output_size", size)
        refusal = readout.refusal(space, self.experiment.occupation, size)
        if refusal:
            raise ValueError(f"{mapping} {refusal}")
        if only_size not in (None, size):
            raise ValueError(f"output_size must be {only_size} or None with {mapping}, got {size}")

    @property
    def strategy(self) -> OutputMappingStrategy:
        """How probabilities become outputs, as a member."""
        return OutputMappingStrategy(self.output_mapping_strategy)

    @property
    def readout(self) -> Readout:
        """All that depends on the strategy."""
        return self.strategy.readout


class AnsatzFactory:
    """Makes an :class:`Ansatz`, with the call that MerLin's users know."""

    @staticmethod
    def create(
        experiment: Experiment,
        input_size: int,
        output_size: int | None = None,
        output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR,
    ) -> Ansatz:
        """Tie an experiment to numbers of features and outputs.

        Args:
            experiment: the circuit.
            input_size: number of features, at least 1.
            output_size: number of outputs; may be None with ``"none"``.
            output_mapping_strategy: how probabilities become outputs.

        Returns:
            The ansatz for :class:`~hybridlit.photonics.QuantumLayer`.

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: as :class:`Ansatz`.
        """
        return Ansatz(experiment, input_size, output_size, output_mapping_strategy)


def _checked_state(state: Sequence[int], modes: int, photons: int) -> tuple[int, ...]:
    if isinstance(state, str) or not hasattr(state, "__iter__"):
        raise TypeError(
            f"input_state must be a sequence of ints, got {type(state).__name__} {state!r}"
        )
    occupation = tuple(integer(number, "each entry of input_state", 0) for number in state)
    if len(occupation) != modes or sum(occupation) != photons:
        raise ValueError(
            f"input_state must hold n_photons={photons} photons in n_modes={modes} modes, got "
            f"{occupation} with {sum(occupation)} photons in {len(occupation)} modes"
        )
    return occupation
