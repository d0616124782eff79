"""A circuit as a list of components: plain data, compared by value, immutable once in use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import Self

from hybridlit.checks import integer
from hybridlit.photonics.circuit.angles import Data
from hybridlit.photonics.circuit.components import (
    BeamSplitter,
    Component,
    FixedUnitary,
    MatrixStep,
    Permutation,
    PhaseShifter,
    PhaseStep,
    Step,
)
from hybridlit.photonics.circuit.meshes import Interferometer
from hybridlit.words import meant

__all__ = ["COMPONENTS", "Circuit", "Placed"]


class Placed(NamedTuple):
    """A component and the modes that it is on, in its own order."""

    component: Component
    modes: tuple[int, ...]


class Circuit(Component):
    """Components on modes, in the order in which light passes them.

    Args:
        n_modes: Number of modes m, at least 1.
        components: Placed components in their plain form, as `plain()["components"]` has them.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range or unknown.

    Example:
        >>> circuit = Circuit(2).add(BeamSplitter(), 0).add(PhaseShifter(Data(0)), 0)
        >>> circuit.add(BeamSplitter("theta"), 0)
        Circuit(2)
          0-1  BS()
          0    PS(x0)
          0-1  BS(theta)
    """

    kind = "circuit"

    def __init__(self, n_modes: int, components: Sequence[Mapping[str, Any]] = ()) -> None:
        self.n_modes = integer(n_modes, "n_modes", 1)
        self._placed: list[Placed] = []
        self._in_use = False
        if isinstance(components, (str, Mapping)) or not isinstance(components, Sequence):
            raise TypeError(f"components must be a list of mappings, got {components!r}")
        for number, entry in enumerate(components):
            self._add_plain(entry, number)

    @classmethod
    def of(cls, given: object, n_modes: int) -> Circuit:
        """Return a circuit in use, in any of the forms in which an experiment takes it.

        Args:
            given: A circuit, of which a copy is taken; its plain form; or its components in theirs.
            n_modes: Number of modes; 0: that of the circuit.

        Raises:
            TypeError: If it is something else.
            ValueError: If it has another number of modes.
        """
        if isinstance(given, Mapping):  # whole, as `plain` gives it
            given = cls(**given)
        elif not isinstance(given, Circuit):
            if isinstance(given, str) or not isinstance(given, Sequence):
                got = f"{type(given).__name__} {given!r}"
                raise TypeError(f"circuit must be a Circuit or a list of components, got {got}")
            given = cls(n_modes, given)
        if n_modes not in (0, given.n_modes):
            raise ValueError(
                f"n_modes must be {given.n_modes} or left out with a circuit of {given.n_modes} "
                f"modes, got {n_modes}"
            )
        return given.copy().in_use()

    # --- to build ---------------------------------------------------------------------------------

    def add(self, component: Component, modes: int | Sequence[int] | None = None) -> Self:
        """Add a component behind all others.

        Args:
            component: A component or a circuit, of which a copy is taken.
            modes: The first of neighbouring modes; or each of them, any different ones, in the
                order of the component's own modes; None: all modes of the circuit.

        Returns:
            The circuit.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If a mode is not in the circuit, or their number does not fit the component.
        """
        if self._in_use:
            raise TypeError(
                "a circuit that belongs to an experiment does not change: add to circuit.copy()"
            )
        if not isinstance(component, Component):
            known = ", ".join(kind.__name__ for kind in COMPONENTS.values())
            raise TypeError(f"component must be one of {known}, got {type(component).__name__}")
        if modes is None:
            places = tuple(range(self.n_modes))
        elif isinstance(modes, (int, np.integer)) and not isinstance(modes, bool):
            first = integer(modes, "modes", 0)
            width = component.width
            places = tuple(range(first, self.n_modes if width is None else first + width))
        elif isinstance(modes, (Sequence, range, np.ndarray)) and not isinstance(modes, str):
            places = tuple(integer(mode, "each of modes", 0) for mode in modes)
        else:
            raise TypeError(f"modes must be an int, a sequence of ints or None, got {modes!r}")
        name = type(component).__name__
        if component.width not in (None, len(places)):
            raise ValueError(
                f"modes must be {component.width} for this {name}, got {len(places)}: {places}"
            )
        if len(set(places)) != len(places) or max(places, default=0) >= self.n_modes:
            raise ValueError(
                f"modes must be different ones below n_modes={self.n_modes}, got {places} for "
                f"{name}"
            )
        placed = component.on(len(places))
        if isinstance(placed, Circuit):
            placed = placed.copy().in_use()
        self._placed.append(Placed(placed, places))
        return self

    def _add_plain(self, entry: object, number: int) -> None:
        if not isinstance(entry, Mapping) or "component" not in entry:
            raise TypeError(
                f"component {number} must be a mapping with 'component' and 'modes', got {entry!r}"
            )
        kind, modes = entry["component"], entry.get("modes")
        given = {key: value for key, value in entry.items() if key not in ("component", "modes")}
        if kind not in COMPONENTS:
            raise ValueError(
                f"component {number} must be one of {list(COMPONENTS)}, got {kind!r}"
                f"{meant(kind, COMPONENTS) if isinstance(kind, str) else ''}"
            )
        try:
            made = COMPONENTS[kind](**given)
        except TypeError as error:
            raise TypeError(f"component {number}, {kind}: {error}") from None
        except ValueError as error:
            raise ValueError(f"component {number}, {kind}: {error}") from None
        self.add(made, modes)

    def copy(self) -> Circuit:
        """Return a circuit of the same components that can be added to."""
        made = Circuit(self.n_modes)
        made._placed = list(self._placed)
        return made

    def in_use(self) -> Self:
        """Let nothing be added any more, and return the circuit."""
        self._in_use = True
        return self

    # --- to read ----------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """Number of modes."""
        return self.n_modes

    @property
    def placed(self) -> tuple[Placed, ...]:
        """The components and their modes."""
        return tuple(self._placed)

    def __len__(self) -> int:
        return len(self._placed)

    def __iter__(self) -> Iterator[Placed]:
        return iter(self._placed)

    def flattened(self) -> Iterator[Placed]:
        """Yield the components of nested circuits one by one, on the modes of this one."""
        for component, modes in self._placed:
            if isinstance(component, Circuit):
                for inner, places in component.flattened():
                    yield Placed(inner, tuple(modes[place] for place in places))
            else:
                yield Placed(component, modes)

    def steps(self) -> Iterator[Step]:
        """Yield the steps of all components."""
        for number, (component, modes) in enumerate(self._placed):
            for step in component.steps():
                if isinstance(step, PhaseStep):
                    yield step._replace(mode=modes[step.mode], key=(number, *step.key))
                else:
                    yield MatrixStep(step.matrix, tuple(modes[place] for place in step.modes))

    @property
    def input_size(self) -> int:
        """Number of features: one more than the largest that turns an angle."""
        angles = [step.angle for step in self.steps() if isinstance(step, PhaseStep)]
        turned = [f for angle in angles if isinstance(angle, Data) for f, _ in angle.weights]
        return max(turned, default=-1) + 1

    def plain(self) -> dict[str, Any]:
        """Return plain values of which `Circuit(**values)` makes the same circuit again."""
        components = [
            {"component": component.kind, "modes": list(modes), **component.plain()}
            for component, modes in self._placed
        ]
        return {"n_modes": self.n_modes, "components": components}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Circuit):
            return NotImplemented
        return self.n_modes == other.n_modes and self._placed == other._placed

    def __hash__(self) -> int:
        if not self._in_use:
            raise TypeError("a circuit that may still change has no hash")
        return hash((self.n_modes, tuple(self._placed)))

    def __repr__(self) -> str:
        return f"Circuit({self.n_modes})" + "".join(f"\n{line}" for line in self.lines())

    def __str__(self) -> str:
        return repr(self)

    def lines(self, indent: str = "  ") -> Iterator[str]:
        """Yield a line for each component, nested ones indented."""
        shown = [_range(modes) for _, modes in self._placed]
        width = max(map(len, shown), default=0)
        for (component, _), modes in zip(self._placed, shown, strict=True):
            if isinstance(component, Circuit):
                yield f"{indent}{modes:<{width}}  Circuit({component.n_modes})"
                yield from component.lines(indent + " " * (width + 2))
            else:
                yield f"{indent}{modes:<{width}}  {component}"


def _range(modes: tuple[int, ...]) -> str:
    if len(modes) > 1 and modes == tuple(range(modes[0], modes[-1] + 1)):
        return f"{modes[0]}-{modes[-1]}"
    return ",".join(map(str, modes))


COMPONENTS: dict[str, type[Component]] = {
    kind.kind: kind
    for kind in (PhaseShifter, BeamSplitter, Permutation, FixedUnitary, Interferometer, Circuit)
}
"""Every component by its name in the plain form."""
