"""A unitary -> the phases of a mesh, exactly."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.photonics.circuit.components import Matrix, as_unitary
from hybridlit.photonics.circuit.meshes import MeshShapeName, SideName, cells_of

__all__ = ["decomposed", "phases_from_unitary"]


@checked
def phases_from_unitary(
    unitary: npt.ArrayLike | Tensor,
    shape: MeshShapeName = "rectangular",
    phases: SideName = "output",
) -> tuple[Tensor, Tensor]:
    r"""Decompose a unitary into the phases of a mesh, and phases on single modes that are left.

    Entries are nulled one after the other by the cells of the mesh, from both sides for a
    rectangular one (Clements et al., Optica 3, 1460 (2016)), from one for a triangular one (Reck et
    al., Phys. Rev. Lett. 73, 58 (1994)), until a diagonal D is left: :math:`U = M D` with the
    phases b behind the splitters of each cell, :math:`U = D M` with b before them. Rounding errors
    are those of a product of as many matrices; entries that are 0 already need no angle.

    Args:
        unitary: `[out, in]`, shape (modes, modes), of at least 2 modes.
        shape: `"rectangular"` or `"triangular"`; the interferometers of circuit types are
            rectangular.
        phases: Where the phases b of a cell are, `"output"` or `"input"`; see `Interferometer`. The
            last interferometer of a circuit type has them at the input, the others at the output.

    Returns:
        (a, b) of each cell in radians, a in [0, pi], b in [0, 2 pi], shape (cells, 2), for
        `Interferometer(angles=...)`; and the phases of the diagonal in radians, shape (modes,);
        float64.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the matrix is not square, not finite, or further than 1e-6 from unitary, or a
            name is not one of those allowed.

    Example:
        >>> angles, diagonal = phases_from_unitary([[0, 1j], [1j, 0]])
        >>> angles.tolist()
        [[0.0, 0.0]]
    """
    given = as_unitary(unitary, "unitary")
    if len(given) < 2:
        raise ValueError(f"unitary must have at least 2 modes, got {len(given)}")
    angles, diagonal = decomposed(given, shape.lower(), phases.lower())
    return torch.from_numpy(angles), torch.from_numpy(diagonal)


class _Null(NamedTuple):
    """A cell of a mesh, and the entry that it nulls, as rows from the left or as columns."""

    side: Literal["left", "right"]
    column: int
    upper: int
    entry: tuple[int, int]


def _rectangular(modes: int) -> Iterator[_Null]:
    for diagonal in range(1, modes):
        for place in range(diagonal):
            if diagonal % 2:
                upper = diagonal - 1 - place
                yield _Null("right", place, upper, (modes - 1 - place, upper))
            else:
                lower = modes - diagonal + place
                yield _Null("left", modes - 1 - place, lower - 1, (lower, place))


def _triangular(modes: int) -> Iterator[_Null]:
    for row in reversed(range(1, modes)):
        for upper in range(row):
            yield _Null("right", 2 * (modes - 1 - row) + upper, upper, (row, upper))


_ORDERS = {"rectangular": _rectangular, "triangular": _triangular}


def decomposed(
    unitary: Matrix, shape: str, phases: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what `phases_from_unitary` does, as arrays."""
    modes = len(unitary)
    cells = {(c, j): k for k, (c, j) in enumerate(cells_of(modes, shape).tolist())}
    rest = unitary.copy()
    blocks: dict[str, list[tuple[int, int, Matrix]]] = {"left": [], "right": []}
    for side, column, upper, (row, entry) in _ORDERS[shape](modes):
        pair = slice(upper, upper + 2)
        if side == "right":
            x, y = rest[row, pair].tolist()
            block = _rotation(y.conjugate(), -x.conjugate())  # (x, y) @ block^H = (0, r)
            rest[:, pair] = rest[:, pair] @ block.conj().T
        else:
            x, y = rest[pair, entry].tolist()
            block = _rotation(x, -y.conjugate())  # block^H @ (x, y) = (r, 0)
            rest[pair] = block.conj().T @ rest[pair]
        blocks[side].append((cells[column, upper], upper, block))
    light = [*blocks["right"], *reversed(blocks["left"])]  # in the order in which light passes
    middle, left = np.diagonal(rest).copy(), np.ones(modes, dtype=np.complex128)
    middle /= np.abs(middle)
    angles = np.empty((len(cells), 2))
    # Phases that a cell leaves over go on to the next one, through the diagonal in the middle.
    behind = phases == "output"
    passed, turn = 0, len(blocks["left" if behind else "right"])
    for cell, upper, block in reversed(light) if behind else light:
        if passed == turn:
            left *= middle
        passed += 1
        pair = slice(upper, upper + 2)
        whole = left[pair, None] * block if behind else (block * left[pair]).T
        angles[cell], left[pair] = _cell(whole)
    if passed == turn:
        left *= middle
    return angles, np.angle(left)


def _rotation(first: complex, second: complex) -> Matrix:
    """Return the unitary of determinant 1 with a first row parallel to (first, second)."""
    size = math.hypot(abs(first), abs(second))
    if not second or not size:  # nothing to null
        return np.eye(2, dtype=np.complex128)
    u, v = first / size, second / size
    return np.array([[u, v], [-v.conjugate(), u.conjugate()]])


def _cell(block: Matrix) -> tuple[tuple[float, float], tuple[complex, complex]]:
    """Return a, b, p, q such that the block is that of a cell, times diag(p, q) on its inputs.

    A cell with b behind its splitters is
    `1j * exp(1j * a / 2) * [[exp(1j * b) * s, exp(1j * b) * c], [c, -s]]`, s = sin(a / 2).
    """
    (upper, across), (back, lower) = block.tolist()
    a = 2 * math.atan2(abs(upper), abs(back))
    whole = 1j * cmath.exp(0.5j * a)
    # Of an entry that is 0 the phase is free.
    p, q = _phase(back / whole), _phase(-lower / whole)
    known = across / q if abs(back) > abs(upper) else upper / p
    return (a, cmath.phase(known / whole) % (2 * math.pi)), (p, q)


def _phase(number: complex) -> complex:
    return number / abs(number) if number else 1.0 + 0j
