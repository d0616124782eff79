"""What to simulate, as plain validated data: the experiment and the ansatz built from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.checks import boolean, choice, enum_member, integer, precision
from hybridlit.photonics.circuit.builders import CircuitType, Encoding, explicit
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.photonics.states import StatePattern

__all__ = [
    "Ansatz",
    "AnsatzFactory",
    "CircuitTypeName",
    "Experiment",
    "ReadoutName",
    "SpaceName",
    "StatePatternName",
]


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

EncodingUnit = Literal["pi", "radian"]


@dataclass(frozen=True)
class Experiment:
    """A linear-optical circuit on a Fock state, not yet tied to a number of features.

    Exactly one of `circuit_type` and `encoding` says where the data enter.

    Args:
        circuit_type: A `CircuitType` or its string.
        n_modes: Number of modes m, at least 2.
        n_photons: Number of photons n, at least 1; below `n_modes` in the unbunched space. None:
            as many as in `input_state`.
        state_pattern: Where the input photons are, a `StatePattern` or its string.
        use_bandwidth_tuning: Give each encoded phase a learnable factor, initially 1.
        reservoir_mode: Draw the interferometers' phases once and keep them fixed.
        input_state: The input occupation of each mode, instead of `state_pattern`.
        computation_space: `"fock"` for all outcomes; `"unbunched"` for those with at most one
            photon a mode, their probabilities renormalised.
        encoding: Instead of a circuit type, the phases for each unit of a feature: a nested
            sequence, array or tensor of shape (columns, modes, features). Kept as tuples, in units
            of pi.
        encoding_unit: What `encoding` is given in: `"pi"`, units of pi, or `"radian"`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, unknown or contradicts another.

    Example:
        >>> Experiment("series", n_modes=5, n_photons=2).occupation
        (1, 0, 1, 0, 0)
    """

    circuit_type: CircuitType | str | None = None
    n_modes: int = 0  # required: 0 is refused; the default only lets encoding= stand alone
    n_photons: int = None  # type: ignore[assignment]  # a number once it is made
    state_pattern: StatePattern | str = StatePattern.PERIODIC
    use_bandwidth_tuning: bool = False
    reservoir_mode: bool = False
    input_state: Sequence[int] | None = field(default=None, kw_only=True)
    computation_space: ComputationSpace | str = field(default=ComputationSpace.FOCK, kw_only=True)
    encoding: Sequence[Sequence[Sequence[float]]] | npt.NDArray[Any] | Tensor | None = field(
        default=None, kw_only=True
    )
    encoding_unit: EncodingUnit = field(default="pi", kw_only=True)

    def __post_init__(self) -> None:
        if (self.circuit_type is None) == (self.encoding is None):
            raise ValueError(
                "give exactly one of circuit_type and encoding, got "
                + ("neither" if self.encoding is None else f"both, {self.circuit_type!r} and one")
            )
        self._set("n_modes", integer(self.n_modes, "n_modes", 2))
        self._set_input()
        self._set("state_pattern", enum_member(StatePattern, self.state_pattern, "state_pattern"))
        space = enum_member(ComputationSpace, self.computation_space, "computation_space")
        self._set("computation_space", space)
        if space is ComputationSpace.UNBUNCHED and self.n_photons >= self.n_modes:
            raise ValueError(
                f"n_photons must be below n_modes={self.n_modes} in the unbunched space, got "
                f"{self.n_photons}: as many photons as modes leave one outcome, whose probability "
                "is always 1; use fewer photons or computation_space='fock'"
            )
        boolean(self.use_bandwidth_tuning, "use_bandwidth_tuning")
        boolean(self.reservoir_mode, "reservoir_mode")
        if self.circuit_type is not None:
            self._set("circuit_type", enum_member(CircuitType, self.circuit_type, "circuit_type"))
        choice(self.encoding_unit, "encoding_unit", get_args(EncodingUnit))
        if self.encoding is not None:
            array = explicit(self.encoding, self.n_modes, self.encoding_unit)
            self._set("encoding", tuple(tuple(map(tuple, column)) for column in array.tolist()))
            self._set("encoding_unit", "pi")
        elif self.encoding_unit != "pi":
            raise ValueError("encoding_unit='radian' needs an encoding; circuit types have factors")

    def _set_input(self) -> None:
        """Normalise the input state, and the number of photons, which follows from it."""
        state = self.input_state
        if state is None:
            if self.n_photons is None:
                raise ValueError("n_photons must be given, at least 1, or input_state with photons")
            return self._set("n_photons", integer(self.n_photons, "n_photons", 1))
        if isinstance(state, str) or not hasattr(state, "__iter__"):
            got = f"{type(state).__name__} {state!r}"
            raise TypeError(f"input_state must be a sequence of ints, got {got}")
        occupation = tuple(integer(number, "each entry of input_state", 0) for number in state)
        photons = sum(occupation) if self.n_photons is None else self.n_photons
        photons = integer(photons, "n_photons", 1)
        if len(occupation) != self.n_modes or sum(occupation) != photons:
            raise ValueError(
                f"input_state must hold n_photons={photons} photons in n_modes={self.n_modes} "
                f"modes, got {occupation} with {sum(occupation)} photons in {len(occupation)} modes"
            )
        self._set("input_state", occupation)
        self._set("n_photons", photons)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the one way to normalise a frozen field

    @property
    def occupation(self) -> tuple[int, ...]:
        """The input Fock state, photons in each mode."""
        if self.input_state is not None:
            return tuple(self.input_state)
        return StatePattern(self.state_pattern).occupation(self.n_modes, self.n_photons)

    @property
    def circuit_name(self) -> str:
        """The circuit type, or `"explicit"`."""
        return "explicit" if self.circuit_type is None else CircuitType(self.circuit_type).value

    @property
    def fock_space(self) -> FockSpace:
        """The outcomes."""
        return FockSpace(self.n_modes, self.n_photons, ComputationSpace(self.computation_space))

    def encoding_for(self, features: int) -> Encoding:
        """Return the encoding of a number of features.

        Args:
            features: Number of features, at least 1.

        Returns:
            Phases in units of pi for each unit of a feature, shape (columns, modes, features).

        Raises:
            MemoryError: If there are too many features to say where each of them goes.
            ValueError: If an explicit encoding is for another number of features.
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
    """An experiment tied to numbers of features and outputs; made by `AnsatzFactory`.

    Args:
        experiment: The circuit.
        input_size: Number of features, at least 1.
        output_size: Number of outputs; None where the strategy has only one: NONE, which gives all
            probabilities, MODE_EXPECTATIONS and PAIR_CORRELATIONS.
        output_mapping_strategy: How probabilities become outputs.
        dtype: `torch.float32` or `torch.float64`, in which layers made of it compute; None: torch's
            default, if it is one of them.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a size is out of range or does not fit the strategy, or if no feature would
            reach the output: mode expectations of as many photons in each input mode, and pair
            correlations of one photon, are constant.
    """

    experiment: Experiment
    input_size: int
    output_size: int | None = None
    output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.experiment, Experiment):
            raise TypeError(
                f"experiment must be an Experiment, got {type(self.experiment).__name__}"
            )
        name = "output_mapping_strategy"
        strategy = enum_member(OutputMappingStrategy, self.output_mapping_strategy, name)
        object.__setattr__(self, name, strategy)
        if self.dtype is not None:
            precision(self.dtype, "dtype")
        object.__setattr__(self, "input_size", integer(self.input_size, "input_size", 1))
        self.experiment.encoding_for(self.input_size)  # an explicit one may have another width
        space, readout = self.experiment.fock_space, strategy.readout
        mapping = f"{name}={strategy.value!r}"
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
    """Makes an `Ansatz`, with the call that MerLin's users know."""

    @staticmethod
    def create(
        experiment: Experiment,
        input_size: int,
        output_size: int | None = None,
        output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR,
        dtype: torch.dtype | None = None,
    ) -> Ansatz:
        """Tie an experiment to numbers of features and outputs.

        Args:
            experiment: As for `Ansatz`, and so are the others.
            input_size: Number of features.
            output_size: Number of outputs.
            output_mapping_strategy: How probabilities become outputs.
            dtype: In which layers made of it compute.

        Returns:
            The ansatz for `QuantumLayer`.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: As `Ansatz`.
        """
        return Ansatz(experiment, input_size, output_size, output_mapping_strategy, dtype)
