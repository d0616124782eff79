"""A circuit as a picture needs it: where it comes from, its sizes, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from hybridlit.analysis.pictures.elements import Element, Known, elements_of, mesh_of
from hybridlit.components import photonic_modules
from hybridlit.photonics import (
    Ansatz,
    Circuit,
    Data,
    Experiment,
    Interferometer,
    PhotonicCircuit,
    Trainable,
)
from hybridlit.photonics.ansatz import needs_outcomes
from hybridlit.photonics.circuit.angles import Angle
from hybridlit.photonics.circuit.lowering import Lowering, data_places
from hybridlit.photonics.description import imperfections
from hybridlit.photonics.noise.detected import DetectedOutcomes
from hybridlit.photonics.noise.detectors import detectors_of, wires
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.superposition import Superposition
from hybridlit.words import in_digits, plural

__all__ = [
    "CircuitSource",
    "OpticalCircuit",
    "data_phase_label",
    "kept_positions",
    "ket",
    "optical_circuit",
    "sum_of_kets",
]

CircuitSource: TypeAlias = PhotonicCircuit | Ansatz | Experiment | Circuit | nn.Module
"""What can be drawn: a layer or stack, an ansatz, an experiment, a circuit, or a model with one."""


@dataclass(frozen=True)
class OpticalCircuit:
    """What there is to draw of a circuit.

    Attributes:
        experiment: The circuit's description.
        input_size: Number of features.
        output_size: Number of outputs; None if it is not known, without a layer or ansatz.
        readout: How outcomes become outputs; None if it is not known.
        lowering: What follows from the circuit alone.
        phases: The parameters of the circuit in radians; None if there is no layer.
        bandwidth: Factors of encoded phases, or None.
        count: Number of circuits of this shape in a stack, or None.
        index: Which of them this is.
    """

    experiment: Experiment
    input_size: int
    output_size: int | None
    readout: Readout | None
    lowering: Lowering
    phases: npt.NDArray[np.float64] | None = None
    bandwidth: npt.NDArray[np.float64] | None = None
    count: int | None = None
    index: int = 0

    @property
    def encoded(self) -> npt.NDArray[np.bool_]:
        """Where a feature enters, shape (columns, modes)."""
        return np.asarray(self.lowering.encoding.any(axis=2))

    @property
    def encoding(self) -> npt.NDArray[np.float64]:
        """Phases in units of pi for each unit of a feature, bandwidths included."""
        encoding, tuned_by = self.lowering.encoding, self.lowering.tuned_by
        if self.bandwidth is None or not len(self.bandwidth):
            return encoding
        return encoding * self.bandwidth[tuned_by].reshape(*encoding.shape[:2], 1)

    def elements(self, unfold: bool = False, nested: bool = True) -> Iterator[Element]:
        """Yield what is drawn of the circuit; see `elements_of`."""
        if self.lowering.slots is not None:
            yield from elements_of(self._components, self._known(), unfold, nested)
            return
        modes, encoding, encoded = range(self.lowering.modes), self.encoding, self.encoded
        unknown = self.experiment.use_bandwidth_tuning and self.bandwidth is None
        for column in range(len(encoding) + 1):
            mesh = Interferometer(
                len(modes), phases="output" if column < len(encoding) else "input"
            )
            own = None if self.phases is None else self.phases[column]

            def known(angle: Angle, argument: str, own: Any = own) -> float | None:
                if own is None or not isinstance(angle, Trainable):
                    return None
                return float(own[int(argument[1:]), "ab".index(argument[0])])

            yield mesh_of(mesh, modes, column, known, unfold)
            for mode in np.flatnonzero(encoded[column]).tolist() if column < len(encoding) else ():
                label = data_phase_label(encoding[column, mode], "β " if unknown else "")
                yield Element("phase", (mode,), label, "data")

    @property
    def _components(self) -> Circuit:
        return self.experiment.circuit_for(self.input_size)

    def _known(self) -> Known:
        """Return the values of angles of components."""
        numbers = {p.name or p.key: n for n, p in enumerate(self.lowering.parameters)}
        places, tuned_by = data_places(self._components), self.lowering.tuned_by

        def known(angle: Angle, key: tuple[int | str, ...]) -> float | None:
            if isinstance(angle, Trainable) and self.phases is not None:
                return angle.scale * float(self.phases[numbers[angle.name or key]]) + angle.offset
            if isinstance(angle, Data) and self.bandwidth is not None:
                return float(self.bandwidth[tuned_by[places[key]]])
            return None

        return known

    @property
    def needs_amplitudes(self) -> bool:
        """Whether outcomes are simulated one by one; expectations need none of them."""
        return self.readout is None or needs_outcomes(self.experiment, self.readout)

    @property
    def reading(self) -> str:
        """What becomes of the photons, in one line."""
        outcomes = self.experiment.outcomes
        space = outcomes.space
        counted = in_digits(space.size) + (" unbunched" if space.unbunched else " Fock") + " states"
        if isinstance(outcomes, DetectedOutcomes):
            counted = f"{in_digits(outcomes.size)} {outcomes.words}"
            if outcomes.rule is not None:
                counted += f" by {outcomes.rule}"
        elif outcomes.rule is not None:
            counted = f"{in_digits(outcomes.size)} of {counted} kept by {outcomes.rule}"
        if not self.needs_amplitudes:
            counted = "photons counted"
        if self.readout is None:
            return counted
        return f"{counted} -> {self.readout.words} -> {plural(self.output_size or 0, 'output')}"

    @property
    def detectors(self) -> list[str]:
        """A letter for what stands behind each mode."""
        modes = self.experiment.n_modes
        names = detectors_of(self.experiment.detectors, modes) or ("pnr",) * modes
        numbers = map(wires, names)
        return ["D" if each is None else "T" if each == 1 else f"D{each}" for each in numbers]

    @property
    def inputs(self) -> list[str]:
        """What enters each mode: photons, or ψ where it depends on the term of a superposition."""
        state = self.experiment.superposition
        if state is None:
            return [str(photons) for photons in self.experiment.occupation]
        kinds = [{*column} for column in zip(*state.states, strict=True)]
        return [str(*kind) if len(kind) == 1 else "ψ" for kind in kinds]

    @property
    def caption(self) -> str:
        """Sizes in one line."""
        circuit, lowering = self.experiment, self.lowering
        fixed = " (fixed)" if circuit.reservoir_mode else ""
        columns, features = lowering.columns, plural(self.input_size, "feature")
        if lowering.slots is None:
            number = math.prod(lowering.phases_shape)
            angles = f"{number:,} phases{fixed} in {columns + 1} meshes"
            enter = (
                f"{plural(int(self.encoded.sum()), 'data phase')} in {plural(columns, 'column')}"
            )
        else:
            number = len(lowering.parameters)
            angles = f"{plural(number, 'trainable angle')}{fixed}"
            enter = f"{plural(len(data_places(self._components)), 'data angle')}"
        parts = [
            f"{circuit.n_modes} modes",
            plural(circuit.n_photons, "photon"),
            angles,
            f"{features} as {enter}" if self.input_size else "no data",
        ]
        state = circuit.superposition
        if state is not None:
            parts.insert(2, f"ψ = {sum_of_kets(state)}")
        if imperfect := imperfections(circuit):
            parts.append(imperfect)
        if self.count is not None:
            parts.insert(0, f"circuit {self.index} of {self.count} of this shape")
        return ", ".join(parts)


def optical_circuit(
    source: CircuitSource, input_size: int | None = None, index: int = 0
) -> OpticalCircuit:
    """Collect what there is to draw; arguments and errors are those of `draw_circuit`."""
    if isinstance(source, Experiment):
        input_size = source.input_size if input_size is None else input_size
        if input_size is None:
            raise ValueError("input_size must be given to draw an Experiment: its features")
        return _from_experiment(source, input_size)
    if isinstance(source, Ansatz):
        return _from_experiment(source.experiment, source.input_size, source)
    if isinstance(source, PhotonicCircuit):
        return _from_layer(source, index)
    if isinstance(source, Circuit):
        raise TypeError(
            "what a circuit costs depends on its light: give "
            "Experiment(circuit=circuit, n_photons=2), or another number"
        )
    if not isinstance(source, nn.Module):
        raise TypeError(
            "draw a QuantumLayer, a QuantumLayerStack, an Ansatz, an Experiment or a model, got "
            f"{type(source).__name__}"
        )
    found = {
        name: module
        for name, module in photonic_modules(source).items()
        if isinstance(module, PhotonicCircuit)
    }
    if len(found) != 1:
        which = f"several: {list(found)}; draw them one by one" if found else "none"
        raise ValueError(f"{type(source).__name__} must hold one circuit of hybridlit, got {which}")
    return _from_layer(next(iter(found.values())), index)


def data_phase_label(factors: npt.NDArray[np.float64], learned: str = "") -> str:
    """Say what a data phase encodes.

    Args:
        factors: Phase in units of pi for each unit of a feature, shape (features,).
        learned: A symbol for a factor whose value is not known.

    Returns:
        For instance `"π x0"`, `"2π x2"`, `"π mean(x0,x1)"` or `"π(0.5 x0 + 0.3 x1)"`; features are
        numbered from 0.

    Example:
        >>> data_phase_label(np.array([0.0, 0.5, 0.5]))
        'π mean(x1,x2)'
    """
    used = np.flatnonzero(factors)
    if not len(used):
        return "0"
    first = factors[used[0]]
    if np.allclose(factors[used], first, rtol=1e-6):
        what = f"x{used[0]}" if len(used) == 1 else f"mean({_features(used)})"
        return f"{_factor(first * len(used))}{learned}π {what}"
    shown = used[:3] if len(used) > 3 else used
    terms = [f"{factors[feature]:.3g} x{feature}" for feature in shown]
    more = [f"{len(used) - len(shown)} more"] if len(used) > len(shown) else []
    return f"{learned}π({' + '.join(terms + more)})".replace("+ -", "- ")


def kept_positions(total: int, most: int) -> tuple[list[int], list[int], int]:
    """Choose what to show of a long row in which at least two fit: its beginning and its end.

    Returns:
        Positions before and after the gap, and the number of those left out; all of them before it
        if they fit.
    """
    if total <= most:
        return list(range(total)), [], 0
    behind = most // 2
    return list(range(most - behind)), list(range(total - behind, total)), total - most


def _from_experiment(
    experiment: Experiment, input_size: int, ansatz: Ansatz | None = None
) -> OpticalCircuit:
    readout, outputs = (None, None) if ansatz is None else (ansatz.readout, ansatz.output_size)
    lowering = experiment.lowering(input_size)
    return OpticalCircuit(experiment, input_size, outputs, readout, lowering)


def _from_layer(layer: PhotonicCircuit, index: int) -> OpticalCircuit:
    count = layer.count
    if not 0 <= index < (count or 1):
        raise ValueError(f"index must be 0 to {(count or 1) - 1}, got {index}")
    bandwidth = None if layer.bandwidth is None else _of_one(layer.bandwidth, count, index)
    return OpticalCircuit(
        layer.experiment,
        layer.input_size,
        layer.output_size,
        layer.ansatz.readout,
        layer.lowering,
        _of_one(layer.angles(), count, index),
        bandwidth,
        count,
        index,
    )


def ket(state: Sequence[int]) -> str:
    """Return a state as |1,0,2>, of many modes its beginning and its end."""
    before, after, left_out = kept_positions(len(state), 32)
    shown = [str(state[mode]) for mode in before]
    if left_out:
        shown += [f"... {left_out} more modes ...", *(str(state[mode]) for mode in after)]
    return f"|{','.join(shown)}>"


def sum_of_kets(state: Superposition) -> str:
    """Return a superposition as 0.6 |1,0> + 0.8i |0,1>, of many terms the first."""
    terms = [f"{_number(amplitude)} {ket(occupation)}" for occupation, amplitude in state.terms[:4]]
    more = [f"{len(state.terms) - 4} more"] if len(state.terms) > 4 else []
    return " + ".join(terms + more).replace("+ -", "- ")


def _number(value: complex) -> str:
    if abs(value.imag) < 1e-9:
        return f"{value.real:.3g}"
    if abs(value.real) < 1e-9:
        return f"{value.imag:.3g}i"
    return f"({value.real:.3g}{value.imag:+.3g}i)"


def _of_one(parameter: Tensor, count: int | None, index: int) -> npt.NDArray[np.float64]:
    """The values of one circuit."""
    one = parameter if count is None else parameter[index]
    return one.detach().cpu().double().numpy()


def _factor(value: float) -> str:
    rounded = f"{value:.3g}"
    return {"1": "", "-1": "-"}.get(rounded, rounded)


def _features(used: npt.NDArray[np.int64]) -> str:
    names = [f"x{feature}" for feature in used]
    if len(names) <= 3:
        return ",".join(names)
    if used[-1] - used[0] + 1 == len(used):
        return f"{names[0]}..{names[-1]}"
    return f"{names[0]},{names[1]} and {len(names) - 2} more"
