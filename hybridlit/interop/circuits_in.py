"""A Perceval circuit -> the same components here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hybridlit.interop.symbols import SymbolsIn
from hybridlit.photonics.circuit.angles import Angle
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import (
    BeamSplitter,
    Component,
    FixedUnitary,
    Permutation,
    PhaseShifter,
)

__all__ = ["circuit_of"]


def circuit_of(placed: Iterable[tuple[Any, Any]], modes: int, symbols: SymbolsIn) -> Circuit:
    """Return the circuit of Perceval's components.

    Args:
        placed: Modes and component of each.
        modes: Number of modes.
        symbols: What their parameters are.

    Raises:
        ValueError: If one is none that can be simulated here.
    """
    made = Circuit(modes)
    for places, component in placed:
        for found, within in _components(component, symbols):
            made.add(found, [places[mode] for mode in within])
    return made


def _components(given: Any, symbols: SymbolsIn) -> Iterator[tuple[Component, Sequence[int]]]:
    """Yield what a component is here, and on which of its modes."""
    import perceval as pcvl

    if isinstance(given, pcvl.Barrier):
        return
    if not isinstance(given, pcvl.components.ACircuit) or given.requires_polarization:
        raise ValueError(
            f"circuits must consist of phase shifters, beam splitters, permutations and unitaries "
            f"without polarisation, got a component {given.name!r}"
        )
    every = range(given.m)
    if isinstance(given, pcvl.Circuit):
        inner = pcvl.Experiment(given).flatten(max_depth=1)
        yield circuit_of(inner, given.m, symbols), every
    elif isinstance(given, pcvl.PERM):
        yield Permutation(given.perm_vector), every
    elif isinstance(given, pcvl.PS):
        if not given.param("max_error").fixed or float(given.param("max_error")):
            raise ValueError(
                "phase shifters must be exact, got one with max_error; noise of phases is not "
                "simulated here"
            )
        for angle in symbols.angles(given.param("phi")):
            yield PhaseShifter(angle), every
    elif isinstance(given, pcvl.BS):
        yield from _splitters(given, symbols)
    elif not given.get_parameters():
        yield FixedUnitary(given.compute_unitary()), every
    else:
        raise ValueError(
            f"components with symbols must be phase shifters or beam splitters, got "
            f"{given.name!r} with {', '.join(repr(p.name) for p in given.get_parameters())}"
        )


def _splitters(given: Any, symbols: SymbolsIn) -> Iterator[tuple[Component, Sequence[int]]]:
    """Yield a beam splitter; of an angle that is a sum of several, components one by one."""
    names = ("theta", "phi_tl", "phi_bl", "phi_tr", "phi_br")
    angles: dict[str, list[Angle]] = {name: symbols.angles(given.param(name)) for name in names}
    convention = given.convention.name.lower()
    *rest, theta = angles["theta"]
    corners: dict[str, Any] = {name: angles[name].pop() for name in names[1:]}
    before, behind = (
        [(n, angle) for n in ns for angle in angles[n]] for ns in (names[1:3], names[3:])
    )
    for name, angle in before:
        yield PhaseShifter(angle), ["tb".index(name[4])]
    # Rotations add about one axis; the reflection H(a + b) is a rotation behind one: Ry(b) H(a).
    rotation = "ry" if convention == "h" else convention
    outputs = {name: corners.pop(name) for name in names[3:]} if rest else {}
    yield BeamSplitter(theta, convention, **corners), range(2)
    for number, angle in enumerate(rest, 1):
        yield BeamSplitter(angle, rotation, **(outputs if number == len(rest) else {})), range(2)
    for name, angle in behind:
        yield PhaseShifter(angle), ["tb".index(name[4])]
