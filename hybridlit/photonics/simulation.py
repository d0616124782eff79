"""A lowered circuit -> probabilities: the one seam behind which kernels are.

On the CPU the compiled kernel does all of it as one node with a hand-written gradient, which
`curvature` differentiates further; on other devices and in forward mode torch operations do the
same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.autograd import Simulation, TransformableSimulation
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.kernels.choice import forward_mode, kernel_for, transforming
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.propagation import probabilities_in_torch
from hybridlit.photonics.shapes import shaped_outcomes
from hybridlit.photonics.sizes import require_memory, selection_bytes
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
        RareOutcomesError: On the CPU, if the outcomes that are kept of some sample are too rare
            for its precision. On other devices such a sample becomes NaN.
        ValueError: On the CPU, if a phase is not finite.
    """
    if outcomes.rule is not None:
        return _post_selected(circuit, outcomes, recompute)
    interferometers, data_phases, inputs = circuit
    space = outcomes.space
    if recording():
        if kernel_for(space, data_phases) == "torch":
            return probabilities_in_torch(circuit, outcomes)
        traced: tuple[Tensor, Tensor] = torch.ops.hybridlit.probabilities(
            interferometers, data_phases, list(inputs), space.space.value
        )
        return traced[0], (traced[1] if outcomes.selected else None)
    *stack, columns, _, batch = data_phases.shape
    if data_phases.is_meta:
        return shaped_outcomes((*stack, batch), outcomes, data_phases, interferometers)
    circuits = math.prod(stack)
    if circuits * batch * outcomes.size > _LARGE:
        require_memory(
            space, circuits * batch, data_phases.dtype, data_phases.device.type,
            recompute=recompute, columns=columns, circuits=circuits,
        )  # fmt: skip
    if forward_mode() or kernel_for(space, data_phases) == "torch":
        return probabilities_in_torch(circuit, outcomes)
    if transforming():
        both: tuple[Tensor, Tensor] = TransformableSimulation.apply(  # type: ignore[no-untyped-call]
            interferometers, data_phases, inputs, outcomes
        )
        return both[0], (both[1] if outcomes.selected else None)
    result: tuple[Tensor, Tensor | None] = Simulation.apply(  # type: ignore[no-untyped-call]
        interferometers, data_phases, inputs, outcomes, recompute
    )
    return result


def _post_selected(
    circuit: Lowered, outcomes: Outcomes, recompute: bool | None
) -> tuple[Tensor, Tensor | None]:
    """Those that a rule keeps of all that the kernel gives."""
    *stack, _, _, batch = circuit.data_phases.shape
    rows = math.prod(stack) * batch
    if not recording() and rows * outcomes.size > _LARGE:
        phases = circuit.data_phases
        more = selection_bytes(outcomes.size, rows, phases.dtype)
        require_memory(outcomes.space, rows, phases.dtype, phases.device.type, more)
    return outcomes.conditional(*probabilities(circuit, outcomes.whole, recompute))
