"""A usual step of a small layer as one node of autograd: encoding, circuit and linear readout.

The arithmetic of such a step is a few percent of it; what it costs is the way through Python and
torch. This node is the short one, in machine code. Where it is not taken, or a derivative of its
derivative is wanted, `simulation` does the same, in several nodes, to rounding errors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.internals.torch import (
    applied,
    contents,
    hooked,
    is_vectorized,
    plainly_running,
)
from hybridlit.photonics.circuit.data_phases import hides_terms, tuned
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import chosen_kernel, compiled_refuses, refuse_batches
from hybridlit.photonics.outcomes import Outcomes, RareOutcomesError
from hybridlit.photonics.propagation import LargePhasesError, unusable
from hybridlit.photonics.readouts.linear import LinearReadout, relative
from hybridlit.photonics.sampled import SampledCircuit
from hybridlit.photonics.simulation import probabilities

__all__ = ["OneNodeCircuit"]

_SMALL = 2**20
"""Multiplications in encoding and readout up to which torch's matrix products are not faster."""


class OneNodeCircuit(SampledCircuit):
    """Circuits that take the short way where they can."""

    outcomes: Outcomes
    readout: nn.Module
    recompute: bool | None
    _order: tuple[int, ...] | None
    _usual: bool
    """Whether it is one circuit of meshes behind data, of ideal photons in given modes."""

    def _in_one_node(self, rows: Tensor) -> Tensor | None:
        """Return outputs (batch, output_size) of a small usual step; None: take the general way.

        Args:
            rows: Features, shape (batch, features).
        """
        if not (
            plainly_running()
            and self._usual
            and self._settings is None  # phases are set one by one
            and not self.given
            and chosen_kernel() != "torch"
            and type(rows) is Tensor
            and rows.is_cpu
        ):
            return None
        _, buffers, modules = contents(self)
        encoding, bandwidth, dtype = buffers["encoding"], self.bandwidth, rows.dtype
        phases = self.angles()
        if dtype is not encoding.dtype or not _in_place(dtype, phases):
            return None
        readout, states = modules["readout"], self.outcomes.size
        weight: Tensor | None = None
        bias: Tensor | None = None
        outputs = 1
        if type(readout) is LinearReadout and not hooked(readout):
            own = contents(readout)[0]
            if _in_place(dtype, own["weight"], own["bias"]):
                weight, bias, outputs = own["weight"], own["bias"], readout.out_features
                if (*own["weight"].shape, *own["bias"].shape) != (outputs, states, outputs):
                    return None  # torch refuses these weights
        size = rows.shape[0] * (states * outputs + encoding.numel())
        if not 0 < size <= _SMALL or states > compiled.LARGE_STATES:
            return None
        inputs = self._order or self._occupied()
        step = _step(self.columns, self._modes, inputs, self.outcomes.selected, dtype)
        if step is None:
            return None
        factors = encoding
        if bandwidth is not None:
            factors = tuned(encoding, bandwidth, buffers["tuned_by"])
        rows = rows.resolve_neg().contiguous()
        given = rows, factors, phases, weight, bias
        how = step, inputs, self.outcomes, self.recompute
        try:
            found = self._with_turns(given, how, bandwidth)
        except RareOutcomesError:
            return None  # but float64 may find them
        if weight is not None:
            return found
        read: Tensor = readout(found)
        return read

    def _with_turns(
        self, given: tuple[Any, ...], how: tuple[Any, ...], bandwidth: Tensor | None
    ) -> Tensor:
        """Results of the node, with whole turns taken off where phases are large, as `_at` does."""
        rows, factors, *_ = given
        step, *_ = how
        node: Callable[..., Tensor] = _apply if torch.is_grad_enabled() else _without_gradient
        turns = self._turns
        if not turns and self._widest and bandwidth is not None:
            turns = hides_terms(rows, bandwidth, self._widest)
        if not turns:
            try:
                return node(*given, None, *how)
            except LargePhasesError:
                self._turns = True
        with torch.no_grad():
            left = self._turned_back(step.encoded(rows, factors), factors, rows)
        return node(*given, left, *how)

    @abstractmethod
    def _occupied(self) -> tuple[int, ...]:
        """The input mode of each photon, in the order of computation."""


def _in_place(dtype: torch.dtype, *tensors: Tensor) -> bool:
    """Whether the numbers of tensors lie in the memory of the CPU as they are."""
    for tensor in tensors:
        if (
            tensor.dtype is not dtype
            or not tensor.is_cpu
            or not tensor.is_contiguous()
            or tensor.is_neg()
        ):
            return False
    return True


@lru_cache(maxsize=64)
def _step(
    columns: int, modes: int, inputs: tuple[int, ...], unbunched: bool, dtype: torch.dtype
) -> compiled.Step | None:
    """The kernels of a step; None if they cannot serve."""
    chosen = ComputationSpace.UNBUNCHED if unbunched else ComputationSpace.FOCK
    if compiled_refuses(FockSpace(modes, len(inputs), chosen), "cpu", dtype):
        return None
    return compiled.step_of(columns, modes, inputs, unbunched, dtype.itemsize)


class _Node(torch.autograd.Function):
    """The node."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        factors: Tensor,
        phases: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        left: Tensor | None,
        step: compiled.Step,
        inputs: tuple[int, ...],
        outcomes: Outcomes,
        recompute: bool | None,
    ) -> Tensor:
        if ctx is None:  # without a gradient nothing is kept for it
            recompute = True
        found = step.forward(rows, factors, phases, weight, bias, left, recompute)
        if found is None:
            raise unusable(step.encoded(rows, factors) if left is None else left)
        result, kept, memory = found
        if kept is not None:
            outcomes.checked(kept)
        if ctx is not None:
            ctx.step, ctx.inputs, ctx.outcomes = step, inputs, outcomes
            ctx.save_for_backward(rows, factors, phases, weight, bias, memory)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *given, memory = ctx.saved_tensors
        if is_vectorized(grad):
            refuse_batches(grad)
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            return *_differentiably(ctx, given, memory, grad), *_NONE
        found = ctx.step.backward(grad.resolve_neg(), *given, memory, ctx.needs_input_grad)
        return *found, *_NONE


_apply = applied(_Node)
_NONE = (None,) * 5
"""The gradients of what is no tensor, or none to differentiate by."""


def _without_gradient(*given: Any) -> Tensor:
    return _Node.forward(None, *given)


def _differentiably(
    ctx: Any, given: list[Any], memory: Tensor, grad: Tensor
) -> list[Tensor | None]:
    rows, factors, phases, weight, bias = given
    left = ctx.step.data_phases(rows, weight, memory)
    data_phases = (factors @ rows.mT).view_as(left)
    circuit = Lowered(phases, left + (data_phases - data_phases.detach()), ctx.inputs)
    outputs = probabilities(circuit, ctx.outcomes)[0]
    if weight is not None:
        outputs = relative(outputs, weight, bias)
    wanted = [place for place in range(len(given)) if ctx.needs_input_grad[place]]
    found = torch.autograd.grad(
        outputs, [given[place] for place in wanted], grad, create_graph=True, allow_unused=True
    )
    result: list[Tensor | None] = [None] * len(given)
    for place, value in zip(wanted, found, strict=True):
        result[place] = value
    return result
