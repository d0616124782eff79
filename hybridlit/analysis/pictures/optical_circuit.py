"""A circuit as a picture needs it: its elements in order, and what each data phase encodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from hybridlit.components import photonic_modules
from hybridlit.photonics import Ansatz, Experiment, PhotonicCircuit
from hybridlit.photonics.interferometer import cells
from hybridlit.photonics.readouts.row import Readout
from hybridlit.words import in_digits, plural

__all__ = [
    "CircuitSource",
    "MeshElement",
    "OpticalCircuit",
    "data_phase_label",
    "kept_positions",
    "mesh_elements",
    "optical_circuit",
]

CircuitSource: TypeAlias = PhotonicCircuit | Ansatz | Experiment | nn.Module
"""What can be drawn: a layer or stack, an ansatz, an experiment, or a model with one circuit."""


class MeshElement(NamedTuple):
    """A beam splitter on modes (mode, mode + 1) or a phase shifter on one mode.

    Attributes:
        column: Column of the mesh that its cell belongs to.
        mode: The mode, or the upper one of two.
        phase: Phase in radians; None for a 50:50 beam splitter, NaN for an unknown phase.
    """

    column: int
    mode: int
    phase: float | None


@dataclass(frozen=True)
class OpticalCircuit:
    """What there is to draw of a circuit.

    Attributes:
        experiment: The circuit's description.
        input_size: Number of features.
        output_size: Number of outputs; None if it is not known, without a layer or ansatz.
        readout: How outcomes become outputs; None if it is not known.
        encoding: Phases in units of pi for each unit of a feature, learned bandwidths included,
            shape (columns, modes, features).
        encoded: Where a feature enters, bool, shape (columns, modes).
        phases: (a, b) of each cell in radians, shape (columns + 1, cells, 2); None if not drawn.
        count: Number of circuits of this shape in a stack, or None.
        index: Which of them this is.
    """

    experiment: Experiment
    input_size: int
    output_size: int | None
    readout: Readout | None
    encoding: npt.NDArray[np.float64]
    encoded: npt.NDArray[np.bool_]
    phases: npt.NDArray[np.float64] | None
    count: int | None = None
    index: int = 0

    @property
    def needs_amplitudes(self) -> bool:
        """Whether outcomes are simulated one by one; expectations need none of them."""
        return self.readout is None or self.readout.expectation is None

    @property
    def reading(self) -> str:
        """What becomes of the photons, in one line."""
        space = self.experiment.fock_space
        counted = in_digits(space.size) + (" unbunched" if space.unbunched else " Fock") + " states"
        if not self.needs_amplitudes:
            counted = "photons counted"
        if self.readout is None:
            return counted
        return f"{counted} -> {self.readout.words} -> {plural(self.output_size or 0, 'output')}"

    @property
    def caption(self) -> str:
        """Sizes in one line."""
        circuit, columns = self.experiment, len(self.encoding)
        number = (columns + 1) * circuit.n_modes * (circuit.n_modes - 1)
        fixed = " (fixed)" if circuit.reservoir_mode else ""
        parts = [
            f"{circuit.n_modes} modes",
            plural(circuit.n_photons, "photon"),
            f"{number:,} phases{fixed} in {columns + 1} meshes",
            f"{plural(self.input_size, 'feature')} as "
            f"{plural(int(self.encoded.sum()), 'data phase')} in {plural(columns, 'column')}",
        ]
        if self.count is not None:
            parts.insert(0, f"circuit {self.index} of {self.count} of this shape")
        return ", ".join(parts)


def optical_circuit(
    source: CircuitSource, input_size: int | None = None, index: int = 0
) -> OpticalCircuit:
    """Collect what there is to draw; arguments and errors are those of `draw_circuit`."""
    if isinstance(source, Experiment):
        if input_size is None and source.encoding is not None:
            input_size = len(source.encoding[0][0])
        if input_size is None:
            raise ValueError("input_size must be given to draw an Experiment: its features")
        return _from_experiment(source, input_size)
    if isinstance(source, Ansatz):
        return _from_experiment(source.experiment, source.input_size, source)
    if isinstance(source, PhotonicCircuit):
        return _from_layer(source, index)
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


def mesh_elements(
    modes: int, phases: npt.NDArray[np.float64] | None, last: bool
) -> Iterator[MeshElement]:
    """Unfold an interferometer into beam splitters and phase shifters, in the order of the light.

    A cell on modes (j, j + 1) is a beam splitter, a phase shifter a on mode j, a beam splitter, and
    a phase shifter b on mode j; in the last interferometer of a circuit b comes first instead.
    Phases are (a, b) of each cell in radians, shape (m (m - 1) / 2, 2), or None if not known.
    """
    layout = cells(modes)
    values = np.full((len(layout), 2), np.nan) if phases is None else phases
    for (column, mode), (a, b) in zip(layout.tolist(), values.tolist(), strict=True):
        splitter = MeshElement(column, mode, None)
        inner, outer = MeshElement(column, mode, a), MeshElement(column, mode, b)
        cell = (splitter, inner, splitter)
        yield from (outer, *cell) if last else (*cell, outer)


def data_phase_label(factors: npt.NDArray[np.float64], learned: str = "") -> str:
    """Say what a data phase encodes.

    Args:
        factors: Phase in units of pi for each unit of a feature, shape (features,).
        learned: A symbol for a factor whose value is not known.

    Returns:
        For instance `"π x1"`, `"2π x3"`, `"π mean(x1,x2)"` or `"π(0.5 x1 + 0.3 x2)"`; features are
        numbered from 1.

    Example:
        >>> data_phase_label(np.array([0.0, 0.5, 0.5]))
        'π mean(x2,x3)'
    """
    used = np.flatnonzero(factors)
    if not len(used):
        return "0"
    first = factors[used[0]]
    if np.allclose(factors[used], first, rtol=1e-6):
        what = f"x{used[0] + 1}" if len(used) == 1 else f"mean({_features(used)})"
        return f"{_factor(first * len(used))}{learned}π {what}"
    shown = used[:3] if len(used) > 3 else used
    terms = [f"{factors[feature]:.3g} x{feature + 1}" for feature in shown]
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
    encoding = experiment.encoding_for(input_size)
    readout, outputs = (None, None) if ansatz is None else (ansatz.readout, ansatz.output_size)
    encoded = np.asarray(encoding.any(axis=2))
    return OpticalCircuit(experiment, input_size, outputs, readout, encoding, encoded, None)


def _from_layer(layer: PhotonicCircuit, index: int) -> OpticalCircuit:
    count = layer.count
    if not 0 <= index < (count or 1):
        raise ValueError(f"index must be 0 to {(count or 1) - 1}, got {index}")
    plain = _from_experiment(layer.experiment, layer.input_size, layer.ansatz)
    encoding = plain.encoding.copy()
    if layer.bandwidth is not None:
        encoding[plain.encoded] *= _of_one(layer.bandwidth, count, index)[:, None]
    phases = _of_one(layer.phases, count, index)
    return replace(plain, encoding=encoding, phases=phases, count=count, index=index)


def _of_one(parameter: Tensor, count: int | None, index: int) -> npt.NDArray[np.float64]:
    """The values of one circuit."""
    one = parameter if count is None else parameter[index]
    return one.detach().cpu().double().numpy()


def _factor(value: float) -> str:
    rounded = f"{value:.3g}"
    return {"1": "", "-1": "-"}.get(rounded, rounded)


def _features(used: npt.NDArray[np.int64]) -> str:
    names = [f"x{feature + 1}" for feature in used]
    if len(names) <= 3:
        return ",".join(names)
    if used[-1] - used[0] + 1 == len(used):
        return f"{names[0]}..{names[-1]}"
    return f"{names[0]},{names[1]} and {len(names) - 2} more"
