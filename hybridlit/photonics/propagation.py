r"""Interferometer phases and data phases -> columns of a circuit's unitary -> probabilities.

A circuit is :math:`U_L \Phi_L(x) U_{L-1} \dots \Phi_1(x) U_0`. Only the columns at the occupied
input modes are propagated, one for each photon and sample, never the whole matrix. All of it is in
differentiable torch operations, for any device and any order of derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hybridlit.photonics.amplitudes import amplitudes_from_columns
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.interferometer import unitaries
from hybridlit.photonics.kernels.choice import transformed
from hybridlit.photonics.tracing import recording

__all__ = ["check_kept", "circuit_columns", "not_finite", "probabilities_in_torch"]


def circuit_columns(phases: Tensor, data_phases: Tensor, inputs: Sequence[int]) -> Tensor:
    """Return chosen columns of each circuit's unitary for each sample.

    Args:
        phases: of the interferometers' cells in radians, shape (..., columns + 1, cells, 2), real;
            leading dimensions are circuits of one shape.
        data_phases: in radians, shape (..., columns, modes, batch), real.
        inputs: the input modes whose columns are wanted.

    Returns:
        Shape (modes, inputs, ..., batch), complex.

    Raises:
        ValueError: on the CPU, if a phase is not finite.
    """
    for given in (data_phases, phases):
        if _can_look_at(given) and not bool(torch.isfinite(given).all()):
            raise not_finite()
    meshes = unitaries(phases)
    shifts = torch.polar(torch.ones_like(data_phases), data_phases)
    columns = meshes[..., 0, :, :][..., list(inputs), None]
    for layer in range(shifts.shape[-3]):
        shifted = columns * shifts[..., layer, :, None, :]
        columns = (meshes[..., layer + 1, :, :] @ shifted.flatten(-2)).view_as(shifted)
    return columns.movedim((-3, -2), (0, 1))


def probabilities_in_torch(
    phases: Tensor, data_phases: Tensor, occupied: Sequence[int], space: FockSpace
) -> tuple[Tensor, Tensor | None]:
    """Return the probabilities of all outcomes, and what they have together.

    Args:
        phases: as for :func:`~hybridlit.photonics.simulation.probabilities`.
        data_phases: as for :func:`~hybridlit.photonics.simulation.probabilities`.
        occupied: as for :func:`~hybridlit.photonics.simulation.probabilities`.
        space: as for :func:`~hybridlit.photonics.simulation.probabilities`.

    Returns:
        As :func:`~hybridlit.photonics.simulation.probabilities`.

    Raises:
        ValueError: as :func:`~hybridlit.photonics.simulation.probabilities`.
    """
    columns = circuit_columns(phases, data_phases, occupied)
    result = amplitudes_from_columns(columns.flatten(2), occupied, space.space)
    weights = (result.real.square() + result.imag.square()).unflatten(0, columns.shape[2:])
    if not space.unbunched:
        return weights, None
    kept = weights.sum(-1)
    check_kept(kept)
    return weights / kept[..., None], kept


def not_finite() -> ValueError:
    """Return the error for phases that are not finite."""
    return ValueError(
        "x and the phases must be finite and below 2**50, got NaN, infinity or more; clean the "
        "data or look for a diverging layer before this one"
    )


def check_kept(kept: Tensor) -> None:
    """Raise where post-selection leaves nothing, if looking costs no synchronisation.

    Args:
        kept: probability kept of each sample, any shape.

    Raises:
        ValueError: if none of it is more than rounding errors.
    """
    # An amplitude is exact to a few eps: below the square of that, all of it may be rounding.
    if _can_look_at(kept) and bool((kept <= 64 * torch.finfo(kept.dtype).eps ** 2).any()):
        raise ValueError(
            "no unbunched outcome has any probability for some sample, which leaves nothing to "
            "renormalise; use computation_space='fock' or another input_state"
        )


def _can_look_at(tensor: Tensor) -> bool:
    """Whether reading a value costs no synchronisation and is possible at all."""
    return tensor.is_cpu and not recording() and not transformed(tensor)
