"""A circuit -> the same components in Perceval."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridlit.interop.symbols import SymbolsOut
from hybridlit.photonics.circuit.angles import as_angle
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import (
    BeamSplitter,
    Component,
    FixedUnitary,
    Permutation,
    PhaseShifter,
)
from hybridlit.photonics.circuit.meshes import Interferometer, cells_of

__all__ = ["perceval_circuit"]


def perceval_circuit(circuit: Circuit, symbols: SymbolsOut) -> Any:
    """Return the `perceval.Circuit` of a circuit.

    Args:
        circuit: Whose trainable angles have names.
        symbols: Of the whole circuit.
    """
    import perceval as pcvl

    made = pcvl.Circuit(circuit.n_modes)
    for component, modes in circuit:
        first, width = min(modes), max(modes) - min(modes) + 1
        within = [mode - first for mode in modes]
        found = _component(component, symbols)
        if within == list(range(width)):
            made.add(first, found)
            continue
        # Perceval has components on neighbours alone: bring the modes there and back.
        others = [mode for mode in range(width) if mode not in within]
        there = np.argsort([*within, *others]).tolist()
        made.add(first, pcvl.PERM(there)).add(first, found)
        made.add(first, pcvl.PERM([*within, *others]))
    return made


def _component(component: Component, symbols: SymbolsOut) -> Any:
    import perceval as pcvl

    if isinstance(component, Circuit):
        return perceval_circuit(component, symbols)
    if isinstance(component, PhaseShifter):
        return pcvl.PS(symbols.parameter(as_angle(component.phi, "phi")))
    if isinstance(component, BeamSplitter):
        angles = {
            name: symbols.parameter(as_angle(getattr(component, name), name))
            for name in ("theta", "phi_tl", "phi_bl", "phi_tr", "phi_br")
        }
        kind = {member.name.lower(): member for member in pcvl.BSConvention}
        return pcvl.BS(**angles, convention=kind[component.convention])
    if isinstance(component, Permutation):
        return pcvl.PERM(list(component.permutation))
    if isinstance(component, FixedUnitary):
        return pcvl.Unitary(pcvl.Matrix(component.array))
    assert isinstance(component, Interferometer)
    return _mesh(component, symbols)


def _mesh(mesh: Interferometer, symbols: SymbolsOut) -> Any:
    import perceval as pcvl

    assert mesh.n_modes is not None
    made = pcvl.Circuit(mesh.n_modes, name="Interferometer")
    places = cells_of(mesh.n_modes, mesh.shape)
    angles, splitters = mesh.tables()
    for cell in range(len(places)):
        upper = int(places[cell, 1])
        a, b = (pcvl.PS(symbols.parameter(angle)) for angle in angles[cell])
        first, second = (pcvl.BS(symbols.parameter(angle)) for angle in splitters[cell])
        if mesh.phases == "input":
            made.add(upper, b)
        made.add(upper, first).add(upper, a).add(upper, second)
        if mesh.phases == "output":
            made.add(upper, b)
    return made
