"""The compiled kernel of derivatives of derivatives in data phases, on torch tensors in CPU memory.

What it differentiates are the weights of outcomes: their probabilities before any are dropped and
the others renormalised.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hybridlit.photonics.kernels.compiled.calls import Layer, addresses_behind
from hybridlit.photonics.kernels.compiled.layout import CHUNK
from hybridlit.photonics.kernels.compiled.plans import plan_for

__all__ = ["weights_along"]


class _Jets(Layer):
    """The kernel of jets of one plan, depth and precision, on one thread."""

    kernels = "jets_kernel.layer_jets", "jets_kernel.layer_jets"

    def along(
        self,
        addresses: list[int],
        strides: tuple[int, int],
        order: int,
        batch: int,
        matrices: Tensor | None,
    ) -> bool:
        """Fill derivatives along directions, and gradients.

        `addresses` are those of contiguous angles, data phases, directions, gradient of the
        derivatives, a second one or 0, unitaries, and of what is filled: derivatives and gradients
        of angles and of phases. `strides` are those of the first gradient. `matrices` gets the
        gradients of the unitaries instead of the angles, if given. Returns whether every angle and
        phase is finite and within its bound.
        """
        plan, width, depth, components = self.plan, self.width, self.depth, 1 << order
        *inputs, unitaries_at, values_at, grad_angles_at, grad_phases_at = addresses
        children_at = plan.children_at or plan.build_children()
        modes, row = plan.modes, 2 * width
        # A square block, one mesh and its gradient; columns twice; spare rows of a layer, of which
        # any may be the largest; all rows twice.
        need = width * width + 4 * modes * (-(-modes // width) * width)
        need += components * 2 * plan.columns * modes * row + max(plan.rows, CHUNK) * row
        need += components * (plan.rows * row + self.tile_scalars)
        sizes = need, (depth + 1) * modes * modes * row
        scratch, totals = (np.empty(size, f"f{self.itemsize}") for size in sizes)
        unusable = self._layer_forward(
            plan.layout_at, plan.parents_at, children_at, plan.weights_at, *inputs[:4], *strides,
            inputs[4], unitaries_at, scratch.ctypes.data, totals.ctypes.data, values_at,
            grad_angles_at, grad_phases_at, order, depth, batch, matrices is None,
        )  # fmt: skip
        if matrices is not None:
            self._read_totals(totals.view(np.uint8), totals.ctypes.data, matrices)
        return not unusable


def weights_along(
    interferometers: Tensor,
    data_phases: Tensor,
    occupied: tuple[int, ...],
    unbunched: bool,
    directions: tuple[Tensor, ...],
    grad: Tensor,
    second: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Differentiate the weights of outcomes along directions of the data phases.

    Of `w`, the derivative along all directions, and `w_1`, that along the first, it returns `w` and
    the gradients of the sum of `grad * w` and `second * w_1`.

    Args:
        interferometers: As for `probabilities_forward`.
        data_phases: As for `probabilities_forward`.
        occupied: As for `probabilities_forward`.
        unbunched: Only outcomes with at most one photon a mode.
        directions: None, one or two, in the shape of `data_phases`.
        grad: Shape (..., batch, D), any strides.
        second: Shape (..., batch, D), only with two directions.

    Returns:
        The derivative, shape (..., batch, D); the gradient of the interferometers, in their shape;
        those of data phases and, if there is one, of the first direction, in one more leading
        dimension. None if some phase is not finite or too large.
    """
    *stack, depth, modes, batch = data_phases.shape
    circuits, order = math.prod(stack), len(directions)
    layer = _Jets(plan_for(modes, occupied, unbunched), depth, data_phases.element_size())
    matrices = interferometers.is_complex()
    interferometers = interferometers.resolve_conj().resolve_neg().contiguous()
    data_phases = data_phases.resolve_neg().contiguous()
    unitaries = data_phases.new_empty(circuits, layer.unitary_scalars)
    grad_meshes = torch.empty_like(interferometers)
    parts = None
    if matrices:
        parts = torch.view_as_real(grad_meshes).view(circuits, depth + 1, modes, modes, 2)
        layer.fill(interferometers.reshape(circuits, depth + 1, modes, modes), unitaries)
    along = data_phases
    if directions:
        size = depth * modes * batch
        along = torch.stack([each.reshape(circuits, size) for each in directions], 1)
    found = data_phases.new_empty(circuits, 2 if order else 1, depth, modes, batch)
    states = layer.plan.states
    values = data_phases.new_empty(*stack, batch, states)
    grad = grad.resolve_neg()
    if len(stack) > 1:
        grad = grad.flatten(0, -3)
    *between, along_batch, along_states = grad.stride()
    if second is not None:
        second = second.resolve_neg().contiguous()
    addresses = [
        interferometers.data_ptr(), data_phases.data_ptr(), along.data_ptr(), grad.data_ptr(),
        0 if second is None else second.data_ptr(), unitaries.data_ptr(), values.data_ptr(),
        grad_meshes.data_ptr(), found.data_ptr(),
    ]  # fmt: skip
    phases, outcomes = depth * modes * batch, batch * states
    angles = 0 if matrices else 2 * (depth + 1) * layer.cells
    numbers = [
        angles, phases, order * phases, between[0] if between else 0,
        0 if second is None else outcomes, layer.unitary_scalars, outcomes, angles,
        found[0].numel() if circuits else 0,
    ]  # fmt: skip
    for circuit in range(circuits):
        if circuit:
            addresses = addresses_behind(addresses, numbers, layer)
        of_circuit = None if parts is None else parts[circuit]
        if not layer.along(addresses, (along_batch, along_states), order, batch, of_circuit):
            return None
    shape = found.shape[1], *stack, depth, modes, batch
    return values, grad_meshes, found.transpose(0, 1).reshape(shape)
