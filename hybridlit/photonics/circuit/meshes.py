"""Meshes of interferometers with two arms: an interferometer as one component."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hybridlit.checks import choice, integer
from hybridlit.photonics.circuit.angles import (
    AnglesLike,
    Data,
    Fixed,
    Trainable,
    as_angles,
    is_angle,
)
from hybridlit.photonics.circuit.components import Component, Step, phase_steps, splitter_steps

__all__ = ["SHAPES", "SIDES", "Interferometer", "MeshShapeName", "SideName", "cells_of"]

_OWN, _HALF = Trainable(), Fixed(math.pi / 2)

Places: TypeAlias = list[tuple[int, int]]


def _rectangular(modes: int) -> Places:
    return [(c, j) for c in range(modes) for j in range(c % 2, modes - 1, 2)]


def _triangular(modes: int) -> Places:
    return sorted((c, j) for j in range(modes - 1) for c in range(j, 2 * modes - 3 - j, 2))


SHAPES: dict[str, Callable[[int], Places]] = {
    "rectangular": _rectangular,
    "triangular": _triangular,
}
"""Column and upper mode of each cell of a mesh, by its shape."""

SIDES: dict[str, str] = {
    "output": "behind the splitters of a cell: any unitary up to phases on its inputs",
    "input": "before them: any unitary up to phases on its outputs",
}
"""Where the phases b of a mesh are."""

if TYPE_CHECKING:
    MeshShapeName: TypeAlias = str
    SideName: TypeAlias = str
else:
    MeshShapeName, SideName = Literal[tuple(SHAPES)], Literal[tuple(SIDES)]


@lru_cache(maxsize=64)
def cells_of(modes: int, shape: str = "rectangular") -> npt.NDArray[np.int64]:
    """Return column and upper mode of each cell of a mesh, shape (m (m - 1) / 2, 2).

    Rectangular (Clements et al., Optica 3, 1460 (2016)): m columns, which begin at modes 0 and 1 in
    turn. Triangular (Reck et al., Phys. Rev. Lett. 73, 58 (1994)): m - 1 cells on modes 0 and 1,
    one fewer on each next pair.
    """
    return np.array(SHAPES[shape](modes), dtype=np.int64).reshape(-1, 2)


def transmittance_shapes(modes: int, shape: str) -> npt.NDArray[np.float64]:
    """Return Beta's first parameter for the transmittance of each cell of a Haar-random mesh.

    It is I + O - m - 1 for a cell that I inputs reach and O outputs see; see `haar_phases`.
    """
    counts = []
    for order in (1, -1):
        reach = [{mode} for mode in range(modes)]
        found = []
        for _, upper in cells_of(modes, shape)[::order]:
            reach[upper] = reach[upper + 1] = reach[upper] | reach[upper + 1]
            found.append(len(reach[upper]))
        counts.append(np.array(found[::order]))
    result: npt.NDArray[np.float64] = (counts[0] + counts[1] - modes - 1).astype(np.float64)
    return result


@dataclass(frozen=True)
class Interferometer(Component):
    r"""A mesh of cells on neighbouring modes: two beam splitters, and phases a and b on the upper.

    A cell is :math:`\mathrm{diag}(e^{ib}, 1) S_2 \mathrm{diag}(e^{ia}, 1) S_1`, or with b before
    the splitters. Drawn as a Haar-random unitary where all of its angles are trainable.

    Args:
        n_modes: Number of modes, at least 2; None: what the cells say, or all that it is put on.
        shape: `"rectangular"` or `"triangular"`; see `cells_of`.
        phases: Where the phases b are: `"output"`, behind a cell's splitters, which reaches every
            unitary up to phases on its inputs; `"input"`, before them, up to phases on its outputs.
        angles: (a, b) of each cell, shape (cells, 2), or one for all: angles, numbers or names.
            None: a parameter each.
        mask: Which are trained, booleans of shape (cells, 2); `angles` are then numbers: where
            trained to begin with, elsewhere to stay. None: all as they are given.
        splitters: The angle theta of both beam splitters of each cell, shape (cells, 2), or one for
            all; 50:50 by default.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a size or a name is not one of those allowed.

    Example:
        >>> from hybridlit.photonics import Circuit
        >>> Circuit(4).add(Interferometer()).add(Interferometer(2, shape="triangular"), 1)
        Circuit(4)
          0-3  Interferometer()
          1-2  Interferometer(triangular)
    """

    n_modes: int | None = None
    shape: MeshShapeName = "rectangular"
    phases: SideName = "output"
    angles: AnglesLike | None = None
    mask: Sequence[Sequence[bool]] | npt.NDArray[np.bool_] | Tensor | None = None
    splitters: AnglesLike = math.pi / 2
    kind: ClassVar[str] = "interferometer"

    def __post_init__(self) -> None:
        choice(self.shape, "shape", SHAPES)
        choice(self.phases, "phases", SIDES)
        tables: list[Any] = [self.mask, self.angles, self.splitters]
        counts = [len(table) for table in tables if not is_angle(table)]
        if self.n_modes is None and counts:
            object.__setattr__(self, "n_modes", max(2, (1 + math.isqrt(1 + 8 * counts[0])) // 2))
        modes = 2 if self.n_modes is None else integer(self.n_modes, "n_modes", 2)
        cells = modes * (modes - 1) // 2
        if self.mask is not None:
            self._set_masked(cells)
        for name, usual in (("angles", _OWN), ("splitters", _HALF)):
            value = getattr(self, name)
            if value is not None:
                found = as_angles(value, cells, name)
                kept: Any = tuple(map(tuple, found.tolist()))
                if len({*found.flat}) == 1:
                    kept = found[0, 0]  # the short form
                object.__setattr__(self, name, type(self).__dict__[name] if kept == usual else kept)

    def _set_masked(self, cells: int) -> None:
        """Let angles say what the mask does."""
        mask = np.array(self.mask)
        if mask.dtype != np.bool_ or mask.shape != (cells, 2):
            raise ValueError(
                f"mask must be booleans of shape (cells={cells}, 2), got {mask.dtype} of shape "
                f"{mask.shape}"
            )
        numbers = as_angles(0.0 if self.angles is None else self.angles, cells, "angles")
        if not all(isinstance(angle, Fixed) for angle in numbers.flat):
            raise ValueError(
                "angles must be numbers beside a mask, which says what is trained, got others"
            )
        chosen = [
            [Trainable(init=a.value) if on else a for a, on in zip(*both, strict=True)]
            for both in zip(numbers, mask, strict=True)
        ]
        object.__setattr__(self, "angles", chosen)
        object.__setattr__(self, "mask", None)

    @property
    def width(self) -> int | None:
        """Number of modes."""
        return self.n_modes

    @property
    def whole(self) -> bool:
        """Whether it is a rectangular mesh of parameters of its own between 50:50 splitters."""
        usual = bool(self.splitters == math.pi / 2)
        return usual and self.shape == "rectangular" and self.angles is None

    def on(self, modes: int) -> Interferometer:
        """Return the mesh for a number of modes."""
        if self.n_modes is not None:
            return self
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return Interferometer(**{**given, "n_modes": modes})

    def tables(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the angles (a, b) of each cell and those of its splitters, each (cells, 2)."""
        assert self.n_modes is not None
        cells = self.n_modes * (self.n_modes - 1) // 2
        angles = as_angles(_OWN if self.angles is None else self.angles, cells, "angles")
        return angles, as_angles(self.splitters, cells, "splitters")

    def steps(self) -> Iterator[Step]:
        """Yield the steps."""
        assert self.n_modes is not None
        places = cells_of(self.n_modes, self.shape)
        angles, splitters = self.tables()
        drawn = transmittance_shapes(self.n_modes, self.shape)
        for cell, (_, upper) in enumerate(places.tolist()):
            (a, b), (first, second) = angles[cell], splitters[cell]
            if self.phases == "input":
                yield from phase_steps(upper, b, f"b{cell}")
            yield from splitter_steps(first, upper=upper, key=f"first{cell}")
            yield from phase_steps(upper, a, f"a{cell}", drawn=float(drawn[cell]))
            yield from splitter_steps(second, upper=upper, key=f"second{cell}")
            if self.phases == "output":
                yield from phase_steps(upper, b, f"b{cell}")

    def __str__(self) -> str:
        words = [self.shape] * (self.shape != "rectangular")
        words += [f"phases={self.phases!r}"] * (self.phases != "output")
        if self.angles is not None:
            one = isinstance(self.angles, (Fixed, Trainable, Data))
            words.append(f"angles={self.angles if one else 'given'}")
        if self.splitters != math.pi / 2:
            one = isinstance(self.splitters, (Fixed, Trainable, Data))
            words.append(f"splitters={self.splitters if one else 'given'}")
        return f"Interferometer({', '.join(words)})"
