"""A circuit in letters: drawn for a terminal, and described in Markdown."""

from __future__ import annotations

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
from hybridlit.words import in_bytes, in_digits, plural

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
        source: A `QuantumLayer` or `QuantumLayerStack`, an `Ansatz`, an `Experiment`, or a model
            that holds one photonic layer.
        input_size: Number of features, for an experiment; others know it.
        index: Which circuit of a stack.
        max_modes: Modes drawn at most, at least 2; what is left out is marked.
        max_columns: Columns of data phases drawn at most, at least 2; what is left out is marked.

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
    above, below, left_out = kept_positions(
        circuit.experiment.n_modes, integer(max_modes, "max_modes", 2)
    )
    rows = above + below
    width = len(str(rows[-1]))
    photons = [f"|{number}>" for number in circuit.experiment.occupation]
    states = max(map(len, photons))
    lines = [
        f"{mode:>{width}}  {photons[mode]:<{states}} "
        + ("●" if circuit.experiment.occupation[mode] else "─")
        for mode in rows
    ]
    margin = " " * len(lines[0])
    top = bottom = margin
    before, after, columns_left_out = kept_positions(
        len(circuit.encoding), integer(max_columns, "max_columns", 2)
    )
    for position, column in enumerate(before + after):
        if columns_left_out and position == len(before):
            mark = f"── ... {plural(columns_left_out, 'more column')} ... "
            lines = [line + mark for line in lines]
            top, bottom = (border + " " * len(mark) for border in (top, bottom))
        lines, top, bottom = _with_interferometer(lines, top, bottom, column)
        lines, top, bottom = _with_column(lines, top, bottom, circuit, rows, column)
    lines, top, bottom = _with_interferometer(lines, top, bottom, len(circuit.encoding))
    lines = [line + "──D" for line in lines]
    if left_out:
        lines.insert(len(above), f"{'⋮':>{width}}  {plural(left_out, 'more mode')}")
    text = [top, *lines, bottom, f"D: {circuit.reading}", circuit.caption]
    return "\n".join(line.rstrip() for line in text)


def summarize_circuit(
    source: CircuitSource,
    batch_size: int,
    input_size: int | None = None,
    *,
    max_rows: int = 40,
) -> str:
    """Describe a circuit in Markdown: sizes, cost, and what each data phase encodes.

    Args:
        source: As for `describe_circuit`.
        batch_size: Samples in a training step, for the memory that it takes.
        input_size: Number of features, for an experiment; others know it.
        max_rows: Data phases listed at most, at least 2; what is left out is said.

    Returns:
        Two tables.

    Raises:
        TypeError: If `source` cannot be described.
        ValueError: If an argument is out of range, or there is not exactly one circuit.
    """
    circuit = optical_circuit(source, input_size)
    experiment = circuit.experiment
    count = circuit.count or 1
    cost = estimate(experiment, circuit.input_size, batch_size, calibrate=False, circuits=count)
    kind, space, meshes = experiment.circuit_type, experiment.fock_space, len(circuit.encoding) + 1
    of_each = f"{meshes} x {space.modes} x {space.modes - 1}"
    rows = [
        ("circuit", "explicit encoding" if kind is None else CircuitType(kind).value),
        ("modes", f"{space.modes}"),
        ("photons", f"{space.photons}"),
        ("input state", _ket(experiment.occupation)),
        ("states", f"{in_digits(space.size)}, {'unbunched' if space.unbunched else 'Fock'}"),
        ("interferometers", f"{meshes}"),
        ("phases", of_each + (", fixed (reservoir)" if experiment.reservoir_mode else "")),
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
    lines = [f"| {name} | {value} |" for name, value in rows]
    sizes = [lines[0], "|---|---|", *lines[1:]]
    places = [(int(c), int(m)) for c, m in zip(*circuit.encoded.nonzero(), strict=True)]
    before, after, left_out = kept_positions(len(places), integer(max_rows, "max_rows", 2))
    phases = [
        f"| {column} | {mode} | {data_phase_label(circuit.encoding[column, mode])} |"
        for column, mode in (places[position] for position in before + after)
    ]
    if left_out:
        phases.insert(len(before), f"| ... | ... | {plural(left_out, 'more data phase')} |")
    encodes = ["| column | mode | data phase |", "|---|---|---|", *phases]
    return "\n".join([*sizes, "", *encodes])


def _with_interferometer(
    lines: list[str], top: str, bottom: str, number: int
) -> tuple[list[str], str, str]:
    name = f" U_{number} "
    middle = (len(lines) - 1) // 2 if len(lines) % 2 else len(lines) // 2 - 1
    edge = "─" * len(name)
    grown = [
        f"{line}──┤{name if row == middle else ' ' * len(name)}├" for row, line in enumerate(lines)
    ]
    return grown, f"{top}  ┌{edge}┐", f"{bottom}  └{edge}┘"


def _with_column(
    lines: list[str], top: str, bottom: str, circuit: OpticalCircuit, rows: list[int], column: int
) -> tuple[list[str], str, str]:
    labels = [
        f"[{data_phase_label(circuit.encoding[column, mode])}]"
        if circuit.encoded[column, mode]
        else ""
        for mode in rows
    ]
    width = max(map(len, labels))
    grown = [f"{line}──{label:─<{width}}" for line, label in zip(lines, labels, strict=True)]
    gap = " " * (width + 2)
    return grown, top + gap, bottom + gap


def _ket(state: tuple[int, ...]) -> str:
    before, after, left_out = kept_positions(len(state), 32)
    shown = [str(state[mode]) for mode in before]
    if left_out:
        shown += [f"... {left_out} more modes ...", *(str(state[mode]) for mode in after)]
    return f"\\|{','.join(shown)}>"
