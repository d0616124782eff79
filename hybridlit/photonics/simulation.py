"""Interferometer phases and data phases -> probabilities: the one seam behind which kernels are.

Several circuits of one shape are one simulation, in leading dimensions of all tensors. On the CPU
the compiled kernel does all of it as one node with a hand-written gradient; on other devices, for
second derivatives and for those of forward mode, torch operations do the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hybridlit.photonics.autograd import Simulation, TransformableSimulation
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.kernels.choice import forward_mode, kernel_for, transforming
from hybridlit.photonics.propagation import RareOutcomesError, probabilities_in_torch
from hybridlit.photonics.sizes import require_memory
from hybridlit.photonics.tracing import recording

__all__ = ["probabilities"]

_LARGE = 2**22
"""Probabilities beyond which it is worth asking whether memory suffices."""


def probabilities(
    phases: Tensor,
    data_phases: Tensor,
    occupied: Sequence[int],
    space: FockSpace,
    recompute: bool | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the probabilities of all outcomes and the probability that they have together.

    Args:
        phases: of the interferometers' cells in radians, shape (..., columns + 1, cells, 2), real.
        data_phases: in radians, shape (..., columns, modes, batch), real, of the same leading
            dimensions.
        occupied: the input mode of each photon, in the order of computation.
        space: the outcomes; unbunched ones are renormalised to sum to 1.
        recompute: simulate again for the gradient instead of keeping intermediate states; None
            keeps them while they are small.

    Returns:
        Probabilities, shape (..., batch, D), and their sum before renormalisation, shape
        (..., batch): the post-selection's success probability if unbunched; None in the Fock space,
        where it is 1.

    Raises:
        MemoryError: on the CPU, if the simulation cannot fit into memory.
        LargePhasesError: on the CPU, if a data phase is not below 25 radians.
        ValueError: on the CPU, if a phase is not finite, or if the unbunched outcomes of some
            sample are too rare even for float64, in which a batch with rare ones is computed. On
            other devices such a sample becomes NaN.
    """
    batch = data_phases.shape[-1] * data_phases.shape[:-3].numel()
    if not recording() and batch * space.size > _LARGE:
        require_memory(
            space,
            batch,
            phases.dtype,
            phases.device.type,
            recompute=recompute,
            columns=data_phases.shape[-3],
            circuits=data_phases.shape[:-3].numel(),
        )
    if recording():
        if kernel_for(space, phases) == "torch":
            return probabilities_in_torch(phases, data_phases, occupied, space)
        traced: tuple[Tensor, Tensor] = torch.ops.hybridlit.probabilities(
            phases, data_phases, list(occupied), space.space.value
        )
        return traced[0], (traced[1] if space.unbunched else None)
    try:
        return _probabilities(phases, data_phases, occupied, space, recompute)
    except RareOutcomesError:
        if phases.dtype == torch.float64:
            raise
    # Once in a while float64 costs less than an outcome that float32 cannot tell from nothing.
    result, kept = probabilities(phases.double(), data_phases.double(), occupied, space, recompute)
    return result.to(phases.dtype), (None if kept is None else kept.to(phases.dtype))


def _probabilities(
    phases: Tensor,
    data_phases: Tensor,
    occupied: Sequence[int],
    space: FockSpace,
    recompute: bool | None,
) -> tuple[Tensor, Tensor | None]:
    if forward_mode() or kernel_for(space, phases) == "torch":
        return probabilities_in_torch(phases, data_phases, occupied, space)
    if transforming():
        both: tuple[Tensor, Tensor] = TransformableSimulation.apply(  # type: ignore[no-untyped-call]
            phases, data_phases, tuple(occupied), space
        )
        return both[0], (both[1] if space.unbunched else None)
    result: tuple[Tensor, Tensor | None] = Simulation.apply(  # type: ignore[no-untyped-call]
        phases, data_phases.contiguous(), tuple(occupied), space, recompute
    )
    return result
