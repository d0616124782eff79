"""A lowered circuit -> probabilities: the one seam behind which kernels are.

On the CPU the compiled kernel does all of it as one node with a hand-written gradient; on other
devices, for second derivatives and for those of forward mode, torch operations do the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.autograd import Simulation, TransformableSimulation
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.kernels.choice import forward_mode, kernel_for, transforming
from hybridlit.photonics.outcomes import Outcomes, RareOutcomesError
from hybridlit.photonics.propagation import probabilities_in_torch
from hybridlit.photonics.sizes import require_memory
from hybridlit.photonics.tracing import recording

__all__ = ["probabilities"]

_LARGE = 2**22
"""Probabilities beyond which it is worth asking whether memory suffices."""


def probabilities(
    circuit: Lowered, outcomes: Outcomes, recompute: bool | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return the probabilities of outcomes and the probability that they have together.

    Args:
        circuit: With an input mode for each photon, in the order of computation.
        outcomes: Those wanted; where others are dropped, probabilities sum to 1 all the same.
        recompute: Simulate again for the gradient instead of keeping intermediate states; None
            keeps them while they are small.

    Returns:
        Probabilities, shape (..., batch, D), and their sum before renormalisation, shape
        (..., batch): the post-selection's success probability; None where nothing is dropped.

    Raises:
        MemoryError: On the CPU, if the simulation cannot fit into memory.
        LargePhasesError: On the CPU, if a data phase is not below 25 radians.
        ValueError: On the CPU, if a phase is not finite, or if the unbunched outcomes of some
            sample are too rare even for float64, in which a batch with rare ones is computed. On
            other devices such a sample becomes NaN.
    """
    phases, data_phases, inputs = circuit
    space = outcomes.space
    if recording():
        if kernel_for(space, phases) == "torch":
            return probabilities_in_torch(circuit, outcomes)
        traced: tuple[Tensor, Tensor] = torch.ops.hybridlit.probabilities(
            phases, data_phases, list(inputs), space.space.value
        )
        return traced[0], (traced[1] if outcomes.selected else None)
    *stack, columns, _, batch = data_phases.shape
    circuits = math.prod(stack)
    if circuits * batch * outcomes.size > _LARGE:
        require_memory(
            space, circuits * batch, phases.dtype, phases.device.type,
            recompute=recompute, columns=columns, circuits=circuits,
        )  # fmt: skip
    try:
        if forward_mode() or kernel_for(space, phases) == "torch":
            return probabilities_in_torch(circuit, outcomes)
        if transforming():
            both: tuple[Tensor, Tensor] = TransformableSimulation.apply(  # type: ignore[no-untyped-call]
                phases, data_phases, inputs, outcomes
            )
            return both[0], (both[1] if outcomes.selected else None)
        result: tuple[Tensor, Tensor | None] = Simulation.apply(  # type: ignore[no-untyped-call]
            phases, data_phases, inputs, outcomes, recompute
        )
        return result
    except RareOutcomesError:
        if phases.dtype == torch.float64:
            raise
    # Once in a while float64 costs less than an outcome that float32 cannot tell from nothing.
    exact, kept = probabilities(circuit.double(), outcomes, recompute)
    return exact.to(phases.dtype), (None if kept is None else kept.to(phases.dtype))
