"""The compiled kernel of the columns of circuits' unitaries on torch tensors in CPU memory."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hybridlit.photonics.kernels.compiled import layout
from hybridlit.photonics.kernels.compiled.calls import Layer, addresses_behind
from hybridlit.photonics.kernels.compiled.plans import Plan, goes_by_cells

__all__ = ["columns_backward", "columns_forward"]


class _Route(Plan):
    """The plan of columns alone, of which no photon makes any state."""

    def __init__(self, modes: int, inputs: tuple[int, ...]) -> None:
        self.modes, self.columns, self.inputs = modes, len(inputs), list(inputs)
        self.photons = self.states = self.rows = self.multiply_adds = 0
        self.unbunched, self.sizes = False, [0]
        arrays = np.zeros((layout.PLAN_ARRAYS, len(inputs) + 1), dtype=np.int64)
        arrays[layout.OCCUPIED, : len(inputs)] = inputs
        head = np.array([modes, len(inputs), len(inputs), 0, 0, 0], dtype=np.int64)
        self.layout = np.concatenate((head, arrays.reshape(-1)))
        self.layout_at = self.parents_at = self.children_at = self.layout.ctypes.data
        self.weights_at = self.layout_at  # neither links nor weights are read


class _Columns(Layer):
    """The kernels of the columns of one plan, depth and precision."""

    kernels = "columns_kernels.layer_forward", "columns_kernels.layer_backward"


@lru_cache(maxsize=64)
def _columns(
    modes: int, inputs: tuple[int, ...], depth: int, itemsize: int, by_cells: bool
) -> _Columns:
    return _Columns(_Route(modes, inputs), depth, itemsize, by_cells)


def _of(interferometers: Tensor, data_phases: Tensor, inputs: tuple[int, ...]) -> _Columns:
    depth, modes, batch = data_phases.shape[-3:]
    itemsize = data_phases.element_size()
    meshes = not interferometers.is_complex()
    by_cells = goes_by_cells(meshes, len(inputs), modes, batch, itemsize)
    return _columns(modes, inputs, depth, itemsize, by_cells)


def columns_forward(
    interferometers: Tensor, data_phases: Tensor, inputs: tuple[int, ...]
) -> tuple[Tensor | None, Tensor]:
    """Return the columns of each circuit's unitary, and what the gradient needs.

    Args:
        interferometers: As for `probabilities_forward`.
        data_phases: As for `probabilities_forward`, of as many leading dimensions.
        inputs: Input modes of the columns, ascending.

    Returns:
        Real and imaginary parts, shape (circuits, 2, modes, inputs, batch), or None if some phase
        is not finite or too large; and a tensor for `columns_backward`.
    """
    *stack, depth, modes, batch = data_phases.shape
    circuits, build = math.prod(stack), not interferometers.is_complex()
    kernel = _of(interferometers, data_phases, inputs)
    interferometers = interferometers.resolve_conj().resolve_neg().contiguous()
    data_phases = data_phases.resolve_neg().contiguous()
    result = data_phases.new_empty(circuits, 2, modes, len(inputs), batch)
    unitaries = data_phases.new_empty(circuits, kernel.unitary_scalars)
    if not build:
        if not bool(torch.isfinite(torch.view_as_real(interferometers)).all()):
            return None, unitaries
        kernel.fill(interferometers.reshape(circuits, depth + 1, modes, modes), unitaries)
    addresses = [
        interferometers.data_ptr(), data_phases.data_ptr(), result.data_ptr(), 0,
        unitaries.data_ptr(), 0,
    ]  # fmt: skip
    numbers = [
        2 * (depth + 1) * kernel.cells * build, depth * modes * batch,
        2 * modes * len(inputs) * batch, 0, kernel.unitary_scalars, 0,
    ]  # fmt: skip
    for circuit in range(circuits):
        if circuit:
            addresses = addresses_behind(addresses, numbers, kernel)
        if not kernel.forward(addresses, batch, kernel.tiles(batch), False, build):
            return None, unitaries
    return result, unitaries


def columns_backward(
    interferometers: Tensor,
    data_phases: Tensor,
    inputs: tuple[int, ...],
    unitaries: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the interferometers and of the data phases.

    Args:
        interferometers: As for `columns_forward`, and so are the next two.
        data_phases: See there.
        inputs: See there.
        unitaries: The tensor that it returned.
        grad: Gradient of the columns that it returned, contiguous.

    Returns:
        The same shapes as theirs.
    """
    *stack, depth, modes, batch = data_phases.shape
    circuits = math.prod(stack)
    kernel = _of(interferometers, data_phases, inputs)
    matrices = interferometers.is_complex()
    grad_meshes = torch.empty_like(interferometers, memory_format=torch.contiguous_format)
    parts = (
        torch.view_as_real(grad_meshes).view(circuits, depth + 1, modes, modes, 2)
        if (matrices)
        else None
    )
    grad_data = data_phases.new_empty(data_phases.shape)
    data_phases = data_phases.resolve_neg().contiguous()
    addresses = [
        data_phases.data_ptr(), grad.data_ptr(), 0, 0, unitaries.data_ptr(), 0,
        grad_meshes.data_ptr(), grad_data.data_ptr(),
    ]  # fmt: skip
    size = depth * modes * batch
    numbers = [
        size, 2 * modes * len(inputs) * batch, 0, 0, kernel.unitary_scalars, 0,
        0 if matrices else 2 * (depth + 1) * kernel.cells, size,
    ]  # fmt: skip
    for circuit in range(circuits):
        if circuit:
            addresses = addresses_behind(addresses, numbers, kernel)
        of_circuit = None if parts is None else parts[circuit]
        kernel.backward(addresses, (0, 0), batch, False, of_circuit)
    return grad_meshes, grad_data
