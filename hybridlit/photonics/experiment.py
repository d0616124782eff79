"""What to simulate, as plain validated data: the experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import Self

from hybridlit.checks import boolean, choice, enum_member, integer
from hybridlit.photonics.circuit.builders import CircuitType, Encoding, explicit, meshes_between
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.lowering import Lowering, lowering_of, of_encoding
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.noise.detected import DetectedOutcomes
from hybridlit.photonics.noise.detectors import detectors_of
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.program import Program, program_for
from hybridlit.photonics.noise.shown import Detection
from hybridlit.photonics.noise.simulation import Source
from hybridlit.photonics.noise.values import arriving
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.postselection import rule_text
from hybridlit.photonics.states import StatePattern
from hybridlit.photonics.superposition import Superposition, given_input

if TYPE_CHECKING:
    from hybridlit.photonics.budget import Budget

__all__ = ["Experiment"]

EncodingUnit = Literal["pi", "radian"]


@dataclass(frozen=True)
class Experiment:
    """A linear-optical circuit on a Fock state, not yet tied to a number of features.

    Exactly one of `circuit_type`, `encoding` and `circuit` says where the data enter.

    Args:
        circuit_type: A `CircuitType` or its string.
        n_modes: Number of modes m, at least 2.
        n_photons: Number of photons n, at least 1; below `n_modes` in the unbunched space. None:
            as many as in `input_state`.
        state_pattern: Where the input photons are, a `StatePattern` or its string.
        use_bandwidth_tuning: Give each encoded phase a learnable factor, initially 1.
        reservoir_mode: Draw the interferometers' phases once and keep them fixed.
        input_state: The input occupation of each mode, instead of `state_pattern`; or a
            superposition: a mapping from occupations of as many photons to amplitudes, which are
            divided by their norm, a Perceval `StateVector`, or a list of mappings of `state` and
            `amplitude`, a number or real and imaginary part. Kept as a tuple or a `Superposition`.
        computation_space: `"fock"` for all outcomes; `"unbunched"` for those with at most one
            photon a mode, their probabilities renormalised.
        postselect: Which outcomes to keep, their probabilities renormalised, as Perceval's
            `PostSelect` says it: `"[0,1]==1 & [4]<2"`, see `postselection.parsed`; or
            `"dual_rail"`, one photon in each two modes. None: all of them.
        encoding: Instead of a circuit type, the phases for each unit of a feature: a nested
            sequence, array or tensor of shape (columns, modes, features). Kept as tuples, in units
            of pi.
        encoding_unit: What `encoding` is given in: `"pi"`, units of pi, or `"radian"`.
        circuit: Instead of both, the components one by one: a `Circuit`, of which a copy is kept,
            or its components in their plain form.
        noise: A `Noise`, its fields by name, or the name of a preset; kept as a `Noise`. None:
            ideal photons.
        detectors: `"pnr"`, which resolves photon numbers, `"threshold"`, which tells some photons
            from none, `"ppnr:4"`, which has four wires that each do; or one of them for each mode.
            None: `"pnr"`.
        min_detected_photons: Outcomes that show fewer photons are dropped, and the probabilities of
            the others renormalised; None: none is.

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
    input_state: (
        Sequence[int]
        | Mapping[tuple[int, ...], complex]
        | Sequence[Mapping[str, Any]]
        | Superposition
        | None
    ) = field(default=None, kw_only=True)
    computation_space: ComputationSpace | str = field(default=ComputationSpace.FOCK, kw_only=True)
    postselect: str | None = field(default=None, kw_only=True)
    encoding: Sequence[Sequence[Sequence[float]]] | npt.NDArray[Any] | Tensor | None = field(
        default=None, kw_only=True
    )
    encoding_unit: EncodingUnit = field(default="pi", kw_only=True)
    circuit: Circuit | Sequence[Mapping[str, Any]] | None = field(default=None, kw_only=True)
    noise: Noise | Mapping[str, Any] | str | None = field(default=None, kw_only=True)
    detectors: str | Sequence[str] | None = field(default=None, kw_only=True)
    min_detected_photons: int | None = field(default=None, kw_only=True)

    @classmethod
    def largest(
        cls,
        budget: Budget | str,
        *,
        n_modes: int | None = None,
        n_photons: int | None = None,
        input_size: int | None = None,
        batch_size: int = 64,
        circuit_type: CircuitType | str = CircuitType.SERIES,
        computation_space: ComputationSpace | str = ComputationSpace.FOCK,
        dtype: torch.dtype = torch.float32,
        **circuit: Any,
    ) -> Self:
        """Return the circuit with the most states whose training step is within a budget.

        Circuits are tried in an order in which each has more states than the one before: with
        `n_modes` given, of 1, 2, ... photons, up to one a mode, or if unbunched one for two modes;
        with `n_photons` given, of ever more modes; with neither, of m modes and half as many
        photons, rounded down. Time and memory are those of `estimate`, of the probabilities and
        their gradient; for a whole model see `hybridlit fit --budget`.

        Args:
            budget: A `Budget`, or what `Budget.parse` takes, such as `"2GiB, 20ms, ascella"`.
            n_modes: Number of modes; None: as many as the budget allows.
            n_photons: Number of photons; None: the same.
            input_size: Number of features; None: one fewer than modes.
            batch_size: Samples in a step, at least 1.
            circuit_type: Where the features enter.
            computation_space: `"fock"` or `"unbunched"`.
            dtype: Precision of the simulation.
            **circuit: Other fields, but for `input_state`, `encoding` and `circuit`, which are of
                a given number of modes.

        Returns:
            The experiment.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument is out of range, or no circuit is within the budget.

        Example:
            >>> Experiment.largest("1 MiB", n_photons=3, batch_size=16).n_modes
            21
        """
        from hybridlit.photonics.budget import largest_experiment  # which makes experiments

        fixed = dict(circuit_type=circuit_type, computation_space=computation_space, **circuit)
        numbers = n_modes, n_photons, input_size, batch_size
        return largest_experiment(cls, budget, *numbers, dtype, fixed)

    def __post_init__(self) -> None:
        ways = ("circuit_type", "encoding", "circuit")
        given = [name for name in ways if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of circuit_type, encoding and circuit, got "
                f"{' and '.join(given) or 'neither'}"
            )
        if self.circuit is not None:
            circuit = Circuit.of(self.circuit, self.n_modes)
            self._set("n_modes", circuit.n_modes)
            self._set("circuit", circuit)
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
        self._set_detection()
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
        if self.input_state is not None:
            kept, photons = given_input(self.input_state, self.n_modes, self.n_photons)
            self._set("input_state", kept)
        elif self.n_photons is None:
            raise ValueError("n_photons must be given, at least 1, or input_state with photons")
        else:
            photons = integer(self.n_photons, "n_photons", 1)
        self._set("n_photons", photons)

    def _set_detection(self) -> None:
        """Normalise noise, detectors and what is kept of what they show."""
        noise = Noise.of(self.noise)
        self._set("noise", noise)
        detectors = detectors_of(self.detectors, self.n_modes)
        same = detectors is not None and len(set(detectors)) == 1
        self._set("detectors", detectors[0] if detectors and same else detectors)
        self._noise.require_fit(self.n_modes, self.superposition is not None)
        least = self.min_detected_photons
        if least is not None:
            least = integer(least, "min_detected_photons", 0, self.most_photons)
            self._set("min_detected_photons", least)
        if self.postselect is not None:
            self._set("postselect", rule_text(self.postselect, self.n_modes, self.most_photons)[0])
        if self.postselect is not None or self.program is not None:
            self.outcomes  # noqa: B018  # which looks at what is kept

    @property
    def _noise(self) -> Noise:
        return self.noise if isinstance(self.noise, Noise) else Noise()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the one way to normalise a frozen field

    @property
    def superposition(self) -> Superposition | None:
        """The input state where it is a superposition."""
        return self.input_state if isinstance(self.input_state, Superposition) else None

    @property
    def mean_photons(self) -> tuple[float, ...]:
        """Mean photon number of each input mode."""
        state = self.superposition
        return tuple(map(float, self.occupation)) if state is None else state.mean_photons

    @property
    def most_in_a_mode(self) -> int:
        """The most photons that any mode holds in any term of the input state."""
        state = self.superposition
        return max(map(max, (self.occupation,) if state is None else state.states))

    @property
    def occupation(self) -> tuple[int, ...]:
        """The input Fock state, photons in each mode.

        Raises:
            ValueError: If the input state is a superposition of several.
        """
        if isinstance(self.input_state, Superposition):
            raise ValueError(
                f"input_state is a superposition of {len(self.input_state.terms)} occupations, "
                "where one occupation is needed"
            )
        if self.input_state is not None:
            return tuple(self.input_state)  # type: ignore[arg-type]
        return StatePattern(self.state_pattern).occupation(self.n_modes, self.n_photons)

    @property
    def circuit_name(self) -> str:
        """The circuit type; `"explicit"` with an encoding, `"components"` with a circuit."""
        if self.circuit_type is None:
            return "explicit" if self.circuit is None else "components"
        return str(CircuitType(self.circuit_type).value)

    @property
    def input_size(self) -> int | None:
        """Number of features; None where the circuit type takes any."""
        if self.encoding is not None:
            return int(np.shape(self.encoding)[2])
        return self.circuit.input_size if isinstance(self.circuit, Circuit) else None

    @property
    def fock_space(self) -> FockSpace:
        """The states that are simulated: the outcomes, unless `postselect` keeps some of them."""
        return FockSpace(self.n_modes, self.n_photons, ComputationSpace(self.computation_space))

    @property
    def outcomes(self) -> Outcomes:
        """The outcomes that have a probability, a sequence of occupation tuples."""
        program = self.program
        if program is None:
            return Outcomes(self.fock_space, self.rule)
        detection = Detection(
            program.light,
            self._noise.by_mode is not None,
            detectors_of(self.detectors, self.n_modes),
            self.min_detected_photons or 0,
            ComputationSpace(self.computation_space),
            self.rule,
        )
        return DetectedOutcomes(self.fock_space, detection, arriving(self._noise, self.n_photons))

    @property
    def source(self) -> Source | None:
        """What makes the light; None where all photons arrive alike and are counted."""
        program = self.program
        return None if program is None else Source(program, self._noise)

    @property
    def program(self) -> Program | None:
        """How the light of this source follows; None where all photons arrive and are counted."""
        return self.program_for(True)

    def program_for(self, interferes: bool) -> Program | None:
        """Return the same of photons that interfere with one another, or do not."""
        counted = self.detectors is None and not self.min_detected_photons
        if counted and self._noise.ideal_light and interferes:
            return None
        kind = ComputationSpace(self.computation_space)
        if self.detectors is not None:
            kind = ComputationSpace.FOCK  # of which some show what unbunched ones do
        if self.superposition is None:
            photons = tuple(m for m, n in enumerate(self.occupation) for _ in range(n))
        else:
            photons = (0,) * self.n_photons  # of which only the number matters
        return program_for(self._noise, photons, self.n_modes, kind, interferes)

    @property
    def rule(self) -> str | None:
        """What `postselect` says, by name or not; None without it."""
        if self.postselect is None:
            return None
        return rule_text(self.postselect, self.n_modes, self.most_photons)[1]

    @property
    def most_photons(self) -> int:
        """The most photons that may be detected together: all, and second ones of a source."""
        return self.n_photons * (2 if self._noise.g2 else 1)

    def encoding_for(self, features: int) -> Encoding:
        """Return the encoding of a number of features.

        Args:
            features: Number of features, at least 0.

        Returns:
            Phases in units of pi for each unit of a feature, shape (columns, modes, features).

        Raises:
            MemoryError: If there are too many features to say where each of them goes.
            ValueError: If the circuit or an explicit encoding is for another number of features.
        """
        return self.lowering(features).encoding

    def lowering(self, features: int) -> Lowering:
        """Return the circuit of a number of features in the form that kernels know.

        Args:
            features: Number of features, at least 0.

        Returns:
            What follows from the circuit alone.

        Raises:
            MemoryError: If there are too many features to say where each of them goes.
            ValueError: If the circuit or an explicit encoding is for another number of features.
        """
        wanted = self.input_size
        if wanted not in (None, features):
            source = "circuit" if self.encoding is None else "encoding"
            raise ValueError(
                f"input_size must be {wanted}, the number of features in the experiment's "
                f"{source}, got {features}"
            )
        if isinstance(self.circuit, Circuit):
            return lowering_of(self.circuit, features)
        if not features:
            return lowering_of(self.circuit_for(0).in_use(), 0)
        if self.encoding is not None:
            return of_encoding(np.array(self.encoding))
        kind = CircuitType(self.circuit_type or "")
        return of_encoding(kind.encoding(features, self.n_modes))

    def circuit_for(self, features: int) -> Circuit:
        """Return the circuit of a number of features, component by component.

        Args:
            features: Number of features, at least 0.

        Raises:
            ValueError: If the circuit or an explicit encoding is for another number of features.
        """
        if isinstance(self.circuit, Circuit):
            return self.circuit
        encoding = self.encoding_for(features) if features else np.zeros((0, self.n_modes, 0))
        return meshes_between(encoding)
