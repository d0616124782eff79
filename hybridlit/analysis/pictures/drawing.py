"""A circuit as a figure: modes, photons, interferometers, data phases and what is read out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hybridlit.analysis.pictures.chip_circuit import DrawnCircuit, drawn_circuit
from hybridlit.analysis.pictures.elements import Element, in_columns
from hybridlit.analysis.pictures.optical_circuit import CircuitSource, kept_positions
from hybridlit.argument_types import checked
from hybridlit.checks import integer

__all__ = ["draw_circuit"]

_BY_ROW = ("ψ", "P")
"""What enters a mode if that is not one number of photons."""

_MESH_MODES, _MESH_COLUMNS = 10, 160
"""An unfolded mesh beyond these is too small to read."""

_INCH = 0.36
"""Inches for a unit of the drawing; two neighbouring modes are one unit apart."""

_LINE, _PHOTON = "#5a6472", "#b3261e"
_COLOURS: dict[str, dict[str, Any]] = {
    "mesh": {"facecolor": "#dde8f6", "edgecolor": "#30588c"},
    "data": {"facecolor": "#fdebd0", "edgecolor": "#c27217"},
    "trained": {"facecolor": "#eef4e4", "edgecolor": "#66863a"},
    "fixed": {"facecolor": "#ececec", "edgecolor": "#777777"},
}
_SHEET: dict[str, Any] = {"facecolor": "#f6f9fd", "edgecolor": "#c6d5e8", "zorder": 0}
_NESTED: dict[str, Any] = {"facecolor": "none", "edgecolor": "#999999", "ls": "--", "zorder": 0}
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
    max_columns: int = 16,
) -> Any:
    """Draw a circuit: light runs from left to right, a line is a mode.

    Dots are the input photons of a mode, with their number, circles where it depends on the term of
    a superposition, or for a chip (`ChipLayer`) on the row; boxes are phase shifters, crossings
    beam splitters, blue blocks interferometers, dashed frames circuits in the circuit. What data
    turn is orange, with learned bandwidths as factors, what is trained green, with its value where
    a layer is given, and what is fixed grey. Detectors that do not resolve photon numbers say T for
    a threshold, D4 for four wires. Angles are in radians, modes and features numbered from 0. The
    figure's `savefig` writes SVG, PNG or PDF.

    Args:
        source: A `QuantumLayer` or `QuantumLayerStack`, an `Ansatz`, an `Experiment`, a `Circuit`
            whose light is still to be chosen, or a model that holds one photonic layer.
        input_size: Number of features, for an experiment; others know it.
        mesh: Unfold the interferometers into beam splitters and phase shifters.
        index: Which circuit of a stack.
        max_modes: Modes drawn at most, at least 2; what is left out is marked.
        max_columns: Columns of components drawn at most, at least 2; what is left out is marked.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `source` cannot be drawn.
        ValueError: If an argument is out of range, there is not exactly one circuit, or `mesh` is
            asked for a circuit that is too large for it.

    Example:
        >>> from hybridlit import Experiment
        >>> figure = draw_circuit(Experiment("series", n_modes=3, n_photons=2), input_size=1)
        >>> len(figure.axes)
        1
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "draw_circuit needs matplotlib: pip install 'hybridlit[plot]'; describe_circuit draws "
            "with letters, without it"
        ) from error
    circuit = drawn_circuit(source, input_size, index)
    drawing = _Drawing(
        circuit, integer(max_modes, "max_modes", 2), integer(max_columns, "max_columns", 2), mesh
    )
    axes = Figure().add_axes((0, 0, 1, 1))
    drawing.draw_on(axes)
    return axes.figure


class _Drawing:
    """Places the elements of one circuit on matplotlib axes, from left to right."""

    def __init__(self, circuit: DrawnCircuit, max_modes: int, max_columns: int, mesh: bool) -> None:
        modes = len(circuit.inputs)
        self.circuit = circuit
        above, below, self.modes_left_out = kept_positions(modes, max_modes)
        columns = in_columns(circuit.elements(mesh), modes)
        before, after, self.columns_left_out = kept_positions(len(columns), max_columns)
        self.before, self.after = [columns[c] for c in before], [columns[c] for c in after]
        if mesh:
            columns = [*self.before, *self.after]
            unfolded = sum(max(_depth(each) for each in column) for column in columns)
            if modes > _MESH_MODES or unfolded > _MESH_COLUMNS:
                raise ValueError(
                    f"mesh=True draws at most {_MESH_MODES} modes and {_MESH_COLUMNS} columns of "
                    f"splitters and phases, got {modes} modes and {unfolded} columns: leave it "
                    "out, or lower max_columns"
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
        for column in self.before:
            self._column(column, self.heights)
        if self.columns_left_out:
            self._mark(self.columns_left_out)
        for column in self.after:
            self._column(column, self.heights)
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
        inputs = self.circuit.inputs
        for mode, height in self.heights.items():
            photons = inputs[mode]
            self._text(-1.75, height, str(mode), color="#777777", size=8)
            if not photons:
                continue
            self._text(-1.05, height, f"|{photons}⟩")
            if photons in _BY_ROW:
                self.axes.plot(-0.35, height, "o", mec=_PHOTON, mfc="white", ms=8)
            elif photons != "0":
                self.axes.plot(-0.35, height, "o", color=_PHOTON, ms=8 if photons == "1" else 11)
            if photons not in ("0", "1", *_BY_ROW):
                self._text(-0.35, height, photons, color="white", size=7)
        if self.modes_left_out:
            words = f"... {self.modes_left_out:,} more\nmodes ..."
            self._text(-1.9, self.gap, words, ha="left", size=7, **_FAINT)
        self._straight(-0.35, 0.0, self.heights)

    def _column(self, column: Sequence[Element], modes: Iterable[int]) -> None:
        """Draw elements one above another, and the light of the modes that pass them."""
        passing = set(modes)
        column = [element for element in column if passing & {*element.span}]
        width = max(map(self._width, column), default=0.0)
        for element in column:
            own = [mode for mode in element.span if mode in passing]
            passing -= set(own)
            each = width if element.kind == "phase" else self._width(element)
            begin = self.x + (width - each) / 2
            self._straight(self.x, begin, own)
            self._element(element, begin, begin + each, own)
            self._straight(begin + each, self.x + width, own)
        self._straight(self.x, self.x + width, passing)
        self.x += width

    def _element(self, element: Element, begin: float, end: float, own: Sequence[int]) -> None:
        top, bottom = self.heights[own[0]], self.heights[own[-1]]
        middle, height = (begin + end) / 2, (top + bottom) / 2
        style = _COLOURS[element.colour]
        whole = len(own) == len(element.span)
        if element.kind == "frame":
            self._frame(element, begin, end, own)
        elif element.kind == "phase":
            self._straight(begin, end, own)
            self._box(begin + 0.15, end - 0.15, top + 0.34, top - 0.34, **style)
            self._text(middle, top, element.label, size=8)
        elif element.kind == "permutation" and whole:
            for mode in set(own) - set(element.modes):
                self._straight(begin, end, [mode])
            for mode, place in zip(element.modes, element.order, strict=True):
                self._curve(begin, end, self.heights[mode], self.heights[element.modes[place]])
        elif element.kind == "splitter" and self._crosses(element):
            self._splitter(begin, end, top, bottom)
            if element.label:
                half = 0.1 + 0.09 * len(element.label)
                self._box(middle - half, middle + half, height + 0.26, height - 0.26, **style)
                self._text(middle, height, element.label, size=7.5)
        else:
            self._box(begin + 0.3, end - 0.3, top + 0.45, bottom - 0.45, **style)
            self._straight(begin, end, own)
            if element.label.startswith("U_"):
                self._text(middle, height, _name(element.label), size=13, style="italic")
            else:
                passing = {self.heights[mode] for mode in own if mode not in element.modes}
                self._text(middle, height + 0.5 * (height in passing), element.title, size=8.5)
            self._ports(element, begin + 0.3, end - 0.3, own)

    def _ports(self, element: Element, begin: float, end: float, own: Sequence[int]) -> None:
        """Number the modes of a box where they are not in their order; others pass on top of it."""
        for mode in own:
            if mode not in element.modes:
                self.axes.plot([begin, end], [self.heights[mode]] * 2, color=_LINE, lw=1.2)
            elif tuple(element.span) != element.modes:
                place = str(element.modes.index(mode))
                self._text(begin + 0.14, self.heights[mode], place, size=6.5, color="#777777")

    def _frame(self, element: Element, begin: float, end: float, own: Sequence[int]) -> None:
        """Draw a frame, and what is in it."""
        top, bottom = self.heights[own[0]], self.heights[own[-1]]
        style = _SHEET if element.label else _NESTED
        self._box(
            begin + 0.1, end - 0.1, top + (0.85 if element.label else 0.6), bottom - 0.55, **style
        )
        if element.label:
            name = _name(element.label)
            self._text(begin + 0.5, top + 0.53, name, color=_COLOURS["mesh"]["edgecolor"], size=10)
        self._straight(begin, begin + 0.2, own)
        outside, self.x = self.x, begin + 0.2
        for column in _inside(element):
            self._column(column, own)
        self._straight(self.x, end, own)
        self.x = outside

    def _crosses(self, splitter: Element) -> bool:
        """Whether a beam splitter is on two modes that are drawn next to one another."""
        return splitter.modes == tuple(splitter.span) and self.heights.keys() >= {*splitter.modes}

    def _width(self, element: Element) -> float:
        if element.kind == "frame":
            return 0.4 + sum(max(map(self._width, column)) for column in _inside(element))
        if element.kind == "phase":
            return 0.9 + 0.21 * max(2, len(element.label))
        if element.kind == "splitter" and self._crosses(element):
            return max(0.8, 0.7 + 0.18 * len(element.label))
        if element.kind == "permutation":
            return 0.8 + 0.3 * len(element.modes)
        return max(2.2 if element.kind == "box" else 0, 1.2 + 0.21 * len(element.title))

    def _splitter(self, begin: float, end: float, top: float, bottom: float) -> None:
        """Two waveguides that come close to one another, where light couples across."""
        at = np.linspace(begin, end, 40)
        bend = 0.5 - 0.5 * np.cos(2 * np.pi * np.linspace(0, 1, 40))
        reach = 0.46 * (top - bottom)
        self.lines.append(list(zip(at, top - reach * bend, strict=True)))
        self.lines.append(list(zip(at, bottom + reach * bend, strict=True)))

    def _curve(self, begin: float, end: float, height: float, behind: float) -> None:
        """A waveguide that crosses others."""
        share = np.linspace(0, 1, 40)
        rise = 0.5 - 0.5 * np.cos(np.pi * share)
        at, heights = begin + (end - begin) * share, height + (behind - height) * rise
        self.lines.append(list(zip(at, heights, strict=True)))

    def _mark(self, left_out: int) -> None:
        width = 3.4
        for begin, end in ((0, 0.5), (width - 0.5, width)):
            self._straight(self.x + begin, self.x + end, self.heights)
        words = f"... {left_out:,} more ...\n" + ("column" if left_out == 1 else "columns")
        self._text(self.x + width / 2, self.floor / 2, words, size=8, **_FAINT)
        self.x += width

    def _outputs(self) -> None:
        from matplotlib.patches import Wedge

        self._straight(self.x, self.x + 0.7, self.heights)
        if not self.circuit.reading:
            self.x += 0.7
            return
        for mode, height in self.heights.items():
            self.axes.add_artist(
                Wedge((self.x + 0.7, height), 0.3, -90, 90, facecolor="#444b55", zorder=3)
            )
            letter = self.circuit.detectors[mode]
            if letter != "D":
                self._text(self.x + 0.83, height, letter, size=6, color="white")
        words = self.circuit.reading.split(" -> ")
        width = 0.8 + 0.18 * max(map(len, words))
        low = min(self.floor - 0.45, self.floor / 2 - 0.3 * len(words) - 0.2)
        self._box(self.x + 1.2, self.x + 1.2 + width, self.floor - low, low, **_READ)
        self._text(self.x + 1.2 + width / 2, self.floor / 2, "\n".join(words), size=8.5)
        self.x += 1.2 + width

    def _straight(self, begin: float, end: float, modes: Iterable[int]) -> None:
        for mode in modes:
            self.lines.append([(begin, self.heights[mode]), (end, self.heights[mode])])

    def _box(self, left: float, right: float, top: float, bottom: float, **style: Any) -> None:
        from matplotlib.patches import FancyBboxPatch

        corner, shape = (left, bottom), "round,pad=0,rounding_size=0.12"
        style = {"zorder": 2, "lw": 1.1, "boxstyle": shape, **style}
        self.axes.add_artist(FancyBboxPatch(corner, right - left, top - bottom, **style))

    def _text(self, x: float, y: float, words: str, **style: Any) -> None:
        defaults = {"ha": "center", "va": "center", "size": 9, "zorder": 4}
        self.axes.text(x, y, words, **(defaults | style))


def _inside(element: Element) -> list[list[Element]]:
    """The columns of a frame."""
    return in_columns(element.parts, max(element.modes) + 1)


def _depth(element: Element) -> int:
    """The columns that an element takes, those in frames counted one by one."""
    return sum(max(map(_depth, column)) for column in _inside(element)) if element.parts else 1


def _name(label: str) -> str:
    # not as mathematics, which takes matplotlib longer than all the rest
    return label.replace("_", "").translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
