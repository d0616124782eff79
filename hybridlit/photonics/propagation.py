"""A lowered circuit -> columns of its unitary -> probabilities, in torch operations.

Only the columns at the occupied input modes are propagated, one for each photon and sample, never
the whole matrix. All of it is differentiable, on any device and in any order of derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hybridlit.photonics.amplitudes import amplitudes_from_columns, squared
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.finite import can_look_at
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.interferometer import unitaries
from hybridlit.photonics.kernels.compiled import PHASE_BOUND
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.tables import of_modes

__all__ = [
    "LargePhasesError",
    "circuit_columns",
    "meshes_and_shifts",
    "probabilities_in_torch",
    "unusable",
    "weights_in_torch",
]


def circuit_columns(circuit: Lowered) -> Tensor:
    """Return columns of each circuit's unitary for each sample.

    Args:
        circuit: With the input modes whose columns are wanted.

    Returns:
        Shape (modes, inputs, ..., batch), complex.

    Raises:
        LargePhasesError: On the CPU, if a data phase is not below 25 radians.
        ValueError: On the CPU, if a phase is not finite.
    """
    meshes, shifts = meshes_and_shifts(circuit)
    first, *others = meshes.unbind(-3)
    columns = of_modes(first, circuit.inputs)[..., None]
    for mesh, shift in zip(others, shifts.unbind(-3), strict=True):
        shifted = columns * shift[..., :, None, :]
        columns = (mesh @ shifted.flatten(-2)).view_as(shifted)
    return columns.movedim((-3, -2), (0, 1))


def meshes_and_shifts(circuit: Lowered) -> tuple[Tensor, Tensor]:
    """Return the interferometers as matrices, and the factors of the data phases.

    Args:
        circuit: Any.

    Returns:
        Shapes (..., columns + 1, modes, modes) and (..., columns, modes, batch), complex.

    Raises:
        LargePhasesError: As `circuit_columns`.
        ValueError: As `circuit_columns`.
    """
    interferometers, data_phases, _ = circuit
    if can_look_at(data_phases) and not bool((data_phases.detach().abs() < PHASE_BOUND).all()):
        raise unusable(data_phases)
    if can_look_at(interferometers) and not bool(torch.isfinite(interferometers).all()):
        raise unusable(interferometers)
    matrices = interferometers.is_complex()
    meshes = interferometers if matrices else unitaries(interferometers)
    return meshes, torch.exp(1j * data_phases)


def probabilities_in_torch(circuit: Lowered, outcomes: Outcomes) -> tuple[Tensor, Tensor | None]:
    """Return what `simulation.probabilities` does, by torch operations alone."""
    return outcomes.conditional(weights_in_torch(circuit, outcomes.space))


def weights_in_torch(circuit: Lowered, space: FockSpace) -> Tensor:
    """Return the squares of amplitudes of a space's states, not renormalised, (..., batch, D)."""
    columns = circuit_columns(circuit)
    result = amplitudes_from_columns(columns.flatten(2), circuit.inputs, space.space)
    weights: Tensor = squared(result).unflatten(0, columns.shape[2:])
    return weights


class LargePhasesError(ValueError):
    """A data phase has lost digits to whole turns, which whoever made it can still take off."""


def unusable(phases: Tensor) -> ValueError:
    """Return the error for phases of data or interferometers that a kernel has refused.

    A `LargePhasesError` if all are finite and one is too large for a data phase.
    """
    phases = phases.detach()  # a trial must leave nothing in autograd's graph
    if (
        not phases.is_complex()
        and bool(torch.isfinite(phases).all())
        and bool((phases.abs() >= PHASE_BOUND).any())
    ):
        return LargePhasesError(f"data phases must be below {PHASE_BOUND:g} radians")
    return ValueError(
        "x and the phases must be finite, and the phases of interferometers below 2**50, got NaN, "
        "infinity or more; clean the data or look for a diverging layer before this one"
    )
