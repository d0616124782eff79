"""A circuit in letters: drawn for a terminal, and described in Markdown."""

from __future__ import annotations

import numpy as np

from hybridlit.analysis.pictures.chip_circuit import drawn_circuit
from hybridlit.analysis.pictures.elements import Element, in_columns
from hybridlit.analysis.pictures.optical_circuit import (
    CircuitSource,
    OpticalCircuit,
    data_phase_label,
    kept_positions,
    ket,
    optical_circuit,
    sum_of_kets,
)
from hybridlit.argument_types import checked
from hybridlit.checks import integer
from hybridlit.photonics import Experiment
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.description import imperfections
from hybridlit.photonics.noise.detected import DetectedOutcomes
from hybridlit.words import in_bytes, in_digits, piped, plural

__all__ = ["describe_circuit", "summarize_circuit"]


@checked
def describe_circuit(
    source: CircuitSource,
    input_size: int | None = None,
    *,
    index: int = 0,
    max_modes: int = 24,
    max_columns: int = 10,
) -> str:
    """Draw a circuit with letters, for a terminal.

    Light runs from left to right: a line is a mode, with its number and its input photons. Phases
    that data bring in stand in brackets, others in parentheses; boxes are interferometers and beam
    splitters, with numbers where their modes are not in order; a permutation says where light
    leaves; D is a photon counter, D4 one of four wires, T a threshold detector. Angles are in
    radians; modes and features are numbered from 0. Of a chip (`ChipLayer`) splitters have their
    reflectivities, and P is light that not every row has.

    Args:
        source: As for `draw_circuit`, and so are the others.
        input_size: Number of features, for an experiment.
        index: Which circuit of a stack.
        max_modes: Modes drawn at most, at least 2.
        max_columns: Columns of components drawn at most, at least 2.

    Returns:
        Lines of text.

    Raises:
        TypeError: If `source` cannot be drawn.
        ValueError: If an argument is out of range, or there is not exactly one circuit.

    Example:
        >>> from hybridlit import Experiment
        >>> print(describe_circuit(Experiment("series", n_modes=3, n_photons=1), input_size=2))
                  ┌─────┐          ┌─────┐
        0  |1> ●──┤     ├──[π x0]──┤     ├──D
        1  |0> ───┤ U_0 ├──[π x1]──┤ U_1 ├──D
        2  |0> ───┤     ├──────────┤     ├──D
                  └─────┘          └─────┘
        D: 3 Fock states
        3 modes, 1 photon, 12 phases in 2 meshes, 2 features as 2 data phases in 1 column
    """
    circuit = drawn_circuit(source, input_size, index)
    inputs = circuit.inputs
    above, below, left_out = kept_positions(len(inputs), integer(max_modes, "max_modes", 2))
    rows = above + below
    width = len(str(rows[-1]))
    kets = [photons and f"|{photons}>" for photons in inputs]
    states = max(map(len, kets))
    dots = {"": "─", "0": "─", "ψ": "○", "P": "○"}
    labels = [
        f"{mode:>{width}}  {kets[mode]:<{states}} {dots.get(inputs[mode], '●')}" for mode in rows
    ]
    columns = in_columns(circuit.elements(nested=False), len(inputs))
    before, after, columns_left_out = kept_positions(
        len(columns), integer(max_columns, "max_columns", 2)
    )
    pieces = [_framed(labels)]
    for position, column in enumerate(before + after):
        if columns_left_out and position == len(before):
            mark = f"── ... {plural(columns_left_out, 'more column')} ... "
            pieces.append(_framed([mark] * len(rows)))
        pieces.append(_column(columns[column], rows))
    pieces.append(_framed([f"──{circuit.detectors[mode]}" for mode in rows]))
    text = ["".join(parts).rstrip() for parts in zip(*pieces, strict=True)]
    if left_out:
        text.insert(1 + len(above), f"{'⋮':>{width}}  {plural(left_out, 'more mode')}")
    read = [f"D: {circuit.reading}"] if circuit.reading else []
    return "\n".join([*text, *read, circuit.caption])


def summarize_circuit(
    source: CircuitSource, batch_size: int, input_size: int | None = None, *, max_rows: int = 40
) -> str:
    """Describe a circuit in Markdown: sizes, cost, and each data phase or component.

    Args:
        source: As for `draw_circuit`.
        batch_size: Samples in a training step, for the memory that it takes.
        input_size: Number of features, for an experiment.
        max_rows: Data phases or components listed at most, at least 2; what is left out is said.

    Returns:
        Two tables.

    Raises:
        TypeError: If `source` cannot be described.
        ValueError: If an argument is out of range, or there is not exactly one circuit.
    """
    circuit = optical_circuit(source, input_size)
    first, *sizes = _sizes(circuit, batch_size)
    head: tuple[str, ...] = ("column", "mode", "data phase")
    if circuit.lowering.slots is None:
        places = np.argwhere(circuit.encoded).tolist()
        encoding = circuit.encoding
        rows: list[tuple[str, ...]]
        rows = [(f"{c}", f"{m}", data_phase_label(encoding[c, m])) for c, m in places]
    else:
        head = ("modes", "component")
        placed = circuit.experiment.circuit_for(circuit.input_size).flattened()
        rows = [(",".join(map(str, modes)), str(component)) for component, modes in placed]
    before, after, left_out = kept_positions(len(rows), integer(max_rows, "max_rows", 2))
    shown = [rows[position] for position in before + after]
    if left_out:
        words = plural(left_out, f"more {head[-1]}")
        shown.insert(len(before), (*["..."] * (len(head) - 1), words))
    return f"{piped(first, sizes)}\n\n{piped(head, shown)}"


def _kept(experiment: Experiment) -> list[tuple[str, str]]:
    rows, outcomes = [], experiment.outcomes
    if imperfect := imperfections(experiment):
        rows.append(("noise and detectors", imperfect))
        if isinstance(outcomes, DetectedOutcomes):
            rows.append(("outcomes that are shown", in_digits(outcomes.size)))
    if outcomes.rule is not None:
        rows.append(("post-selection", f"{outcomes.rule} keeps {in_digits(outcomes.size)}"))
    return rows


def _sizes(circuit: OpticalCircuit, batch_size: int) -> list[tuple[str, str]]:
    """Sizes and cost by name."""
    experiment, count = circuit.experiment, circuit.count or 1
    cost = estimate(experiment, circuit.input_size, batch_size, calibrate=False, circuits=count)
    space, meshes = experiment.fock_space, circuit.lowering.columns + 1
    state = experiment.superposition
    angles = [
        ("interferometers", f"{meshes}"),
        ("phases", f"{meshes} x {space.modes} x {space.modes - 1}"),
    ]
    if circuit.lowering.slots is not None:
        angles = [("trainable angles", f"{len(circuit.lowering.parameters)}")]
    fixed = ", fixed (reservoir)" if experiment.reservoir_mode else ""
    rows = [
        ("circuit", experiment.circuit_name.replace("explicit", "explicit encoding")),
        ("modes", f"{space.modes}"),
        ("photons", f"{space.photons}"),
        ("input state", ket(experiment.occupation) if state is None else sum_of_kets(state)),
        ("states", f"{in_digits(space.size)}, {'unbunched' if space.unbunched else 'Fock'}"),
        *_kept(experiment),
        *angles[:-1],
        (angles[-1][0], angles[-1][1] + fixed),
        ("bandwidths", "learned" if experiment.use_bandwidth_tuning else "fixed"),
        ("features", f"{circuit.input_size}"),
    ]
    if circuit.readout is not None:
        rows.append(("outputs", f"{circuit.output_size}, {circuit.readout.words}"))
    if circuit.count is not None:
        rows.insert(0, ("circuits of this shape", f"{circuit.count}"))
    if circuit.needs_amplitudes:
        rows += [
            ("multiply-adds a sample", in_digits(count * cost.multiply_adds)),
            (f"memory of a step of {batch_size}", in_bytes(cost.peak_bytes)),
            ("kernel", cost.kernel),
        ]
    return rows


def _framed(lines: list[str]) -> list[str]:
    """Lines of modes, with a line above and one below in which there is nothing."""
    gap = " " * len(lines[0])
    return [gap, *lines, gap]


def _column(column: list[Element], rows: list[int]) -> list[str]:
    """Lines of elements one above another."""
    first = column[0]
    if first.kind == "box" and first.modes == tuple(range(rows[-1] + 1)):  # a block of its own
        name = f" {first.label} "
        inside = [" " * len(name)] * len(rows)
        inside[(len(rows) - 1) // 2] = name
        edge = "─" * len(name)
        return [f"  ┌{edge}┐", *(f"──┤{words}├" for words in inside), f"  └{edge}┘"]
    lines: dict[int, str] = {}
    for element in column:
        own = [mode for mode in element.span if mode in rows]
        if own:
            lines.update(zip(own, _element(element, own), strict=True))
    width = max(map(len, lines.values()), default=0)
    return _framed([f"──{lines.get(mode, ''):─<{width}}" for mode in rows])


def _element(element: Element, own: list[int]) -> list[str]:
    """What stands on each mode of an element: brackets, or a box of several lines."""
    if element.kind == "phase":
        opening, closing = "[]" if element.colour == "data" else "()"
        return [f"{opening}{element.label}{closing}"]
    if element.kind == "permutation":
        places = dict(zip(element.modes, element.order, strict=True))
        inside = [f"→{element.modes[places[m]]}" if m in places else None for m in own]
    else:
        in_order = element.modes == tuple(element.span)
        inside = [
            ("" if in_order else str(element.modes.index(mode))) if mode in element.modes else None
            for mode in own
        ]
        at = next((place for place, words in enumerate(inside) if words is not None), None)
        if at is not None:  # else all of its modes are left out, but for those that pass
            inside[at] = f"{inside[at]} {element.title}".strip()
    width = max((len(words) for words in inside if words is not None), default=1)
    found = []
    for place, words in enumerate(inside):
        left, right = "┐┌" if place == 0 else "┘└" if place == len(own) - 1 else "┤├"
        passing = words is None
        found.append("┼" + "─" * width + "┼" if passing else f"{left}{words:<{width}}{right}")
    return found
