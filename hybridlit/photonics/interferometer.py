r"""Phases of a rectangular mesh of Mach-Zehnder interferometers -> its unitary.

The mesh (Clements et al., Optica 3, 1460 (2016)) has m columns of cells on neighbouring modes,
m(m-1)/2 in all. A cell on modes (j, j+1) is two 50:50 beam splitters
:math:`\tfrac{1}{\sqrt2}\begin{pmatrix}1&i\cr i&1\end{pmatrix}` around a phase shifter a on mode j,
and one more phase shifter b on mode j, either behind the splitters or before them. The first form
reaches every unitary up to phases on its input, which a Fock state does not feel; the second every
unitary up to phases on its output, which photon counting does not feel. A circuit uses the first
form for all of its interferometers but the last, so that no phase is without effect for every input
state; a cell of the first mesh that only vacuum reaches has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import (
    forward_mode,
    refuse_batches,
    serves_any,
    transforming,
)
from hybridlit.photonics.shapes import shaped
from hybridlit.photonics.tables import on_device
from hybridlit.photonics.tracing import recording

__all__ = ["cells", "haar_phases", "padded", "unitaries", "unitaries_in_torch"]


@lru_cache(maxsize=64)
def cells(modes: int) -> npt.NDArray[np.int64]:
    """Column and upper mode of each cell of a mesh of m modes, shape (m (m - 1) / 2, 2)."""
    found = [(c, j) for c in range(modes) for j in range(c % 2, modes - 1, 2)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def haar_phases(
    meshes: int, modes: int, *, dtype: torch.dtype, device: torch.device | str | None = None
) -> Tensor:
    r"""Draw phases such that each mesh is a Haar-random unitary, up to phases at its ends.

    A cell reached by I inputs and seen by O outputs transmits light to the other mode with
    probability :math:`\cos^2(a/2) \sim \mathrm{Beta}(I + O - m - 1, 1)`; b is uniform (Russell et
    al., New J. Phys. 19, 033007 (2017); Pai et al., Phys. Rev. Applied 11, 064044 (2019)).

    Args:
        meshes: Number of meshes.
        modes: Number of modes m.
        dtype: A real floating dtype.
        device: Where to draw, from torch's generator of that device.

    Returns:
        Phases (a, b) in radians, a in [0, pi], b in [0, 2 pi), shape (meshes, m (m - 1) / 2, 2).
    """
    column, upper = cells(modes).T
    last = modes - 1
    reach = np.minimum(upper + 1 + column, last) - np.maximum(upper - column, 0) + 1
    ahead = last - column
    seen = np.minimum(upper + 1 + ahead, last) - np.maximum(upper - ahead, 0) + 1
    shape = torch.tensor(reach + seen - modes - 1, dtype=dtype, device=device)
    uniform = torch.rand(2, meshes, len(column), dtype=dtype, device=device)
    a = 2 * torch.arccos(uniform[0] ** (0.5 / shape))
    return torch.stack([a, 2 * math.pi * uniform[1]], dim=-1)


def unitaries(phases: Tensor) -> Tensor:
    r"""Return the unitaries of the interferometers of circuits, differentiably in the phases.

    Args:
        phases: (a, b) of each cell in radians, shape (..., meshes, cells, 2), real; the last mesh
            of a circuit has b before its splitters, the others behind.

    Returns:
        Unitaries `[out, in]`, shape (..., meshes, modes, modes), complex.
    """
    plain = recording() or forward_mode() or transforming()
    if serves_any(phases) and not plain:
        result: Tensor = _Unitaries.apply(phases)  # type: ignore[no-untyped-call]
        return result
    if phases.is_meta and not plain:
        *stack, count, _ = phases.shape
        modes = (1 + math.isqrt(1 + 8 * count)) // 2
        return shaped((*stack, modes, modes), phases, complex_numbers=True)
    return unitaries_in_torch(phases)


class _Unitaries(torch.autograd.Function):
    """The compiled mesh as one node of autograd."""

    @staticmethod
    def forward(ctx: Any, phases: Tensor) -> Tensor:
        result = compiled.unitaries_forward(phases)
        ctx.save_for_backward(phases, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        phases, result = ctx.saved_tensors
        refuse_batches(grad)
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            again = unitaries_in_torch(phases)
            found: Tensor = torch.autograd.grad(again, phases, grad, create_graph=True)[0]
            return found
        return compiled.unitaries_backward(phases, result, grad)


def unitaries_in_torch(phases: Tensor) -> Tensor:
    """Return what `unitaries` does, as a differentiable torch expression."""
    *stack, meshes, count, _ = map(int, phases.shape)  # torch.jit.trace gives tensors
    modes = (1 + math.isqrt(1 + 8 * count)) // 2
    circuits = math.prod(stack)
    slots = padded(modes)
    places, identity, factors, offset = _layout(meshes, modes, phases.dtype, phases.device)
    angles = torch.cat([phases, phases.sum(-1, keepdim=True)], -1)
    turned = torch.view_as_real(torch.exp(1j * angles)).reshape(circuits * meshes * count, 6)
    cells = torch.view_as_complex(torch.addmm(offset, turned, factors).unflatten(-1, (4, 2)))
    # Not expanded: torch's inductor makes index_copy of one tensor write to all rows at once.
    columns = identity.repeat(circuits, meshes * slots)
    columns = columns.index_copy(1, places, cells.view(circuits, len(places)))
    columns = columns.view(circuits * meshes, slots, modes, modes)
    # Pairwise products keep the order and need log2(columns) batched products, not `columns`.
    while columns.shape[1] % 2 == 0:
        earlier, later = columns.unflatten(1, (-1, 2)).unbind(2)
        columns = later @ earlier
    product, *others = columns.unbind(1)
    for other in others:
        product = other @ product
    return product.view(*stack, meshes, modes, modes)


def padded(modes: int) -> int:
    """Return how many columns a mesh has with those that do nothing: one or three, doubled."""
    return min(base << max(0, (-(-modes // base) - 1).bit_length()) for base in (1, 3))


@constant_in_graphs
def _layout(meshes: int, modes: int, real: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    r"""Where cells are in columns of cells, and what they are made of.

    With a and b their phases, the entries of a cell are sums of 1,
    :math:`e^{ia}`, :math:`e^{ib}` and :math:`e^{i(a+b)}`.

    Returns:
        Flat positions of all cells' entries in (mesh, column, out, in), of `padded` columns; what
        is in a column without cells, shape (1, modes**2); the matrix from real and imaginary parts
        of the exponentials to those of the entries, shape (6, 8), and the entries' parts of 1.
    """
    dtype = np.float64 if real == torch.float64 else np.float32

    def make() -> Iterator[npt.NDArray[Any]]:
        columns = padded(modes)
        column, upper = cells(modes).T
        out = upper[:, None] + np.array([0, 0, 1, 1])
        into = upper[:, None] + np.array([0, 1, 0, 1])
        ends = np.array([[out, into]] * (meshes - 1) + [[into, out]])  # the last is a transpose
        behind = np.arange(meshes)[:, None, None] * columns + column[:, None]
        yield ((behind * modes + ends[:, 0]) * modes + ends[:, 1]).reshape(-1)
        identity = np.eye(modes, dtype=np.result_type(dtype, np.complex64))
        yield identity.reshape(1, -1)
        # Rows are exp(ia), exp(ib), exp(i(a + b)); the cell is that with b behind its splitters.
        parts = np.array([[0, 0, 1j, -1], [-1, 1j, 0, 0], [1, 1j, 0, 0]]) / 2
        real_and_imaginary = np.stack([parts, 1j * parts], 1).reshape(6, 4)
        yield real_and_imaginary.view(np.float64).astype(dtype)
        yield (np.array([0, 0, 1j, 1]) / 2).view(np.float64).astype(dtype)

    return on_device(("mesh", meshes, modes, dtype), make, device)
