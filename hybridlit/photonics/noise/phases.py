"""Phases one by one: what every phase shifter of a circuit is set to, and by how much it is off.

A lowered circuit has merged what is constant, and its parameters may turn several shifters. Here
the same circuit has a setting for each angle that is trained or that a phase shifter has, and each
setting follows from at most one parameter. Settings can then be off one by one: by errors, by the
steps in which a device sets phases, and by the shifts of a shift rule.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.photonics.circuit.angles import Angle, Data, Fixed, Trainable
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.lowering import Lowering, data_places, lowering_of
from hybridlit.photonics.circuit.values import Key, changed, parameter_keys
from hybridlit.photonics.noise.model import Noise

__all__ = ["Off", "Settings", "settings_of"]


class Off(NamedTuple):
    """What phases are off by, in radians; None: by nothing.

    Attributes:
        errors: Of settings, of their shape.
        data_errors: Of data phases, shape (..., columns * modes, 1).
        shifts: Of settings, behind all else.
        data_shifts: Of data phases, behind all else.
    """

    errors: Tensor | None = None
    data_errors: Tensor | None = None
    shifts: Tensor | None = None
    data_shifts: Tensor | None = None


class Settings(NamedTuple):
    """The settings of a circuit.

    Attributes:
        lowering: The circuit, with a parameter for each setting.
        places: Which parameter of the layer a setting follows, counted from 1, or 0 for none, shape
            (settings,); None: each is one itself.
        factors: Of that parameter, shape (settings,).
        constants: In radians, shape (settings,).
        shifters: Which settings are those of phase shifters, shape (settings,); None: all.
        data_shifters: Which data phases are, shape (columns * modes, 1).
        data_constants: What is constant in data phases, in radians, shape (columns * modes, 1).
        splitters: The numbers of settings that are angles of beam splitters.
        step: In which phase shifters are set, in radians; 0: any phase.
        error: The largest error, in radians.
    """

    lowering: Lowering
    places: Tensor | None
    factors: Tensor
    constants: Tensor
    shifters: Tensor | None
    data_shifters: Tensor
    data_constants: Tensor
    splitters: frozenset[int]
    step: float
    error: float

    def on(self, device: torch.device) -> Settings:
        """Return the same for a device."""
        if self.factors.device == device:
            return self
        single = device.type == "mps"  # which has no float64

        def moved(each: Any) -> Any:
            if not isinstance(each, Tensor):
                return each
            return (each.float() if single and each.is_floating_point() else each).to(device)

        return Settings(*map(moved, self))

    def of(self, angles: Tensor) -> Tensor:
        """Return the settings that follow from the parameters of a layer, shape (..., settings).

        Args:
            angles: The parameters, shape (..., parameters); or those of meshes, which are settings.
        """
        if self.places is None:
            return angles
        padded = torch.cat([angles.new_zeros(*angles.shape[:-1], 1), angles], -1)
        turned = padded.index_select(-1, self.places) * self.factors.to(angles.dtype)
        return turned + self.constants.to(angles.dtype)

    def drawn(self, like: Tensor, count: int | None) -> Off:
        """Draw errors of all phase shifters, one for all samples.

        Args:
            like: Settings.
            count: How many circuits there are, each with its own.
        """
        if not self.error:
            return Off()
        errors = (2 * torch.rand_like(like, requires_grad=False) - 1) * self.error
        stack = () if count is None else (count,)
        shape = *stack, *self.data_shifters.shape
        data = (2 * torch.rand(shape, dtype=like.dtype, device=like.device) - 1) * self.error
        return Off(errors, data)

    def turned(self, settings: Tensor, off: Off) -> Tensor:
        """Return the phases that settings have in the end, with their gradient.

        Args:
            settings: As `of` returns them.
            off: What they are off by.
        """
        found = self._set(settings, off.errors, self.shifters)
        return found if off.shifts is None else found + off.shifts.to(found.dtype)

    def turned_data(self, phases: Tensor, off: Off) -> Tensor:
        """Return data phases with what is constant in them and what they are off by.

        Args:
            phases: Shape (..., columns * modes, batch).
            off: What they are off by.
        """
        phases = phases + self.data_constants.to(phases.dtype)
        found = self._set(phases, off.data_errors, self.data_shifters)
        return found if off.data_shifts is None else found + off.data_shifts.to(found.dtype)

    def _set(self, phases: Tensor, errors: Tensor | None, shifters: Tensor | None) -> Tensor:
        if errors is None and not self.step:
            return phases
        given = phases.detach()
        found = torch.remainder(given, 2 * math.pi)  # as devices are told
        if errors is not None:
            found = found + errors.to(found.dtype)
        if self.step:
            found = self.step * torch.round(found / self.step)
        found = found if shifters is None else torch.where(shifters, found, given)
        return found + (phases - given)  # straight through


def settings_of(lowering: Lowering, circuit: Circuit, features: int, noise: Noise) -> Settings:
    """Return the settings of a circuit.

    Args:
        lowering: Of the circuit.
        circuit: Component by component; of one of whole meshes between data it does not matter.
        features: Number of features.
        noise: Of which the phases matter.

    Raises:
        ValueError: If two phase shifters that data turn are one behind the other on one mode, and
            are not what they are set to.
    """
    how = noise.phase_imprecision, noise.phase_error
    data: npt.NDArray[np.bool_] = np.array(lowering.encoding.any(axis=2))
    constants = np.zeros(data.size)
    if lowering.slots is None:
        data[~data.any(axis=1), 0] = True  # a column without data is a shifter of phase 0
        none, of_data = torch.zeros(0), _of_data(data, constants)
        return Settings(lowering, None, none, none, None, *of_data, frozenset(), *how)
    twin = _Twin()
    settled = changed(circuit, twin).in_use()
    found = lowering_of(settled, features)
    names = [int(parameter.name or "") for parameter in found.parameters]
    order = {key: number for number, key in enumerate(parameter_keys(circuit), 1)}
    chosen = [twin.found[name] for name in names]
    places = data_places(settled)
    taken: dict[int, Key] = {}
    for key, place in places.items():
        other = taken.setdefault(place, key)
        if other != key and not noise.steady_phases and {_last(key), _last(other)} & SHIFTERS:
            raise ValueError(
                f"noise of phases needs data angles that are a phase shifter each, got two on mode "
                f"{place % lowering.modes} with nothing but phases between them: add them up"
            )
    data[:] = False
    for key, place in places.items():
        data.flat[place] = _last(key) in SHIFTERS
        constants[place] += twin.data.get(key, 0.0)
    return Settings(
        found,
        torch.tensor([order[each.parameter] if each.parameter else 0 for each in chosen]).long(),
        torch.tensor([each.factor for each in chosen], dtype=torch.float64),
        torch.tensor([each.constant for each in chosen], dtype=torch.float64),
        torch.tensor([each.argument in SHIFTERS for each in chosen], dtype=torch.bool),
        *_of_data(data, constants),
        frozenset(n for n, each in enumerate(chosen) if each.argument in SPLITTERS),
        *how,
    )


SHIFTERS = {"phi", "a", "b"}
"""Arguments of components that are phases which a device sets: not those of beam splitters."""
SPLITTERS = {"theta", "first", "second"}
"""Those that are angles of beam splitters."""


def _last(key: Key) -> str:
    return str(key[-1]).rstrip("0123456789")


def _of_data(
    data: npt.NDArray[np.bool_], constants: npt.NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    return torch.tensor(data).view(-1, 1), torch.tensor(constants).view(-1, 1)


class _Setting(NamedTuple):
    """What an angle was: of a parameter of the layer or none, and which argument it was."""

    parameter: Key | None
    factor: float
    constant: float
    argument: str


class _Twin:
    """Gives angles a parameter each, and keeps what they were.

    Attributes:
        found: Of each parameter, by its number.
        data: What is constant in angles that data turn.
    """

    def __init__(self) -> None:
        self.found: list[_Setting] = []
        self.data: dict[Key, float] = {}

    def __call__(self, angle: Angle, key: Key) -> Angle:
        shifter = _last(key) in SHIFTERS
        if isinstance(angle, Data):
            if not shifter:
                return angle
            self.data[key] = angle.offset
            return Data(dict(angle.weights))
        if isinstance(angle, Fixed):
            if not shifter:
                return angle
            self.found.append(_Setting(None, 0.0, angle.value, _last(key)))
        else:
            own = angle.name or key
            self.found.append(_Setting(own, angle.scale, angle.offset, _last(key)))
        return Trainable(str(len(self.found) - 1))
