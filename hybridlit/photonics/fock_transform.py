r"""States times rows of the matrix of amplitudes from every term to every outcome.

On the CPU one node of autograd: the matrix is made by the compiled recursion, in real and imaginary
parts as it has them, multiplied, and not kept for more than the gradient needs.

The matrices W of unitaries multiply as these do, so that a change :math:`dU = Z U` changes an
outgoing state by :math:`\sum_{jk} Z_{jk} a_j^\dagger a_k`. Where all outcomes are there, the
gradient of U is that of Z times U, and takes no gradient of W: for a gradient g of the state psi

.. math:: G_{jk} = \sum_t (a_j g)_t\, (a_k \psi)_t^*
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hybridlit.photonics.amplitudes import amplitudes_from_columns
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import (
    forward_mode,
    kernel_for,
    refuse_batches,
    transforming,
)
from hybridlit.photonics.kernels.reference import transitions
from hybridlit.photonics.tracing import recording

__all__ = ["transformed"]

_MOST_NUMBERS = 2**18
"""Complex numbers of states of a photon less at a time: 2 MiB in complex64."""


def transformed(
    unitary: Tensor, choice: Tensor, state: Tensor, occupied: list[int], space: FockSpace
) -> Tensor:
    """Return the amplitudes of the outcomes of a superposition of terms.

    Args:
        unitary: Columns of a unitary, shape (modes, inputs), complex.
        choice: From these to the column of each photon of each term, shape (inputs, photons, K),
            real.
        state: The amplitudes of the terms, shape (samples, K), complex.
        occupied: Modes that the photons of all terms are said to enter.
        space: The outcomes.

    Returns:
        Shape (samples, D).
    """
    plain = recording() or transforming() or forward_mode()
    if not plain and state.is_cpu and kernel_for(space, choice) == "compiled":
        result: Tensor = _Transformed.apply(unitary, choice, state, occupied, space.space)  # type: ignore[no-untyped-call]
        return result
    return _plainly(unitary, choice, state, occupied, space.space)


def _plainly(
    unitary: Tensor, choice: Tensor, state: Tensor, occupied: list[int], space: ComputationSpace
) -> Tensor:
    columns = unitary @ choice.flatten(1).to(unitary.dtype)
    columns = columns.view(-1, *choice.shape[1:])
    return state @ amplitudes_from_columns(columns, occupied, space)


class _Transformed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        unitary: Tensor,
        choice: Tensor,
        state: Tensor,
        occupied: list[int],
        space: ComputationSpace,
    ) -> Tensor:
        state = state.resolve_conj()
        parts = torch.stack([unitary.real, unitary.imag]).flatten(0, 1)
        columns = (parts @ choice.flatten(1)).view(2, -1, *choice.shape[1:])
        ctx.settings = tuple(occupied), space is ComputationSpace.UNBUNCHED
        matrix = compiled.planes_forward(columns, *ctx.settings)
        ctx.occupied, ctx.space = occupied, space
        result = _product(state, matrix)
        kept = matrix if ctx.needs_input_grad[2] else None
        needed = columns if ctx.settings[1] else None
        ctx.save_for_backward(unitary, choice, state, needed, kept, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        unitary, choice, state, columns, matrix, result = ctx.saved_tensors
        refuse_batches(grad)
        of_unitary = of_state = None
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            again = _plainly(unitary, choice, state, ctx.occupied, ctx.space)
            wanted = [index for index in (0, 2) if ctx.needs_input_grad[index]]
            inputs = [unitary if index == 0 else state for index in wanted]
            found = torch.autograd.grad(again, inputs, grad, create_graph=True)
            both = dict(zip(wanted, found, strict=True))
            return both.get(0), None, both.get(2), None, None
        grad = grad.resolve_conj()
        photons = len(ctx.occupied)
        if ctx.needs_input_grad[0] and ctx.space is ComputationSpace.FOCK:
            of_unitary = _one_body(grad, result, len(unitary), photons) @ unitary
        elif ctx.needs_input_grad[0]:
            below = compiled.planes_backward(columns, _outer(state, grad), *ctx.settings)
            parts = below.view(-1, choice.shape[1] * choice.shape[2]) @ choice.flatten(1).mT
            of_unitary = torch.complex(*parts.view(2, *unitary.shape))
        if matrix is not None:
            of_state = grad @ torch.complex(matrix[0], matrix[1]).mH
        return of_unitary, None, of_state, None, None


def _one_body(grad: Tensor, state: Tensor, modes: int, photons: int) -> Tensor:
    """The sum over samples of the matrix G of above, shape (modes, modes)."""
    target, weight = transitions(
        modes, photons - 1, ComputationSpace.FOCK, state.real.dtype, state.device
    )

    def one_photon_less(states: Tensor) -> Tensor:
        found = states.mT.contiguous().index_select(0, target.flatten())
        torch.view_as_real(found).mul_(weight.reshape(-1, 1, 1))
        return found.view(modes, -1)

    step = max(1, _MOST_NUMBERS // target.numel())
    first, *others = (
        one_photon_less(above) @ one_photon_less(below).mH
        for above, below in zip(grad.split(step), state.split(step), strict=True)
    )
    for other in others:
        first += other
    return first


# Complex products by three real ones each, of real and imaginary parts.


def _product(state: Tensor, matrix: Tensor) -> Tensor:
    """Complex (samples, K) times real and imaginary parts (2, K, D)."""
    real, imaginary = state.real.contiguous(), state.imag.contiguous()
    first, second = real @ matrix[0], imaginary @ matrix[1]
    both = (real + imaginary) @ (matrix[0] + matrix[1])
    return torch.complex(first - second, both.sub_(first).sub_(second))


def _outer(state: Tensor, grad: Tensor) -> Tensor:
    """Conjugate transpose of (samples, K) times (samples, D), as parts (2, K, D)."""
    real, imaginary = state.real.contiguous(), state.imag.contiguous()
    of_real, of_imaginary = grad.real.contiguous(), grad.imag.contiguous()
    result = real.new_empty(2, real.shape[1], of_real.shape[1])
    first, second = real.mT @ of_real, imaginary.mT @ of_imaginary
    torch.mm((real - imaginary).mT, of_real + of_imaginary, out=result[1])
    result[1].sub_(first).add_(second)
    torch.add(first, second, out=result[0])
    return result
