"""A usual step of a small layer as one node of autograd: encoding, circuit and linear readout.

The arithmetic of such a step is a few percent of it; what it costs is the way through Python and
torch. This node is the short one, in machine code. Where it is not taken, or a derivative of its
derivative is wanted, `simulation` does the same, operation by operation, to rounding errors.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hybridlit.internals.torch import applied, dispatching, hooked, registered
from hybridlit.photonics.circuit.data_phases import tuned
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import (
    forward_mode,
    kernel_for,
    refuse_batches,
    transforming,
)
from hybridlit.photonics.outcomes import Outcomes, RareOutcomesError
from hybridlit.photonics.readouts.linear import LinearReadout, relative
from hybridlit.photonics.sampled import SampledCircuit
from hybridlit.photonics.simulation import probabilities
from hybridlit.photonics.tracing import recording

__all__ = ["OneNodeCircuit"]

_SMALL = 2**20
"""Multiplications in encoding and readout up to which torch's matrix products are not faster."""


class OneNodeCircuit(SampledCircuit):
    """Circuits that take the short way where they can."""

    outcomes: Outcomes
    readout: nn.Module
    recompute: bool | None
    _usual: bool
    """Whether it is one circuit of meshes behind data, of ideal photons in given modes."""

    def _in_one_node(self, rows: Tensor) -> Tensor | None:
        """Return outputs (batch, output_size) of a small usual step; None: take the general way.

        Args:
            rows: Features, shape (batch, features).
        """
        parameters, buffers = registered(self)
        phases, encoding = parameters.get("phases"), buffers["encoding"]
        if phases is None:  # of a reservoir
            phases = buffers["phases"]
        if not (
            self._usual
            and self._settings is None  # phases are set one by one
            and not self.given
            and not self._turns
            and not recording()
            and not (transforming() or forward_mode() or dispatching())
            and type(rows) is Tensor
            and rows.dtype is encoding.dtype
            and _in_place(phases, encoding.dtype)
            and kernel_for(self.fock_space, phases) == "compiled"
        ):
            return None
        bandwidth = parameters.get("bandwidth")
        if bandwidth is not None and self._widest:  # large terms may cancel
            return None
        readout, weight, bias = self.readout, None, None
        if type(readout) is LinearReadout and not hooked(readout):
            found = registered(readout)[0]
            if _in_place(found["weight"], rows.dtype) and _in_place(found["bias"], rows.dtype):
                weight, bias = found["weight"], found["bias"]
        batch, states = rows.shape[0], self.outcomes.size
        each = states * (1 if weight is None else self.output_size) + encoding.numel()
        if not 0 < batch * each <= _SMALL:
            return None
        inputs = self._occupied()
        step = compiled.step_for(
            self.columns, self._modes, inputs, self.fock_space.unbunched, rows.element_size()
        )
        given = (
            rows.resolve_neg().contiguous(), tuned(encoding, bandwidth, buffers["tuned_by"]),
            phases, weight, bias,
        )  # fmt: skip
        how = _How(step, inputs, self.outcomes)
        try:
            if torch.is_grad_enabled():
                outputs: Tensor = _apply(*given, how, self.recompute)
            else:
                outputs = _simulated(*given, how, True).result
        except (_RefusedError, RareOutcomesError):
            return None  # of large phases turns are taken off, rare outcomes are found in float64
        return outputs if weight is not None else readout(outputs)

    @abstractmethod
    def _occupied(self) -> tuple[int, ...]:
        """The input mode of each photon, in the order of computation."""


def _in_place(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether the numbers of a tensor lie in the memory of the CPU as they are."""
    return (
        tensor.dtype is dtype and tensor.is_cpu and tensor.is_contiguous() and not tensor.is_neg()
    )


class _How(NamedTuple):
    """What a step is told beside tensors."""

    step: compiled.Step
    inputs: tuple[int, ...]
    outcomes: Outcomes


class _RefusedError(Exception):
    """The kernel refuses phases, which are not finite or too large."""


def _simulated(
    rows: Tensor,
    factors: Tensor,
    phases: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    how: _How,
    recompute: bool | None,
) -> compiled.Taken:
    found = how.step.forward(rows, factors, phases, weight, bias, recompute)
    if found is None:
        raise _RefusedError
    if found.kept is not None:
        how.outcomes.checked(found.kept)
    return found


class _Node(torch.autograd.Function):
    """The node."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        found = _simulated(*given)
        *tensors, ctx.how, _ = given
        ctx.save_for_backward(*tensors, found.memory)
        return found.result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, factors, phases, weight, bias, memory = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            given = rows, factors, phases, weight, bias
            return *_differentiably(given, ctx.how, grad, wanted), None, None
        refuse_batches(grad)
        found = ctx.how.step.backward(
            grad.resolve_neg(), rows, factors, phases, weight, memory, wanted
        )
        return *found, None, None


_apply = applied(_Node)


def _differentiably(
    given: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None],
    how: _How,
    grad: Tensor,
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    rows, factors, phases, weight, bias = given
    data_phases = (factors @ rows.mT).view(-1, how.outcomes.modes, rows.shape[0])
    outputs = probabilities(Lowered(phases, data_phases, how.inputs), how.outcomes)[0]
    if weight is not None and bias is not None:
        outputs = relative(outputs, weight, bias)
    places = [place for place, tensor in enumerate(given) if tensor is not None and wanted[place]]
    found = torch.autograd.grad(
        outputs, [given[place] for place in places], grad, create_graph=True, allow_unused=True
    )
    result: list[Tensor | None] = [None] * len(given)
    for place, value in zip(places, found, strict=True):
        result[place] = value
    return result
