"""A circuit as a figure: modes, photons, interferometers, data phases and what is read out."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridlit.analysis.pictures.optical_circuit import (
    CircuitSource,
    OpticalCircuit,
    data_phase_label,
    kept_positions,
    mesh_elements,
    optical_circuit,
)
from hybridlit.argument_types import checked
from hybridlit.checks import integer

__all__ = ["draw_circuit"]

_MESH_MODES, _MESH_COLUMNS = 10, 40
"""An unfolded mesh beyond these is too small to read."""

_INCH = 0.36
"""Inches for a unit of the drawing; two neighbouring modes are one unit apart."""

_LINE, _PHOTON = "#5a6472", "#b3261e"
_MESH: dict[str, Any] = {"facecolor": "#dde8f6", "edgecolor": "#30588c"}
_DATA: dict[str, Any] = {"facecolor": "#fdebd0", "edgecolor": "#c27217"}
_PHASE: dict[str, Any] = {"facecolor": "#eef4e4", "edgecolor": "#66863a"}
_SHEET: dict[str, Any] = {"facecolor": "#f6f9fd", "edgecolor": "#c6d5e8", "zorder": 0}
_FAINT: dict[str, Any] = {"color": "#777777", "style": "italic"}
_READ: dict[str, Any] = {"facecolor": "#efe9f6", "edgecolor": "#69529b"}


@checked
def draw_circuit(
    source: CircuitSource,
    input_size: int | None = None,
    *,
    mesh: bool = False,
    index: int = 0,
    max_modes: int = 24,
    max_columns: int = 6,
) -> Any:
    """Draw a circuit: light runs from left to right, a line is a mode.

    Dots are the input photons of a mode, with their number; blue blocks the interferometers, orange
    boxes the phases that data bring in, with learned bandwidths as factors. Modes are numbered from
    0, features from 1. The figure's `savefig` writes SVG, PNG or PDF.

    Args:
        source: A `QuantumLayer` or `QuantumLayerStack`, an `Ansatz`, an `Experiment`, or a model
            that holds one photonic layer.
        input_size: Number of features, for an experiment; others know it.
        mesh: Unfold the interferometers into beam splitters (crossings, 50:50) and phase shifters
            (green boxes, with their phases where a layer is given).
        index: Which circuit of a stack.
        max_modes: Modes drawn at most, at least 2; what is left out is marked.
        max_columns: Columns of data phases drawn at most, at least 2; what is left out is marked.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `source` cannot be drawn.
        ValueError: If an argument is out of range, there is not exactly one circuit, or `mesh` is
            asked for a circuit that is too large for it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "draw_circuit needs matplotlib: pip install 'hybridlit[plot]'; describe_circuit draws "
            "with letters, without it"
        ) from error
    circuit = optical_circuit(source, input_size, index)
    drawing = _Drawing(
        circuit, integer(max_modes, "max_modes", 2), integer(max_columns, "max_columns", 2), mesh
    )
    axes = Figure().add_axes((0, 0, 1, 1))
    drawing.draw_on(axes)
    return axes.figure


class _Drawing:
    """Places the elements of one circuit on matplotlib axes, from left to right."""

    def __init__(
        self, circuit: OpticalCircuit, max_modes: int, max_columns: int, mesh: bool
    ) -> None:
        modes = circuit.experiment.n_modes
        self.circuit, self.mesh = circuit, mesh
        above, below, self.modes_left_out = kept_positions(modes, max_modes)
        self.columns, self.late_columns, self.columns_left_out = kept_positions(
            len(circuit.encoding), max_columns
        )
        unfolded = (len(self.columns) + len(self.late_columns) + 1) * modes
        if mesh and (modes > _MESH_MODES or unfolded > _MESH_COLUMNS):
            raise ValueError(
                f"mesh=True draws at most {_MESH_MODES} modes and {_MESH_COLUMNS} columns of "
                f"cells, got {modes} modes and {unfolded} columns of cells: leave it out, or "
                "lower max_columns"
            )
        # A gap of one line marks the modes left out.
        places = [*above, *[None] * bool(below), *below]
        self.heights = {m: -float(row) for row, m in enumerate(places) if m is not None}
        self.gap = -float(len(above))
        self.floor = -float(len(places) - 1)
        self.x = 0.0
        self.lines: list[list[tuple[float, float]]] = []

    def draw_on(self, axes: Any) -> None:
        """Draw everything, and give the figure the size that it takes."""
        from matplotlib.collections import LineCollection

        self.axes = axes
        self._inputs()
        for column in self.columns:
            self._interferometer(column)
            self._data(column)
        if self.columns_left_out:
            self._mark(self.columns_left_out)
        for column in self.late_columns:
            self._interferometer(column)
            self._data(column)
        self._interferometer(len(self.circuit.encoding))
        self._outputs()
        # One collection: hundreds of lines by themselves would take their time.
        axes.add_collection(LineCollection(self.lines, colors=_LINE, linewidths=1.2, zorder=1))
        lines = self._caption()
        text = "\n".join(lines)
        self._text(-2.0, self.floor - 1.0, text, ha="left", va="top", size=8.5, color="#333333")
        bottom = self.floor - 1.4 - 0.48 * len(lines)
        axes.set(xlim=(-2.3, self.x + 0.3), ylim=(bottom, 1.0))
        axes.set_axis_off()
        axes.figure.set_size_inches((self.x + 2.6) * _INCH, (1.0 - bottom) * _INCH)
        axes.figure.set_dpi(130)

    def _caption(self) -> list[str]:
        """The caption, broken before the parts of it that do not fit."""
        room = max(30, int((self.x + 2.2) * 4.6))
        lines = [""]
        for part in self.circuit.caption.split(", "):
            if lines[-1] and len(lines[-1]) + len(part) > room:
                lines.append("")
            lines[-1] += part + ", "
        return [*(line.rstrip() for line in lines[:-1]), lines[-1].rstrip(", ")]

    def _inputs(self) -> None:
        for mode, height in self.heights.items():
            photons = self.circuit.experiment.occupation[mode]
            self._text(-1.75, height, str(mode), color="#777777", size=8)
            self._text(-1.05, height, f"|{photons}⟩")
            if photons:
                self.axes.plot(-0.35, height, "o", color=_PHOTON, ms=11 if photons > 1 else 8)
            if photons > 1:
                self._text(-0.35, height, str(photons), color="white", size=7)
        if self.modes_left_out:
            words = f"... {self.modes_left_out:,} more\nmodes ..."
            self._text(-1.9, self.gap, words, ha="left", size=7, **_FAINT)
        self._straight(-0.35, 0.0)

    def _interferometer(self, number: int) -> None:
        if self.mesh:
            self._unfolded(number)
            return
        self._straight(self.x, self.x + 2.2)
        self._box(self.x + 0.3, self.x + 1.9, 0.45, self.floor - 0.45, **_MESH)
        self._text(self.x + 1.1, self.floor / 2, _name(number), size=13, style="italic")
        self.x += 2.2

    def _unfolded(self, number: int) -> None:
        modes = self.circuit.experiment.n_modes
        phases = None if self.circuit.phases is None else self.circuit.phases[number]
        last = number == len(self.circuit.encoding)
        start, split, shift = self.x + 0.2, 0.8, 1.5
        width = 2 * (split + shift)
        end = start + modes * width
        self._straight(self.x, start)
        self._box(start - 0.1, end + 0.1, 0.85, self.floor - 0.55, **_SHEET)
        self._text(start + 0.3, 0.53, _name(number), color=_MESH["edgecolor"], size=10)
        # How far the light of each mode has come in each column of cells.
        ends = {(c, m): start + c * width for c in range(modes) for m in range(modes)}
        for column, mode, phase in mesh_elements(modes, phases, last):
            x = ends[column, mode]
            if phase is None:
                self._splitter(x, x + split, mode)
                ends[column, mode] = ends[column, mode + 1] = x + split
                continue
            # The light of the lower mode goes straight on below the phase shifter.
            for line in (mode, mode + 1):
                self._line(x, x + shift, self.heights[line])
            label = "" if np.isnan(phase) else f"{phase % (2 * np.pi) / np.pi:.2f}π"
            height = self.heights[mode]
            self._box(x + 0.12, x + shift - 0.12, height + 0.27, height - 0.27, **_PHASE)
            self._text(x + shift / 2, height, label, size=6.5)
            ends[column, mode] = ends[column, mode + 1] = x + shift
        for (column, mode), x in ends.items():
            self._line(x, start + (column + 1) * width, self.heights[mode])
        self._straight(end, end + 0.2)
        self.x = end + 0.2

    def _splitter(self, x: float, end: float, mode: int) -> None:
        """Two waveguides that come close to one another, where light couples across."""
        at = np.linspace(x, end, 40)
        bend = 0.5 - 0.5 * np.cos(2 * np.pi * np.linspace(0, 1, 40))
        top, bottom = self.heights[mode], self.heights[mode + 1]
        reach = 0.46 * (top - bottom)
        self.lines.append(list(zip(at, top - reach * bend, strict=True)))
        self.lines.append(list(zip(at, bottom + reach * bend, strict=True)))

    def _data(self, column: int) -> None:
        circuit = self.circuit
        unknown = circuit.experiment.use_bandwidth_tuning and circuit.phases is None
        labels = {
            mode: data_phase_label(circuit.encoding[column, mode], "β " if unknown else "")
            for mode in self.heights
            if circuit.encoded[column, mode]
        }
        width = 0.9 + 0.21 * max(map(len, labels.values()), default=2)
        self._straight(self.x, self.x + width)
        for mode, label in labels.items():
            height = self.heights[mode]
            ends = self.x + 0.15, self.x + width - 0.15
            self._box(*ends, height + 0.34, height - 0.34, **_DATA)
            self._text(self.x + width / 2, height, label, size=8)
        self.x += width

    def _mark(self, left_out: int) -> None:
        width = 3.4
        for begin, end in ((0, 0.5), (width - 0.5, width)):
            self._straight(self.x + begin, self.x + end)
        words = f"... {left_out:,} more ...\n" + ("column" if left_out == 1 else "columns")
        self._text(self.x + width / 2, self.floor / 2, words, size=8, **_FAINT)
        self.x += width

    def _outputs(self) -> None:
        from matplotlib.patches import Wedge

        self._straight(self.x, self.x + 0.7)
        for height in self.heights.values():
            self.axes.add_artist(
                Wedge((self.x + 0.7, height), 0.3, -90, 90, facecolor="#444b55", zorder=3)
            )
        words = self.circuit.reading.split(" -> ")
        width = 0.8 + 0.18 * max(map(len, words))
        low = min(self.floor - 0.45, self.floor / 2 - 0.3 * len(words) - 0.2)
        self._box(self.x + 1.2, self.x + 1.2 + width, self.floor - low, low, **_READ)
        self._text(self.x + 1.2 + width / 2, self.floor / 2, "\n".join(words), size=8.5)
        self.x += 1.2 + width

    def _straight(self, begin: float, end: float) -> None:
        for height in self.heights.values():
            self._line(begin, end, height)

    def _line(self, begin: float, end: float, height: float) -> None:
        self.lines.append([(begin, height), (end, height)])

    def _box(self, left: float, right: float, top: float, bottom: float, **style: Any) -> None:
        from matplotlib.patches import FancyBboxPatch

        corner, shape = (left, bottom), "round,pad=0,rounding_size=0.12"
        style = {"zorder": 2, "lw": 1.1, "boxstyle": shape, **style}
        self.axes.add_artist(FancyBboxPatch(corner, right - left, top - bottom, **style))

    def _text(self, x: float, y: float, words: str, **style: Any) -> None:
        defaults = {"ha": "center", "va": "center", "size": 9, "zorder": 4}
        self.axes.text(x, y, words, **(defaults | style))


def _name(number: int) -> str:
    # not as mathematics, which takes matplotlib longer than all the rest
    return "U" + str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
