r"""Unitary -> Fock amplitudes, and their gradient.

The amplitude of outcome t for input s is
:math:`\mathrm{perm}(U[t, s]) / \sqrt{\prod t! \prod s!}`, where `U[t, s]` repeats row j
:math:`t_j` times and column k :math:`s_k` times (Scheel, quant-ph/0406127). All outcomes together
cost about n D complex multiply-adds, far less than a permanent each.

The recursion is one operator, `torch.ops.hybridlit.fock_amplitudes`, with a hand-written
gradient: autograd, `torch.compile`, `torch.export` and `torch.func` see one node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.checks import enum_member, integer
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels import compiled, reference
from hybridlit.photonics.kernels.choice import (
    chosen_kernel,
    forward_mode,
    kernel_for,
    transforming,
)
from hybridlit.photonics.tables import of_modes
from hybridlit.photonics.tracing import recording, unrecorded

__all__ = ["amplitudes", "amplitudes_from_columns", "occupied_modes", "squared"]


@checked
def amplitudes(
    unitary: Tensor, input_state: Sequence[int], *, space: ComputationSpace | str = "fock"
) -> Tensor:
    """Return the amplitudes of all outcomes of a Fock state sent through interferometers.

    Args:
        unitary: `[out, in]`, shape (..., modes, modes), complex64 or complex128. Need not be
            unitary: any transfer matrix has these amplitudes.
        input_state: Photons in each input mode.
        space: `"fock"` for all outcomes, `"unbunched"` for those with at most one photon a
            mode; unbunched amplitudes are not renormalised.

    Returns:
        Amplitudes in descending lexicographic order of the outcomes, shape (..., D).

    Raises:
        TypeError: If `unitary` is not complex, or an occupation not an integer.
        ValueError: If shapes do not fit or the state names no mode.

    Example:
        >>> splitter = torch.tensor([[1, 1j], [1j, 1]], dtype=torch.complex128) / 2**0.5
        >>> amplitudes(splitter, (1, 1)).abs().square()  # Hong-Ou-Mandel: never one photon each
        tensor([0.5000, 0.0000, 0.5000], dtype=torch.float64)
    """
    kind = enum_member(ComputationSpace, space, "space")
    state = tuple(integer(number, "each entry of input_state", 0) for number in input_state)
    if not isinstance(unitary, Tensor) or unitary.dtype not in (torch.complex64, torch.complex128):
        got = unitary.dtype if isinstance(unitary, Tensor) else type(unitary).__name__
        raise TypeError(f"unitary must be a complex64 or complex128 tensor, got {got}")
    if unitary.dim() < 2 or unitary.shape[-2:] != (len(state), len(state)):
        raise ValueError(
            f"unitary must have shape (..., {len(state)}, {len(state)}) for input_state={state}, "
            f"got {tuple(unitary.shape)}"
        )
    if not state:
        raise ValueError("input_state must have at least one mode, got ()")
    outcomes = FockSpace(len(state), sum(state), kind)
    occupied = occupied_modes(state)
    batch = unitary.shape[:-2]
    rows = unitary.reshape(math.prod(batch), len(state), len(state))
    columns = of_modes(rows, occupied).permute(1, 2, 0)
    return amplitudes_from_columns(columns, occupied, kind).reshape(*batch, outcomes.size)


def occupied_modes(state: Sequence[int]) -> list[int]:
    r"""Return the input mode of each photon in the order of computation: (2, 0, 1) -> [0, 2, 0].

    The photons of each mode are spread evenly over the order. Rounding errors made after some
    photons grow with all that follow, on average over the states that an error can be in by
    :math:`\sqrt{\binom{n+m-1}{j} / \binom{j+m-1}{j} / \prod_i \binom{s_i}{r_i}}` from j photons
    on, where :math:`r_i` of the :math:`s_i` photons of mode i are still to come. Mode after mode
    that is 9e7 for 30 photons in each of two modes; spread evenly, it stays below 5 for all states
    that fit into memory, so that float32 serves any number of photons. The order is ascending if no
    mode holds more than one.
    """
    places = [
        ((photon + 0.5) / photons, mode)
        for mode, photons in enumerate(state)
        for photon in range(photons)
    ]
    return [mode for _, mode in sorted(places)]


def amplitudes_from_columns(
    columns: Tensor, occupied: Sequence[int], space: ComputationSpace
) -> Tensor:
    """Return the amplitudes (batch, D) of all outcomes from the occupied columns alone.

    Args:
        columns: Column `occupied[k]` of each unitary, shape (modes, photons, batch), complex.
        occupied: The input mode of each photon, in the order of computation.
        space: Which outcomes.
    """
    settings = list(occupied), space.value, chosen_kernel()
    if recording():
        traced: Tensor = torch.ops.hybridlit.fock_amplitudes(columns, *settings)
        return traced
    if forward_mode():
        return _in_torch(columns, list(occupied), space.value)
    result: Tensor = _Amplitudes.apply(columns, *settings)  # type: ignore[no-untyped-call]
    return result


def squared(amplitudes: Tensor) -> Tensor:
    """Return the squares of absolute values."""
    if recording() or transforming() or forward_mode():
        return _squares(amplitudes)
    result: Tensor = _Squared.apply(amplitudes)  # type: ignore[no-untyped-call]
    return result


def _squares(amplitudes: Tensor) -> Tensor:
    real, imaginary = torch.view_as_real(amplitudes.resolve_conj()).square().unbind(-1)
    return real + imaginary


class _Squared(torch.autograd.Function):
    """One node, whose gradient is one product."""

    @staticmethod
    def forward(ctx: Any, amplitudes: Tensor) -> Tensor:
        ctx.save_for_backward(amplitudes)
        return _squares(amplitudes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (amplitudes,) = ctx.saved_tensors
        found: Tensor = amplitudes * (2 * grad)
        return found


# The same operator twice: as an autograd function for eager mode and torch.func, and in torch's
# operator library for tracing, since functions registered there refuse torch.func's gradients.
# `kernel` is what was chosen for the forward pass: the backward pass may run in another thread, or
# after the choice. All results are contiguous, as tracing expects, and all arguments what they
# say: a compiled graph runs operators where torch does not see to conjugates that are only marked.


def _forward(columns: Tensor, occupied: list[int], space: str, kernel: str = "auto") -> Tensor:
    columns = columns.resolve_conj()
    outcomes = FockSpace(len(columns), len(occupied), ComputationSpace(space))
    if kernel_for(outcomes, columns.real, kernel) == "compiled":
        return compiled.amplitudes_forward(columns, tuple(occupied), outcomes.unbunched)
    # Of one photon it would otherwise be a view of what was given.
    return _in_torch(columns, occupied, space).clone(memory_format=torch.contiguous_format)


def _in_torch(columns: Tensor, occupied: list[int], space: str) -> Tensor:
    return reference.layers(columns, occupied, ComputationSpace(space))[-1].T


def _backward(
    columns: Tensor, grad: Tensor, occupied: list[int], space: str, kernel: str = "auto"
) -> Tensor:
    columns, grad = columns.resolve_conj(), grad.resolve_conj()
    outcomes = FockSpace(len(columns), len(occupied), ComputationSpace(space))
    if kernel_for(outcomes, columns.real, kernel) == "compiled":
        return compiled.amplitudes_backward(columns, grad, tuple(occupied), outcomes.unbunched)
    return reference.backward(columns, grad.T, occupied, outcomes.space)


def _second_derivative(
    columns: Tensor, above: Tensor, grad: Tensor, occupied: list[int], space: str
) -> tuple[Tensor, Tensor]:
    """Pull `grad` back through `_backward` by differentiating the plain recursion twice."""

    def gradient(columns: Tensor, above: Tensor) -> Tensor:
        pull = torch.func.vjp(lambda value: _in_torch(value, occupied, space), columns)[1]
        below: Tensor = pull(above)[0]
        return below

    pulled: tuple[Tensor, Tensor] = torch.func.vjp(gradient, columns, above)[1](grad)
    return pulled


class _Amplitudes(torch.autograd.Function):
    @staticmethod
    def forward(columns: Tensor, occupied: list[int], space: str, kernel: str) -> Tensor:
        return _forward(columns, occupied, space, kernel)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        columns, *ctx.settings = inputs
        ctx.save_for_backward(columns)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (columns,) = ctx.saved_tensors
        below: Tensor = _AmplitudesGradient.apply(columns, grad, *ctx.settings)  # type: ignore[no-untyped-call]
        return below, None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], columns: Tensor, *settings: Any
    ) -> tuple[Tensor, int]:
        rows = _with_batch(columns, in_dims[0], info.batch_size, 2)
        result: Tensor = _Amplitudes.apply(rows, *settings)  # type: ignore[no-untyped-call]
        return result.unflatten(0, (-1, info.batch_size)), 1


class _AmplitudesGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        columns: Tensor, grad: Tensor, occupied: list[int], space: str, kernel: str
    ) -> Tensor:
        return _backward(columns, grad, occupied, space, kernel)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        columns, grad, *ctx.settings = inputs
        ctx.save_for_backward(columns, grad)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        columns, above = ctx.saved_tensors
        occupied, space, _ = ctx.settings
        return *_second_derivative(columns, above, grad, occupied, space), None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], columns: Tensor, grad: Tensor, *settings: Any
    ) -> tuple[Tensor, int]:
        rows = (
            _with_batch(columns, in_dims[0], info.batch_size, 2),
            _with_batch(grad, in_dims[1], info.batch_size, 0),
        )
        result: Tensor = _AmplitudesGradient.apply(*rows, *settings)  # type: ignore[no-untyped-call]
        return result.unflatten(-1, (-1, info.batch_size)), 3


def _with_batch(tensor: Tensor, mapped: int | None, size: int, batch: int) -> Tensor:
    """Merge the dimension that `torch.func.vmap` maps over into dimension `batch`."""
    if mapped is None:
        moved = tensor.unsqueeze(batch + 1).expand(
            *tensor.shape[: batch + 1], size, *tensor.shape[batch + 1 :]
        )
    else:
        moved = tensor.movedim(mapped, -1).movedim(-1, batch + 1)
    return moved.flatten(batch, batch + 1)


_library = torch.library.Library("hybridlit", "FRAGMENT")
_library.define(
    'fock_amplitudes(Tensor columns, int[] occupied, str space, str kernel="auto") -> Tensor'
)
_library.define(
    "fock_amplitudes_backward(Tensor columns, Tensor grad, int[] occupied, str space,"
    ' str kernel="auto") -> Tensor'
)
for _device in ("CPU", "CUDA", "MPS", "XPU"):
    _library.impl("fock_amplitudes", unrecorded()(_forward), _device)
    _library.impl("fock_amplitudes_backward", _backward, _device)


def _shape_of_forward(
    columns: Tensor, occupied: list[int], space: str, kernel: str = "auto"
) -> Tensor:
    size = FockSpace(int(columns.shape[0]), len(occupied), ComputationSpace(space)).size
    return columns.new_empty(columns.shape[2], size)


def _traced_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (columns,) = ctx.saved_tensors
    operator = torch.ops.hybridlit.fock_amplitudes_backward
    return operator(columns, grad, *ctx.settings), None, None, None


torch.library.register_fake("hybridlit::fock_amplitudes", _shape_of_forward)
torch.library.register_fake(
    "hybridlit::fock_amplitudes_backward", lambda columns, *others: columns.new_empty(columns.shape)
)
torch.library.register_autograd(
    "hybridlit::fock_amplitudes", _traced_gradient, setup_context=_Amplitudes.setup_context
)
