"""A circuit in letters: drawn for a terminal, and described in Markdown."""

from __future__ import annotations

import numpy as np

from hybridlit.analysis.pictures.optical_circuit import (
    CircuitSource,
    OpticalCircuit,
    data_phase_label,
    kept_positions,
    optical_circuit,
)
from hybridlit.argument_types import checked
from hybridlit.checks import integer
from hybridlit.photonics import CircuitType
from hybridlit.photonics.cost import estimate
from hybridlit.words import in_bytes, in_digits, piped, plural

__all__ = ["describe_circuit", "summarize_circuit"]


@checked
def describe_circuit(
    source: CircuitSource,
    input_size: int | None = None,
    *,
    index: int = 0,
    max_modes: int = 24,
    max_columns: int = 4,
) -> str:
    """Draw a circuit with letters, for a terminal.

    Light runs from left to right: a line is a mode, with its number and its input photons, boxes
    are the interferometers, brackets the phases that data bring in, D a photon counter. Values of
    phases are in radians; features are numbered from 1, modes from 0.

    Args:
        source: As for `draw_circuit`, and so are the others.
        input_size: Number of features, for an experiment.
        index: Which circuit of a stack.
        max_modes: Modes drawn at most, at least 2.
        max_columns: Columns of data phases drawn at most, at least 2.

    Returns:
        Lines of text.

    Raises:
        TypeError: If `source` cannot be drawn.
        ValueError: If an argument is out of range, or there is not exactly one circuit.

    Example:
        >>> from hybridlit import Experiment
        >>> print(describe_circuit(Experiment("series", n_modes=3, n_photons=1), input_size=2))
                  ┌─────┐          ┌─────┐
        0  |1> ●──┤     ├──[π x1]──┤     ├──D
        1  |0> ───┤ U_0 ├──[π x2]──┤ U_1 ├──D
        2  |0> ───┤     ├──────────┤     ├──D
                  └─────┘          └─────┘
        D: 3 Fock states
        3 modes, 1 photon, 12 phases in 2 meshes, 2 features as 2 data phases in 1 column
    """
    circuit = optical_circuit(source, input_size, index)
    occupation = circuit.experiment.occupation
    above, below, left_out = kept_positions(len(occupation), integer(max_modes, "max_modes", 2))
    rows = above + below
    width = len(str(rows[-1]))
    states = max(len(f"|{photons}>") for photons in occupation)
    labels = [
        f"{mode:>{width}}  {f'|{occupation[mode]}>':<{states}} {'●' if occupation[mode] else '─'}"
        for mode in rows
    ]
    before, after, columns_left_out = kept_positions(
        len(circuit.encoding), integer(max_columns, "max_columns", 2)
    )
    pieces = [_framed(labels)]
    for position, column in enumerate(before + after):
        if columns_left_out and position == len(before):
            mark = f"── ... {plural(columns_left_out, 'more column')} ... "
            pieces.append(_framed([mark] * len(rows)))
        pieces.append(_interferometer(column, len(rows)))
        pieces.append(_framed(_data_phases(circuit, rows, column)))
    pieces.append(_interferometer(len(circuit.encoding), len(rows)))
    pieces.append(_framed(["──D"] * len(rows)))
    text = ["".join(parts).rstrip() for parts in zip(*pieces, strict=True)]
    if left_out:
        text.insert(1 + len(above), f"{'⋮':>{width}}  {plural(left_out, 'more mode')}")
    return "\n".join([*text, f"D: {circuit.reading}", circuit.caption])


def summarize_circuit(
    source: CircuitSource, batch_size: int, input_size: int | None = None, *, max_rows: int = 40
) -> str:
    """Describe a circuit in Markdown: sizes, cost, and what each data phase encodes.

    Args:
        source: As for `draw_circuit`.
        batch_size: Samples in a training step, for the memory that it takes.
        input_size: Number of features, for an experiment.
        max_rows: Data phases listed at most, at least 2; what is left out is said.

    Returns:
        Two tables.

    Raises:
        TypeError: If `source` cannot be described.
        ValueError: If an argument is out of range, or there is not exactly one circuit.
    """
    circuit = optical_circuit(source, input_size)
    first, *sizes = _sizes(circuit, batch_size)
    places = np.argwhere(circuit.encoded).tolist()
    before, after, left_out = kept_positions(len(places), integer(max_rows, "max_rows", 2))
    phases = [
        (f"{column}", f"{mode}", data_phase_label(circuit.encoding[column, mode]))
        for column, mode in (places[position] for position in before + after)
    ]
    if left_out:
        phases.insert(len(before), ("...", "...", plural(left_out, "more data phase")))
    return f"{piped(first, sizes)}\n\n{piped(('column', 'mode', 'data phase'), phases)}"


def _sizes(circuit: OpticalCircuit, batch_size: int) -> list[tuple[str, str]]:
    """Sizes and cost by name."""
    experiment, count = circuit.experiment, circuit.count or 1
    cost = estimate(experiment, circuit.input_size, batch_size, calibrate=False, circuits=count)
    kind, space, meshes = experiment.circuit_type, experiment.fock_space, len(circuit.encoding) + 1
    fixed = ", fixed (reservoir)" if experiment.reservoir_mode else ""
    rows = [
        ("circuit", "explicit encoding" if kind is None else CircuitType(kind).value),
        ("modes", f"{space.modes}"),
        ("photons", f"{space.photons}"),
        ("input state", _ket(experiment.occupation)),
        ("states", f"{in_digits(space.size)}, {'unbunched' if space.unbunched else 'Fock'}"),
        ("interferometers", f"{meshes}"),
        ("phases", f"{meshes} x {space.modes} x {space.modes - 1}{fixed}"),
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


def _interferometer(number: int, rows: int) -> list[str]:
    name = f" U_{number} "
    inside = [" " * len(name)] * rows
    inside[(rows - 1) // 2] = name
    edge = "─" * len(name)
    return [f"  ┌{edge}┐", *(f"──┤{words}├" for words in inside), f"  └{edge}┘"]


def _data_phases(circuit: OpticalCircuit, rows: list[int], column: int) -> list[str]:
    labels = [
        f"[{data_phase_label(circuit.encoding[column, mode])}]"
        if circuit.encoded[column, mode]
        else ""
        for mode in rows
    ]
    width = max(map(len, labels))
    return [f"──{label:─<{width}}" for label in labels]


def _ket(state: tuple[int, ...]) -> str:
    before, after, left_out = kept_positions(len(state), 32)
    shown = [str(state[mode]) for mode in before]
    if left_out:
        shown += [f"... {left_out} more modes ...", *(str(state[mode]) for mode in after)]
    return f"|{','.join(shown)}>"
