r"""Components of a circuit, in Perceval's conventions: a matrix `[out, in]` acts on the modes.

Each says of which steps it consists: matrices of constants and phase shifters, whose angles alone
may be trained or turned by data. A beam splitter of any kind is
:math:`V \mathrm{diag}(e^{i\theta/2}, e^{-i\theta/2}) W` with fixed V and W.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor
from typing_extensions import Self

from hybridlit.checks import choice, integer
from hybridlit.photonics.circuit.angles import (
    Angle,
    AngleLike,
    Data,
    Fixed,
    Trainable,
    as_angle,
    plain_angle,
)

__all__ = [
    "CONVENTIONS",
    "BeamSplitter",
    "Component",
    "ConventionName",
    "FixedUnitary",
    "MatrixStep",
    "Permutation",
    "PhaseShifter",
    "PhaseStep",
    "Step",
    "as_unitary",
    "phase_steps",
    "splitter_steps",
]

Matrix: TypeAlias = npt.NDArray[np.complex128]

_OWN, _HALF, _ZERO = Trainable(), Fixed(math.pi / 2), Fixed(0.0)


class MatrixStep(NamedTuple):
    """A constant matrix on some modes."""

    matrix: Matrix
    modes: tuple[int, ...]


class PhaseStep(NamedTuple):
    """A phase shifter: `factor` times an angle that is trained or turned by data, on a mode.

    Attributes:
        drawn: How an angle without an `init` is drawn: `"phase"` uniformly from [0, 2 pi);
            `"splitter"` such that the reflectance is uniform in [0, 1]; otherwise a number: the
            first parameter of the Beta distribution of the cell's transmittance, see `haar_phases`.
        key: Which argument of which component it is: steps of one key are of one parameter.
    """

    mode: int
    angle: Trainable | Data
    key: tuple[int | str, ...]
    factor: float = 1.0
    drawn: float | Literal["phase", "splitter"] = "phase"


Step: TypeAlias = MatrixStep | PhaseStep


class Component(ABC):
    """What light passes through; immutable."""

    kind: ClassVar[str]
    """Its name in the plain form."""

    @property
    @abstractmethod
    def width(self) -> int | None:
        """Number of modes; None: any, not yet said."""

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """Yield the steps on modes 0, 1, ..., the first that light meets first."""

    def on(self, modes: int) -> Self:
        """Return the component for a number of modes, if it leaves that open."""
        return self

    def plain(self) -> dict[str, Any]:
        """Return the arguments that differ from their defaults, as plain values."""
        found = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = _plain(value)
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, (Fixed, Trainable, Data)):
        return plain_angle(value)
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value


def phase_steps(
    mode: int, angle: Angle, key: str, factor: float = 1.0, drawn: Any = "phase"
) -> Iterator[Step]:
    """Yield the steps of a phase shifter: what is constant in its angle is a constant."""
    constant = factor * (angle.value if isinstance(angle, Fixed) else angle.offset)
    if constant:
        yield MatrixStep(np.exp([[1j * constant]]), (mode,))
    if not isinstance(angle, Fixed):
        yield PhaseStep(mode, angle, (key,), factor, drawn)


@dataclass(frozen=True)
class PhaseShifter(Component):
    r"""A phase shifter :math:`e^{i\phi}` on one mode.

    Args:
        phi: The angle in radians: an angle, a number, or the name of a trainable one.

    Raises:
        TypeError: If it is none of these.
        ValueError: If a number is not finite.

    Example:
        >>> str(PhaseShifter(math.pi / 2)), str(PhaseShifter("phi"))
        ('PS(0.5π)', 'PS(phi)')
    """

    phi: AngleLike = _OWN
    kind: ClassVar[str] = "phase_shifter"

    def __post_init__(self) -> None:
        object.__setattr__(self, "phi", as_angle(self.phi, "phi"))

    @property
    def width(self) -> int:
        """One mode."""
        return 1

    def steps(self) -> Iterator[Step]:
        """Yield the steps."""
        yield from phase_steps(0, as_angle(self.phi, "phi"), "phi")

    def __str__(self) -> str:
        return f"PS({self.phi})"


_HADAMARD = np.array([[1, 1], [1, -1]], dtype=np.complex128) / math.sqrt(2)
_TURN = np.array([[1, 1], [-1j, 1j]], dtype=np.complex128) / math.sqrt(2)

CONVENTIONS: dict[str, tuple[Matrix, Matrix]] = {
    "rx": (_HADAMARD, _HADAMARD),
    "ry": (_TURN, _TURN.conj().T),
    "h": (_TURN, _TURN.conj().T * np.array([1, -1])),
}
r"""V and W of :math:`V \mathrm{diag}(e^{i\theta/2}, e^{-i\theta/2}) W`, by Perceval's names."""

if TYPE_CHECKING:
    ConventionName: TypeAlias = str
else:
    ConventionName = Literal[tuple(CONVENTIONS)]


@dataclass(frozen=True)
class BeamSplitter(Component):
    r"""A beam splitter in any of Perceval's conventions, with a phase at each of its corners.

    With :math:`c = \cos(\theta/2)`, :math:`s = \sin(\theta/2)` it is, between phases
    `phi_tl`, `phi_bl` on its inputs and `phi_tr`, `phi_br` on its outputs,

    .. math:: R_x = \begin{pmatrix}c&is\cr is&c\end{pmatrix},\;
              R_y = \begin{pmatrix}c&-s\cr s&c\end{pmatrix},\;
              H = \begin{pmatrix}c&s\cr s&-c\end{pmatrix}

    so that light stays in its mode with the probability :math:`\cos^2(\theta/2)`.

    Args:
        theta: The angle in radians; the default is 50:50.
        convention: `"rx"`, `"ry"` or `"h"`.
        phi_tl: Phase on the upper input, and so are the others: an angle, a number, or a name.
        phi_bl: On the lower input.
        phi_tr: On the upper output.
        phi_br: On the lower output.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is not finite or the convention unknown.

    Example:
        >>> str(BeamSplitter()), str(BeamSplitter("theta", convention="h"))
        ('BS()', 'BS.H(theta)')
    """

    theta: AngleLike = _HALF
    convention: ConventionName = "rx"
    phi_tl: AngleLike = _ZERO
    phi_bl: AngleLike = _ZERO
    phi_tr: AngleLike = _ZERO
    phi_br: AngleLike = _ZERO
    kind: ClassVar[str] = "beam_splitter"

    def __post_init__(self) -> None:
        for name in ("theta", "phi_tl", "phi_bl", "phi_tr", "phi_br"):
            object.__setattr__(self, name, as_angle(getattr(self, name), name))
        if isinstance(self.convention, str):
            object.__setattr__(self, "convention", self.convention.lower())
        choice(self.convention, "convention", CONVENTIONS)

    @property
    def width(self) -> int:
        """Two modes."""
        return 2

    def steps(self) -> Iterator[Step]:
        """Yield the steps."""
        for name in ("phi_tl", "phi_bl", "theta", "phi_tr", "phi_br"):
            angle = as_angle(getattr(self, name), name)
            if name == "theta":
                yield from splitter_steps(angle, self.convention)
            else:
                yield from phase_steps("tb".index(name[4]), angle, name)

    def __str__(self) -> str:
        angles = [] if self.theta == _HALF else [str(self.theta)]
        for name in ("phi_tl", "phi_bl", "phi_tr", "phi_br"):
            if getattr(self, name) != _ZERO:
                angles.append(f"{name}={getattr(self, name)}")
        name = "" if self.convention == "rx" else f".{self.convention.capitalize()}"
        return f"BS{name}({', '.join(angles)})"


def splitter_steps(
    theta: Angle, convention: str = "rx", upper: int = 0, key: str = "theta"
) -> Iterator[Step]:
    """Yield the steps of a beam splitter without corners."""
    after, before = CONVENTIONS[convention]
    modes = upper, upper + 1
    if isinstance(theta, Fixed):
        halves = np.exp([0.5j * theta.value, -0.5j * theta.value])
        yield MatrixStep(after * halves @ before, modes)
        return
    yield MatrixStep(before, modes)
    yield from phase_steps(upper, theta, key, 0.5, "splitter")
    yield from phase_steps(upper + 1, theta, key, -0.5, "splitter")
    yield MatrixStep(after, modes)


@dataclass(frozen=True)
class Permutation(Component):
    """A permutation of modes, as waveguides that cross: light of mode j leaves at `permutation[j]`.

    Args:
        permutation: Each of 0, 1, ... once.

    Raises:
        TypeError: If an entry is no integer.
        ValueError: If it is no permutation.

    Example:
        >>> str(Permutation([2, 0, 1]))
        'PERM([2, 0, 1])'
    """

    permutation: Sequence[int]
    kind: ClassVar[str] = "permutation"

    def __post_init__(self) -> None:
        given: Any = self.permutation
        if isinstance(given, str) or not hasattr(given, "__iter__"):
            raise TypeError(f"permutation must be a list of integers, got {given!r}")
        found = tuple(integer(j, "each entry of permutation", 0) for j in given)
        if sorted(found) != list(range(len(found))) or not found:
            raise ValueError(f"permutation must hold each of 0, 1, ... once, got {list(found)}")
        object.__setattr__(self, "permutation", found)

    @property
    def width(self) -> int:
        """As many modes as entries."""
        return len(self.permutation)

    def steps(self) -> Iterator[Step]:
        """Yield the steps."""
        matrix = np.zeros((self.width, self.width), dtype=np.complex128)
        matrix[list(self.permutation), np.arange(self.width)] = 1
        yield MatrixStep(matrix, tuple(range(self.width)))

    def __str__(self) -> str:
        return f"PERM({list(self.permutation)})"


_UNITARY = 1e-6
"""How far a given matrix may be from unitary: that of float32."""


@dataclass(frozen=True)
class FixedUnitary(Component):
    """A given interferometer.

    Args:
        matrix: Unitary `[out, in]`, shape (modes, modes): an array, a tensor, nested sequences of
            complex numbers, or `{"real": ..., "imag": ...}`. Kept as tuples.

    Raises:
        TypeError: If it holds no numbers.
        ValueError: If it is not square, not finite, or further than 1e-6 from unitary.

    Example:
        >>> FixedUnitary([[0.6, -0.8], [0.8, 0.6]]).width
        2
    """

    matrix: npt.ArrayLike | Tensor | Mapping[str, npt.ArrayLike]
    kind: ClassVar[str] = "unitary"

    def __post_init__(self) -> None:
        found = as_unitary(self.matrix, "matrix")
        object.__setattr__(self, "matrix", tuple(map(tuple, found.tolist())))

    @property
    def array(self) -> Matrix:
        """The matrix as an array."""
        return np.array(self.matrix, dtype=np.complex128)

    @property
    def width(self) -> int:
        """As many modes as rows."""
        return len(self.matrix)  # type: ignore[arg-type]

    def steps(self) -> Iterator[Step]:
        """Yield the steps."""
        yield MatrixStep(self.array, tuple(range(self.width)))

    def plain(self) -> dict[str, Any]:
        """Return its real and imaginary parts."""
        array = self.array
        return {"matrix": {"real": array.real.tolist(), "imag": array.imag.tolist()}}

    def __str__(self) -> str:
        return f"Unitary({self.width})"


def as_unitary(given: Any, argument: str) -> Matrix:
    """Return a unitary matrix (modes, modes) of what a user may write for one.

    Args:
        given: As for `FixedUnitary`.
        argument: What it is called in errors.

    Raises:
        TypeError: If it holds no numbers.
        ValueError: If it is not square, not finite, or further than 1e-6 from unitary.
    """
    if isinstance(given, Tensor):
        given = given.detach().cpu().resolve_conj().numpy()
    try:
        if isinstance(given, Mapping):
            real, imag = (np.array(given[key], dtype=np.float64) for key in ("real", "imag"))
            given = real + 1j * imag
        found: Matrix = np.array(given, dtype=np.complex128)
    except (TypeError, ValueError, KeyError):
        raise TypeError(
            f"{argument} must be a square array of complex numbers, or its 'real' and 'imag' "
            f"parts, got {type(given).__name__}"
        ) from None
    if found.ndim != 2 or found.shape[0] != found.shape[1] or not found.size:
        raise ValueError(f"{argument} must have shape (modes, modes), got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{argument} must be finite, got NaN or infinity")
    error = float(np.abs(found.conj().T @ found - np.eye(len(found))).max())
    if error > _UNITARY:
        raise ValueError(
            f"{argument} must be unitary, got one that is {error:.2g} away from it; "
            "take the nearest unitary by scipy.linalg.polar if it was rounded"
        )
    return found
