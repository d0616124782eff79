"""A circuit with the numbers that a layer has for its angles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hybridlit.photonics.circuit.angles import Angle, Data, Fixed, Trainable
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import Component, PhaseStep
from hybridlit.photonics.circuit.meshes import Interferometer

__all__ = ["Key", "changed", "parameter_keys", "parameter_values", "with_values"]

Key: TypeAlias = "str | tuple[int | str, ...]"
"""What tells parameters apart: their name, or which argument of which component they are."""


def parameter_keys(circuit: Circuit) -> list[Key]:
    """Return the trainable angles of a circuit in the order of a layer's parameters."""
    steps = [step for step in circuit.steps() if isinstance(step, PhaseStep)]
    trained = [(step.angle.name, step.key) for step in steps if isinstance(step.angle, Trainable)]
    return list(dict.fromkeys(name or key for name, key in trained))


def parameter_values(circuit: Circuit, phases: npt.NDArray[np.float64]) -> dict[Key, float]:
    """Return the numbers of trainable angles, by their keys.

    Args:
        circuit: Of a layer.
        phases: Of the same layer, of one circuit: flat, or (meshes, cells, 2) of whole meshes.
    """
    keys = parameter_keys(circuit)
    if phases.ndim == 1:
        return dict(zip(keys, phases.tolist(), strict=True))
    found = {}
    for number, key in enumerate(keys):
        place = str(key[-1])  # such as b12: the second phase of a cell
        mesh = number // (2 * phases.shape[1])
        found[key] = float(phases[mesh, int(place[1:]), "ab".index(place[0])])
    return found


def with_values(
    circuit: Circuit,
    values: Mapping[Key, float],
    row: Sequence[float] | None = None,
    constant: Collection[Key] = (),
) -> Circuit:
    """Return a circuit whose trainable angles have a name each, and begin with given numbers.

    Args:
        circuit: Any.
        values: The number of each trainable angle, by its key.
        row: Features; with them every angle becomes a number.
        constant: Trainable angles that become numbers in any case.
    """
    taken = {key for key in values if isinstance(key, str)}
    free = (name for name in (f"theta{n}" for n in range(2 * len(values))) if name not in taken)
    symbols = [key for key in values if key not in constant]
    names = {key: key if isinstance(key, str) else next(free) for key in symbols}

    def change(angle: Angle, key: Key) -> Angle:
        if isinstance(angle, Data) and row is not None:
            return Fixed(sum(weight * row[f] for f, weight in angle.weights) + angle.offset)
        if not isinstance(angle, Trainable):
            return angle
        key = angle.name or key
        if row is not None or key in constant:
            return Fixed(angle.scale * values[key] + angle.offset)
        return replace(angle, name=names[key], init=values[key])

    return changed(circuit, change)


def changed(circuit: Circuit, change: Callable[[Angle, Key], Angle]) -> Circuit:
    """Return a circuit of the same components with other angles.

    Args:
        circuit: Any.
        change: From an angle and the key of its component's argument to the one that replaces it.
    """
    return _circuit(circuit, change, ())


def _circuit(circuit: Circuit, change: Callable[..., Angle], path: tuple[int, ...]) -> Circuit:
    made = Circuit(circuit.n_modes)
    for number, (component, modes) in enumerate(circuit):
        made.add(_component(component, change, (*path, number)), modes)
    return made


def _component(
    component: Component, change: Callable[..., Angle], path: tuple[int, ...]
) -> Component:
    if isinstance(component, Circuit):
        return _circuit(component, change, path)
    if isinstance(component, Interferometer):
        given, splitters = component.tables()
        names = {"angles": (given, "a", "b"), "splitters": (splitters, "first", "second")}
        found: dict[str, Any] = {
            field: [
                [
                    change(angle, (*path, f"{word}{cell}"))
                    for angle, word in zip(pair, words, strict=True)
                ]
                for cell, pair in enumerate(pairs)
            ]
            for field, (pairs, *words) in names.items()
        }
        return replace(component, **found)
    angles = {field.name: getattr(component, field.name) for field in fields(component)}  # type: ignore[arg-type]
    kept = {
        name: change(angle, (*path, name))
        for name, angle in angles.items()
        if isinstance(angle, (Fixed, Trainable, Data))
    }
    return replace(component, **kept) if kept else component  # type: ignore[type-var]
