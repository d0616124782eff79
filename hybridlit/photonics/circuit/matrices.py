"""Trainable angles -> the interferometers of a lowered circuit as matrices, in torch operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hybridlit.photonics.circuit.lowering import Parameter, Slots
from hybridlit.photonics.kernels.choice import forward_mode, refuse_batches, transforming
from hybridlit.photonics.tracing import recording

__all__ = ["Product", "drawn"]


class Product(NamedTuple):
    """`Slots` as tensors on a device.

    Attributes:
        matrices: Slots come first, so that all of them are one batch of products: shape
            (slots, interferometers, modes, modes), complex.
        places: Which parameter turns a mode, counted from 1, or 0 for none, shape
            (slots * interferometers * modes,).
        factor: Its factor, of the same shape.
        nothing: How many interferometers come before these and do nothing.
    """

    matrices: Tensor
    places: Tensor
    factor: Tensor
    nothing: int

    @classmethod
    def of(cls, slots: Slots, dtype: torch.dtype, device: torch.device) -> Product:
        """Return slots in a real precision."""
        idle = (slots.matrices == np.eye(slots.matrices.shape[-1])).all((1, 2, 3))
        nothing = int(idle[0] and not slots.places[0].any() and len(idle) > 1)
        matrices, places, factor = (array[nothing:].swapaxes(0, 1) for array in slots)
        return cls(
            torch.tensor(matrices, dtype=dtype.to_complex(), device=device),
            torch.tensor(places.reshape(-1), device=device),
            torch.tensor(factor.reshape(-1), dtype=dtype, device=device),
            nothing,
        )

    def interferometers(self, phases: Tensor) -> Tensor:
        """Return the interferometers `[out, in]`, differentiably.

        Args:
            phases: The parameters in radians, shape (..., parameters), real.

        Returns:
            Shape (..., columns + 1, modes, modes), complex.
        """
        found = self.of_some_effect(phases)
        if not self.nothing:
            return found
        identity = torch.eye(found.shape[-1], dtype=found.dtype, device=found.device)
        shape = *found.shape[:-3], self.nothing, *identity.shape
        return torch.cat([identity.expand(shape), found], -3)

    def of_some_effect(self, phases: Tensor) -> Tensor:
        """Return `interferometers` without the first ones if they do nothing."""
        stack = phases.shape[:-1]
        if not phases.shape[-1]:
            return self.matrices[0].expand(*stack, *self.matrices[0].shape)
        if recording() or forward_mode() or transforming():
            whole: Tensor = self._up_to_each(phases)[-1]
            return whole.view(*stack, *self.matrices.shape[1:])
        result: Tensor = _Products.apply(phases, self)  # type: ignore[no-untyped-call]
        return result

    def _up_to_each(self, phases: Tensor) -> Tensor:
        """Products of the first 1, 2, ... slots, shape (slots, interferometers, modes, modes).

        Those of all circuits are behind one another.
        """
        slots, meshes, modes, _ = self.matrices.shape
        rows = phases.reshape(-1, phases.shape[-1])
        turned = torch.cat([rows.new_zeros(len(rows), 1), rows], 1)
        angles = turned.index_select(1, self.places) * self.factor
        factors = torch.polar(torch.ones_like(angles), angles)
        if len(rows) == 1:
            products = factors.view(slots, meshes, modes, 1) * self.matrices
        else:
            factors = factors.view(-1, slots, meshes, modes, 1).transpose(0, 1)
            products = (factors * self.matrices[:, None]).flatten(1, 2)
        # Doubling needs log2(slots) batched products, not `slots`.
        done = 1
        while done < slots:
            later, earlier = products[done:].flatten(0, 1), products[: slots - done].flatten(0, 1)
            longer = torch.bmm(later, earlier).view(slots - done, -1, modes, modes)
            products = torch.cat([products[:done], longer])
            done *= 2
        return products


class _Products(torch.autograd.Function):
    r"""All interferometers as one node of autograd.

    With :math:`A_k` the product of the first k slots, U = :math:`B_k A_k`, and a phase of slot k on
    mode j multiplies row j of :math:`A_k`. All slots are unitary, so that
    :math:`B_k^\dagger G = A_k U^\dagger G` for the gradient G of U.
    """

    @staticmethod
    def forward(ctx: Any, phases: Tensor, product: Product) -> Tensor:
        products = product._up_to_each(phases)
        ctx.product = product
        ctx.save_for_backward(phases, products)
        meshes, modes, _ = product.matrices.shape[1:]
        return products[-1].clone().view(*phases.shape[:-1], meshes, modes, modes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        phases, products = ctx.saved_tensors
        product: Product = ctx.product
        refuse_batches(grad)
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            again = product._up_to_each(phases)[-1].view_as(grad)
            return torch.autograd.grad(again, phases, grad, create_graph=True)[0], None
        slots, _, modes, _ = products.shape
        pulled = torch.bmm(products[-1].mH, grad.reshape(-1, modes, modes))
        angles = (products.conj() * (products @ pulled)).imag.sum(-1)
        circuits = math.prod(phases.shape[:-1])
        if circuits > 1:
            angles = angles.view(slots, circuits, -1).transpose(0, 1)
        angles = angles.reshape(circuits, -1) * product.factor
        result = angles.new_zeros(circuits, phases.shape[-1] + 1)
        result.index_add_(1, product.places, angles)
        return result[:, 1:].reshape(phases.shape), None


def drawn(
    parameters: Sequence[Parameter], circuits: int, *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return what parameters begin with, shape (circuits, parameters), in radians.

    Without an init the angle is drawn, of which scale and offset then make the parameter.
    """
    like: dict[str, Any] = dict(dtype=dtype, device=device)
    uniform = torch.rand(circuits, len(parameters), **like)
    shapes = [1.0 if isinstance(p.drawn, str) else p.drawn for p in parameters]
    exponents = torch.tensor([0.5 / shape for shape in shapes], **like)
    uniformly = [p.drawn == "phase" for p in parameters]
    phase = torch.tensor(uniformly, dtype=torch.bool, device=device)
    angles = torch.where(phase, 2 * math.pi * uniform, 2 * torch.arccos(uniform**exponents))
    scales = torch.tensor([p.scale for p in parameters], **like)
    offsets = torch.tensor([p.offset for p in parameters], **like)
    given = [math.nan if p.init is None else p.init for p in parameters]
    init = torch.tensor(given, **like)
    return torch.where(init.isnan(), (angles - offsets) / scales, init)
