"""What a circuit looks like: phases, crossings, boxes and frames, in the order of light."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeAlias

from hybridlit.photonics import (
    BeamSplitter,
    Circuit,
    Data,
    Fixed,
    Interferometer,
    Permutation,
    PhaseShifter,
    Trainable,
)
from hybridlit.photonics.circuit.angles import Angle, as_angle, as_angles
from hybridlit.photonics.circuit.components import Component
from hybridlit.photonics.circuit.meshes import cells_of

__all__ = ["Colour", "Element", "Known", "elements_of", "in_columns", "mesh_of"]

Colour: TypeAlias = Literal["data", "trained", "fixed", "mesh"]
Known: TypeAlias = Callable[[Angle, tuple[int | str, ...]], float | None]
"""From an angle and where it is, as in a `PhaseStep`, to the value of a trained one in radians, or
the bandwidth of one that data turn; None if it is not known."""

_KnownHere: TypeAlias = Callable[[Angle, str], float | None]
"""The same, of one component."""


class Element(NamedTuple):
    """A thing that is drawn.

    Attributes:
        kind: A `"phase"` on one mode; a `"splitter"`; a `"permutation"`; a `"box"` with a name; a
            `"frame"` around others.
        modes: The modes that it is on, in its own order.
        label: What stands in it.
        colour: What its angles are.
        radians: The angle of a phase or a splitter; None if it is not known, or data turn it.
        order: Where a permutation lets the light of each of its modes leave.
        parts: What is in a frame.
    """

    kind: Literal["phase", "splitter", "permutation", "box", "frame"]
    modes: tuple[int, ...]
    label: str = ""
    colour: Colour = "fixed"
    radians: float | None = None
    order: tuple[int, ...] = ()
    parts: tuple[Element, ...] = ()

    @property
    def title(self) -> str:
        """What stands in a box in its place."""
        kind = {"splitter": "BS ", "permutation": "PERM"}.get(self.kind, "")
        return f"{kind}{self.label}".rstrip()

    @property
    def span(self) -> range:
        """The modes from its first to its last, between which nothing else can be."""
        return range(min(self.modes), max(self.modes) + 1)


def in_columns(elements: Iterable[Element], modes: int) -> list[list[Element]]:
    """Sort elements into columns, each as far to the left as light and other elements allow."""
    columns: list[list[Element]] = []
    filled = [0] * modes
    for element in elements:
        place = max(filled[mode] for mode in element.span)
        while len(columns) <= place:
            columns.append([])
        columns[place].append(element)
        for mode in element.span:
            filled[mode] = place + 1
    return columns


def elements_of(
    circuit: Circuit, known: Known, unfold: bool = False, nested: bool = True
) -> Iterator[Element]:
    """Yield the elements of a circuit.

    Args:
        circuit: Its components.
        known: Values of angles.
        unfold: Unfold interferometers into splitters and phases, in frames.
        nested: Put frames around nested circuits.
    """
    yield from _Reader(known, unfold, nested).read(circuit, tuple(range(circuit.n_modes)), ())


class _Reader:
    """Goes through a circuit and counts its interferometers."""

    def __init__(self, known: Known, unfold: bool, nested: bool) -> None:
        self.known, self.unfold, self.nested = known, unfold, nested
        self.meshes = 0

    def read(
        self, circuit: Circuit, modes: tuple[int, ...], key: tuple[int | str, ...]
    ) -> Iterator[Element]:
        for number, (component, places) in enumerate(circuit):
            own = tuple(modes[place] for place in places)
            if isinstance(component, Circuit):
                parts = self.read(component, own, (*key, number))
                if self.nested:
                    yield Element("frame", own, parts=tuple(parts))
                else:
                    yield from parts
            else:
                yield from self._of(component, own, (*key, number))

    def _of(
        self, component: Component, modes: tuple[int, ...], key: tuple[int | str, ...]
    ) -> Iterator[Element]:
        def known(angle: Angle, argument: str) -> float | None:
            return self.known(angle, (*key, argument))

        if isinstance(component, PhaseShifter):
            yield _phase(modes[0], component.phi, "phi", known)
        elif isinstance(component, BeamSplitter):
            for corner in ("phi_tl", "phi_bl", "theta", "phi_tr", "phi_br"):
                angle = as_angle(getattr(component, corner), corner)
                if corner == "theta":
                    yield _splitter(modes, angle, "theta", known, component.convention)
                elif angle != Fixed(0.0):
                    yield _phase(modes["tb".index(corner[4])], angle, corner, known)
        elif isinstance(component, Permutation):
            yield Element("permutation", modes, order=tuple(component.permutation))
        elif isinstance(component, Interferometer):
            yield mesh_of(component, modes, self.meshes, known, self.unfold)
            self.meshes += 1
        else:
            yield Element("box", modes, "unitary")


def mesh_of(
    mesh: Interferometer,
    modes: Sequence[int],
    number: int,
    known: _KnownHere,
    unfold: bool,
) -> Element:
    """Return an interferometer, as a box or as a frame around its splitters and phases.

    Args:
        mesh: The component.
        modes: The modes that it is on.
        number: Which interferometer of the circuit it is.
        known: Values of its angles, by the names that they have in steps.
        unfold: Whether it is unfolded.
    """
    own, size = tuple(modes), len(modes)
    cells = cells_of(size, mesh.shape)
    angles = as_angles(mesh.angles or Trainable(), len(cells), "angles")
    splitters = as_angles(mesh.splitters, len(cells), "splitters")
    kinds = {type(angle) for angle in (*angles.flat, *splitters.flat)}
    colour: Colour = "data" if Data in kinds else "mesh" if Trainable in kinds else "fixed"
    name = f"U_{number}"
    if not unfold:
        return Element("box", own, name, colour)
    parts = []
    for cell, (_, upper) in enumerate(cells.tolist()):
        pair = own[upper], own[upper + 1]
        (a, b), (first, second) = angles[cell], splitters[cell]
        shifter = _phase(pair[0], b, f"b{cell}", known)
        parts += [shifter] * (mesh.phases == "input")
        parts.append(_splitter(pair, first, f"first{cell}", known))
        parts.append(_phase(pair[0], a, f"a{cell}", known))
        parts.append(_splitter(pair, second, f"second{cell}", known))
        parts += [shifter] * (mesh.phases == "output")
    return Element("frame", own, name, colour, parts=tuple(parts))


def _phase(mode: int, angle: Any, argument: str, known: _KnownHere) -> Element:
    given = as_angle(angle, argument)
    return Element("phase", (mode,), *_label(given, known(given, argument), "φ"))


def _splitter(
    modes: tuple[int, ...], angle: Angle, argument: str, known: _KnownHere, convention: str = "rx"
) -> Element:
    label, colour, radians = _label(angle, known(angle, argument), "θ")
    if angle == Fixed(math.pi / 2):  # 50:50
        label = ""
    if convention == "rx":  # is symmetric
        modes = min(modes), max(modes)
    words = [convention] * (convention != "rx") + [label] * bool(label)
    return Element("splitter", modes, " ".join(words), colour, radians)


def _label(angle: Angle, known: float | None, symbol: str) -> tuple[str, Colour, float | None]:
    """Return what stands in an element of an angle, its colour, and the angle if it is known."""
    if isinstance(angle, Fixed):
        return str(angle), "fixed", angle.value
    if isinstance(angle, Data):
        return angle.words(1.0 if known is None else known), "data", None
    if known is None:
        named = angle if angle.name else replace(angle, name=symbol)
        return str(named), "trained", None
    turn = {"φ": 2 * math.pi, "θ": 4 * math.pi}[symbol]
    value = f"{known % turn / math.pi:.2f}π"
    return f"{angle.name}={value}" if angle.name else value, "trained", known
