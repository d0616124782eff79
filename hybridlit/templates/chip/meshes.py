"""Chips as circuits: every phase is turned by data, every splitter's reflectance is to be found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from hybridlit.checks import choice, integer
from hybridlit.photonics import (
    BeamSplitter,
    Circuit,
    Data,
    Interferometer,
    PhaseShifter,
    Trainable,
)
from hybridlit.photonics.chip_layer import ChipLayer

__all__ = ["MESHES", "MeshName", "chip_circuit", "places_of_phases"]


def _splitter(name: str) -> Trainable:
    return Trainable(name, init=math.pi / 2)


def _cells(modes: int, shape: str) -> Circuit:
    """Cells of two splitters with a phase between them and one behind, both on the upper mode."""
    cells = range(modes * (modes - 1) // 2)
    mesh = Interferometer(
        shape=shape,
        angles=[(Data(2 * cell), Data(2 * cell + 1)) for cell in cells],
        splitters=[(_splitter(f"first{cell}"), _splitter(f"second{cell}")) for cell in cells],
    )
    return Circuit(modes).add(mesh)


def _bell_walmsley(modes: int) -> Circuit:
    """Cells with a phase in either arm, and one on each mode that a column leaves alone.

    Bell and Walmsley, APL Photonics 6, 070804 (2021).
    """
    circuit, phases, cells = Circuit(modes), count(), count()
    for column in range(modes):
        alone = set(range(modes))
        for upper in range(column % 2, modes - 1, 2):
            cell, arms = next(cells), (upper, upper + 1)
            alone -= {*arms}
            circuit.add(BeamSplitter(_splitter(f"first{cell}")), upper)
            for arm in arms:
                circuit.add(PhaseShifter(Data(next(phases))), arm)
            circuit.add(BeamSplitter(_splitter(f"second{cell}")), upper)
        for mode in sorted(alone):
            circuit.add(PhaseShifter(Data(next(phases))), mode)
    return circuit


MESHES: dict[str, Callable[[int], Circuit]] = {
    "rectangular": partial(_cells, shape="rectangular"),
    "triangular": partial(_cells, shape="triangular"),
    "bell_walmsley": _bell_walmsley,
}
"""Circuits of chips of so many modes, by the name of their mesh."""

if TYPE_CHECKING:
    MeshName: TypeAlias = str
else:
    MeshName = Literal[tuple(MESHES)]


def chip_circuit(modes: int, mesh: str | Circuit | Mapping[str, Any] | Sequence[Any]) -> Circuit:
    """Return the circuit of a chip.

    Args:
        modes: Number of modes, at least 2.
        mesh: A name of `MESHES`; or a circuit, or its components in plain form, whose features are
            the phases.

    Raises:
        TypeError: If `mesh` is something else.
        ValueError: If there is no such mesh, or the circuit has other modes, or no phase to turn.
    """
    integer(modes, "modes", 2)
    if isinstance(mesh, str):
        choice(mesh, "mesh", MESHES)
        return MESHES[mesh](modes).in_use()
    try:
        circuit = Circuit.of(mesh, modes)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"mesh must be one of {list(MESHES)}, or a circuit of modes={modes}, got "
            f"{type(mesh).__name__}: {error}"
        ) from None
    if not circuit.input_size:
        raise ValueError(
            "mesh must have phases that heaters turn, got a circuit without data: give a "
            "phase_shifter such as {phi: {data: 0}}"
        )
    return circuit


def places_of_phases(layer: ChipLayer) -> npt.NDArray[np.float64]:
    """Return column and mode of each phase of a chip, shape (phases, 2).

    One that is in several places is in the middle of them.
    """
    columns, modes, phases = layer.lowering.encoding.nonzero()  # plain: the layer may be on "meta"
    found = np.zeros((layer.turned, 2))
    np.add.at(found, phases, np.stack([columns, modes], 1))
    result: npt.NDArray[np.float64] = found / np.bincount(phases, minlength=layer.turned)[:, None]
    return result
