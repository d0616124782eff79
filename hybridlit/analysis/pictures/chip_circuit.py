"""The circuit of a chip as a picture needs it: data turn its phases, and light enters by row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from hybridlit.analysis.pictures.bare_circuit import BareCircuit
from hybridlit.analysis.pictures.elements import Element, elements_of, in_columns
from hybridlit.analysis.pictures.optical_circuit import CircuitSource, optical_circuit
from hybridlit.components import photonic_modules
from hybridlit.photonics import Circuit
from hybridlit.photonics.chip_layer import MEASURED, ChipLayer
from hybridlit.photonics.circuit.angles import Angle, Trainable
from hybridlit.words import plural

__all__ = ["ChipCircuit", "DrawnCircuit", "drawn_circuit", "places_of_splitters"]


class DrawnCircuit(Protocol):
    """What figures and drawings with letters need of a circuit."""

    @property
    def inputs(self) -> list[str]:
        """What enters each mode: photons; ψ or P where that differs by row; "" if not known."""

    @property
    def detectors(self) -> list[str]:
        """A letter for what stands behind each mode; "" if that is not known."""

    @property
    def reading(self) -> str:
        """What becomes of the light, in one line; "" if that is not known."""

    @property
    def caption(self) -> str:
        """Sizes in one line, parts of it separated by commas."""

    def elements(self, unfold: bool = False, nested: bool = True) -> Iterator[Element]:
        """Yield what is drawn between inputs and detectors."""


@dataclass(frozen=True)
class ChipCircuit:
    """A chip with the reflectivities that its splitters have.

    Args:
        layer: The chip.
    """

    layer: ChipLayer

    @property
    def inputs(self) -> list[str]:
        """The power that a row says, for each mode."""
        return ["P"] * self.layer.modes

    @property
    def detectors(self) -> list[str]:
        """A letter for what stands behind each mode."""
        return ["D"] * self.layer.modes

    @property
    def reading(self) -> str:
        """What is measured."""
        return f"{self.layer.measured} -> {plural(self.layer.output_size, 'output')}"

    @property
    def caption(self) -> str:
        """Sizes in one line."""
        lights = MEASURED[self.layer.measured].lights
        enters = "light in one mode a row" if lights == 1 else "two photons in two modes a row"
        return ", ".join(
            [
                f"{self.layer.modes} modes",
                enters,
                f"{plural(self.layer.turned, 'phase')} x that heaters turn",
                "splitters by reflectivity",
            ]
        )

    def elements(self, unfold: bool = True, nested: bool = False) -> Iterator[Element]:
        """Yield what is drawn, all of it without frames: a mesh is most of a chip, or all."""
        angles = self.layer.angles().detach().double().cpu().numpy()
        numbers = _numbers(self.layer)

        def known(angle: Angle, key: tuple[int | str, ...]) -> float | None:
            if not isinstance(angle, Trainable):
                return None
            return angle.scale * float(angles[numbers[angle.name or key]]) + angle.offset

        for element in _flat(elements_of(self.layer.circuit, known, unfold=True)):
            if element.kind == "splitter" and _is_trained(element):
                reflected = math.sin((element.radians or 0.0) / 2) ** 2
                element = element._replace(label=f"{reflected:.3f}")
            yield element


def drawn_circuit(
    source: CircuitSource, input_size: int | None = None, index: int = 0
) -> DrawnCircuit:
    """Collect what there is to draw; arguments and errors are those of `draw_circuit`."""
    if isinstance(source, Circuit):
        return BareCircuit(source)
    chips = [source]
    if isinstance(source, nn.Module) and not isinstance(source, ChipLayer):
        chips = list(photonic_modules(source).values())
    if len(chips) == 1 and isinstance(chips[0], ChipLayer):
        return ChipCircuit(chips[0])
    return optical_circuit(source, input_size, index)


def places_of_splitters(layer: ChipLayer) -> npt.NDArray[np.float64]:
    """Return where each splitter with a trained angle is, in the order of its parameters.

    Returns:
        Column and mode, halfway between its two, shape (splitters, 2). One whose angle has a name
        that others share is where the first of them is.
    """
    numbers = _numbers(layer)

    def number(angle: Angle, key: tuple[int | str, ...]) -> float | None:
        return float(numbers[angle.name or key]) if isinstance(angle, Trainable) else None

    elements = _flat(elements_of(layer.circuit, number, unfold=True))
    places: dict[int, tuple[float, float]] = {}
    for column, each in enumerate(in_columns(elements, layer.modes)):
        for element in each:
            if element.kind == "splitter" and _is_trained(element):
                place = float(column), sum(element.modes) / 2
                places.setdefault(int(element.radians or 0.0), place)  # "radians" are its number
    return np.array([places[each] for each in sorted(places)], dtype=np.float64).reshape(-1, 2)


def _numbers(layer: ChipLayer) -> dict[object, int]:
    return {p.name or p.key: n for n, p in enumerate(layer.lowering.parameters)}


def _flat(elements: Iterable[Element]) -> Iterator[Element]:
    """Yield elements, and what is in frames instead of the frames."""
    for element in elements:
        if element.kind == "frame":
            yield from _flat(element.parts)
        else:
            yield element


def _is_trained(element: Element) -> bool:
    """Tell whether the angle of an element is a parameter whose value is known."""
    return element.colour == "trained" and element.radians is not None
