"""A circuit -> the form `U_L Phi_L(x) ... Phi_1(x) U_0` of the kernels, as far as it is constant.

Data phases collect into columns, as few as the order of the components allows; what lies between
two columns merges into one interferometer. That is a product of slots, each a constant matrix and
then phases, of all interferometers at once.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybridlit.photonics.circuit.angles import Data, Trainable
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import MatrixStep, PhaseStep, Step
from hybridlit.photonics.circuit.encoding import Encoding
from hybridlit.photonics.circuit.meshes import Interferometer

__all__ = ["Lowering", "Parameter", "Slots", "data_places", "lowering_of", "of_encoding"]


class Parameter(NamedTuple):
    """A trainable angle.

    Attributes:
        name: Its name; None if it has none.
        init: What it begins with, in radians; None if it is drawn.
        drawn: How the angle is drawn where it is first used; see `PhaseStep`.
        scale: Factor of the parameter there.
        offset: In radians.
        key: Which argument of which component it is first; see `PhaseStep`.
    """

    name: str | None
    init: float | None
    drawn: float | str
    scale: float = 1.0
    offset: float = 0.0
    key: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        *component, argument = self.key
        return self.name or f"{argument} of {'.'.join(map(str, component))}"


class Slots(NamedTuple):
    """Interferometers as products of slots: a constant matrix, then phases on its outputs.

    Attributes:
        matrices: Constants, shape (columns + 1, slots, modes, modes), complex128.
        places: Which parameter turns a mode, counted from 1, or 0 for none, shape
            (columns + 1, slots, modes).
        factor: Its factor, of the same shape.
    """

    matrices: npt.NDArray[np.complex128]
    places: npt.NDArray[np.int64]
    factor: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lowering:
    """What follows from a circuit alone.

    Attributes:
        encoding: Data phases in units of pi for each unit of a feature, shape
            (columns, modes, features); at least one column, which may be empty.
        halves: Of each beam splitter that data turn, the two phases, numbered column by column.
        parameters: The trainable angles in order of first use.
        slots: The interferometers; None where each is a whole mesh of parameters of its own, the
            last with phases at its inputs: kernels take the phases themselves.
    """

    encoding: Encoding
    halves: tuple[tuple[int, int], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    slots: Slots | None = None

    @property
    def columns(self) -> int:
        """Number of columns of data phases."""
        return len(self.encoding)

    @property
    def modes(self) -> int:
        """Number of modes."""
        return int(self.encoding.shape[1])

    @property
    def tuned_by(self) -> npt.NDArray[np.int64]:
        """Which bandwidth each phase has, shape (columns * modes,); any where there are no data.

        The two of a beam splitter have one, so that it stays a beam splitter.
        """
        first = self.encoding.any(axis=2).reshape(-1)
        first[[second for _, second in self.halves]] = False
        result: npt.NDArray[np.int64] = np.maximum(first.cumsum() - 1, 0)
        for one, second in self.halves:
            result[second] = result[one]
        return result

    @property
    def bandwidths(self) -> int:
        """Number of them."""
        return int(self.encoding.any(axis=2).sum()) - len(self.halves)

    @property
    def phases_shape(self) -> tuple[int, ...]:
        """Shape of the parameters of one circuit."""
        if self.slots is not None:
            return (len(self.parameters),)
        return self.columns + 1, self.modes * (self.modes - 1) // 2, 2


def of_encoding(encoding: Encoding) -> Lowering:
    """Return the lowering of columns of data phases between whole meshes."""
    return Lowering(encoding)


@lru_cache(maxsize=8)
def lowering_of(circuit: Circuit, features: int) -> Lowering:
    """Return the lowering of a circuit, which costs as much as many steps of training.

    Args:
        circuit: Its components; one that is in use.
        features: Number of features, at least its `input_size`.
    """
    columns, runs = _in_columns(circuit)
    encoding = np.zeros((max(1, len(columns)), circuit.n_modes, features))
    halves: dict[object, list[int]] = {}
    for column, shifters in enumerate(columns):
        for shifter in shifters:
            halves.setdefault(shifter.key, []).append(column * circuit.n_modes + shifter.mode)
            assert isinstance(shifter.angle, Data)
            for feature, weight in shifter.angle.weights:
                encoding[column, shifter.mode, feature] += shifter.factor * weight / math.pi
    if _whole_meshes(circuit, len(columns)):
        return of_encoding(encoding)
    if not columns:  # nothing behind an empty column
        runs.append([])
    facts = _parameters(circuit)
    numbers = {key: number for number, key in enumerate(facts, 1)}
    filled = [_Run(circuit.n_modes, numbers).filled(steps) for steps in runs]
    rows = encoding.any(axis=2).reshape(-1)
    shared = tuple((p[0], p[1]) for p in halves.values() if len(p) == 2 and rows[p[0]])
    slots = _padded(filled, circuit.n_modes)
    return Lowering(encoding, shared, tuple(facts.values()), slots)


def data_places(circuit: Circuit) -> dict[tuple[int | str, ...], int]:
    """Return where data enter: the phase of each angle, numbered column by column, by its `key`.

    Of a beam splitter it is that on its first mode.
    """
    found: dict[tuple[int | str, ...], int] = {}
    for column, shifters in enumerate(_in_columns(circuit)[0]):
        for shifter in shifters:
            found.setdefault(shifter.key, column * circuit.n_modes + shifter.mode)
    return found


def _parameters(circuit: Circuit) -> dict[object, Parameter]:
    """Return the parameters in order of first use, by what steps of one parameter share."""
    found: dict[object, Parameter] = {}
    for step in circuit.steps():
        if not isinstance(step, PhaseStep) or not isinstance(step.angle, Trainable):
            continue
        name, init, scale, offset = astuple(step.angle)
        key = name or step.key
        known = found.setdefault(key, Parameter(name, init, step.drawn, scale, offset, step.key))
        if init not in (None, known.init):
            if known.init is not None:
                raise ValueError(
                    f"circuit has two values of init for the parameter {name!r}, "
                    f"{known.init:g} and {init:g}: give it one, or two names"
                )
            found[key] = known._replace(init=init)
    return found


def _whole_meshes(circuit: Circuit, columns: int) -> bool:
    """Whether components are meshes of all modes with a column of data phases between any two."""
    meshes: list[str] = []
    between = 0
    for component, modes in circuit.flattened():
        if isinstance(component, Interferometer):
            if not component.whole or modes != tuple(range(circuit.n_modes)):
                return False
            if meshes and not between:
                return False
            meshes.append(component.phases)
            between = 0
        elif meshes and all(
            isinstance(step, PhaseStep) and isinstance(step.angle, Data)
            for step in component.steps()
        ):
            between += 1
        else:
            return False
    return (
        columns > 0
        and not between
        and len(meshes) == columns + 1
        and meshes == ["output"] * columns + ["input"]
    )


def _in_columns(circuit: Circuit) -> tuple[list[list[PhaseStep]], list[list[Step]]]:
    """Sort steps into columns of data phases and the runs before, between and behind them.

    A step goes as far to the front as the order of those on its modes allows.
    """
    passed = [0] * circuit.n_modes  # columns of data phases that light of a mode has passed
    closed = [True] * circuit.n_modes  # whether something has followed the last of them
    columns: list[list[PhaseStep]] = []
    runs: list[list[Step]] = [[]]
    for step in circuit.steps():
        if isinstance(step, PhaseStep) and isinstance(step.angle, Data):
            mode = step.mode
            if closed[mode]:
                passed[mode] += 1
                closed[mode] = False
            while len(columns) < passed[mode]:
                columns.append([])
                runs.append([])
            columns[passed[mode] - 1].append(step)
            continue
        modes = step.modes if isinstance(step, MatrixStep) else (step.mode,)
        run = max(passed[mode] for mode in modes)
        for mode in modes:
            # a phase commutes with the phases of its own column
            closed[mode] = closed[mode] or len(modes) > 1 or passed[mode] < run
            passed[mode] = run
        runs[run].append(step)
    return columns, runs


@dataclass
class _Run:
    """The slots of one interferometer, filled step by step."""

    modes: int
    parameters: dict[object, int]
    slots: list[tuple[npt.NDArray[np.complex128], dict[int, tuple[int, float]]]] = field(
        default_factory=list
    )

    def filled(
        self, steps: list[Step]
    ) -> list[tuple[npt.NDArray[np.complex128], dict[int, tuple[int, float]]]]:
        """Return slots: a matrix, and by mode a parameter and its factor."""
        slot, turned = [0] * self.modes, [False] * self.modes
        for step in steps:
            modes = step.modes if isinstance(step, MatrixStep) else (step.mode,)
            place = max(slot[mode] + turned[mode] for mode in modes)
            if len(modes) == 1 and isinstance(step, MatrixStep):
                place = slot[modes[0]]  # a constant phase commutes with the one behind it
            while len(self.slots) <= place:
                self.slots.append((np.eye(self.modes, dtype=np.complex128), {}))
            matrix, phases = self.slots[place]
            if isinstance(step, MatrixStep):
                rows = list(step.modes)
                matrix[rows] = step.matrix @ matrix[rows]
            else:
                assert isinstance(step.angle, Trainable)
                number = self.parameters[step.angle.name or step.key]
                phases[step.mode] = (number, step.factor * step.angle.scale)
            for mode in modes:
                if len(modes) > 1 or isinstance(step, PhaseStep) or slot[mode] != place:
                    slot[mode], turned[mode] = place, isinstance(step, PhaseStep)
        return self.slots


def _padded(
    runs: list[list[tuple[npt.NDArray[np.complex128], dict[int, tuple[int, float]]]]], modes: int
) -> Slots:
    """Return runs of slots as arrays of one length, constants alone as one slot."""
    if not any(phases for run in runs for _, phases in run):
        runs = [[(_product([matrix for matrix, _ in run], modes), {})] for run in runs]
    length = max(1, *map(len, runs))
    matrices = np.tile(np.eye(modes, dtype=np.complex128), (len(runs), length, 1, 1))
    places = np.zeros((len(runs), length, modes), dtype=np.int64)
    factor = np.zeros(places.shape)
    for number, run in enumerate(runs):
        for place, (matrix, phases) in enumerate(run):
            matrices[number, place] = matrix
            for mode, (parameter, times) in phases.items():
                places[number, place, mode], factor[number, place, mode] = parameter, times
    return Slots(matrices, places, factor)


def _product(matrices: list[npt.NDArray[np.complex128]], modes: int) -> npt.NDArray[np.complex128]:
    result = np.eye(modes, dtype=np.complex128)
    for matrix in matrices:
        result = matrix @ result
    return result
