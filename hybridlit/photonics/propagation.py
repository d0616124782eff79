r"""Interferometer phases and data phases -> columns of a circuit's unitary -> probabilities.

A circuit is :math:`U_L \Phi_L(x) U_{L-1} \dots \Phi_1(x) U_0`. Only the columns at the occupied
input modes are propagated, one for each photon and sample, never the whole matrix. All of it is in
differentiable torch operations, for any device and any order of derivative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from hybridlit.photonics.amplitudes import amplitudes_from_columns
from hybridlit.photonics.finite import can_look_at, rows_in_words
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.interferometer import unitaries
from hybridlit.photonics.kernels.compiled import PHASE_BOUND

__all__ = [
    "LargePhasesError",
    "RareOutcomesError",
    "check_kept",
    "circuit_columns",
    "least_kept",
    "probabilities_in_torch",
    "unusable",
]


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
        LargePhasesError: on the CPU, if a data phase is not below 25 radians.
        ValueError: on the CPU, if a phase is not finite.
    """
    if can_look_at(data_phases) and not bool((data_phases.detach().abs() < PHASE_BOUND).all()):
        raise unusable(data_phases)
    if can_look_at(phases) and not bool(torch.isfinite(phases).all()):
        raise unusable(phases)
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
    return weights / check_kept(kept, least_kept(space, kept.dtype))[..., None], kept


class LargePhasesError(ValueError):
    """A data phase has lost digits to whole turns, which whoever made it can still take off."""


def unusable(phases: Tensor) -> ValueError:
    """Return the error for phases that a kernel has refused.

    Args:
        phases: of the data, or of interferometers, in radians, any shape.

    Returns:
        A :class:`LargePhasesError` if all are finite and one is too large for a data phase.
    """
    phases = phases.detach()  # a trial must leave nothing in autograd's graph
    if bool(torch.isfinite(phases).all()) and bool((phases.abs() >= PHASE_BOUND).any()):
        return LargePhasesError(f"data phases must be below {PHASE_BOUND:g} radians")
    return ValueError(
        "x and the phases must be finite, and the phases of interferometers below 2**50, got NaN, "
        "infinity or more; clean the data or look for a diverging layer before this one"
    )


class RareOutcomesError(ValueError):
    """Post-selection keeps too little to be told from rounding errors."""


def least_kept(space: FockSpace, dtype: torch.dtype) -> float:
    """Return the success probability of post-selection down to which outcomes keep three digits.

    Amplitudes err by a few eps of what they are for typical interferometers, whose mean success
    probability is that of Haar-random ones; a million times eps squared below it, errors reach
    some thousandths.

    Args:
        space: the unbunched outcomes.
        dtype: real dtype of the computation.

    Returns:
        A probability.
    """
    return _mean_kept(space.modes, space.photons) * (1000 * torch.finfo(dtype).eps) ** 2


@lru_cache(maxsize=64)
def _mean_kept(modes: int, photons: int) -> float:
    return math.comb(modes, photons) / math.comb(modes + photons - 1, photons)


def check_kept(kept: Tensor, least: float) -> Tensor:
    """Raise where post-selection leaves too little to know, if looking costs no synchronisation.

    Args:
        kept: probability kept of each sample, shape (..., batch).
        least: what is needed.

    Returns:
        The same; where nothing could be looked at, with NaN for what is too little.

    Raises:
        RareOutcomesError: if a sample has no more than ``least``.
    """
    if not can_look_at(kept):
        return kept.masked_fill(kept <= least, math.nan)
    if not kept.numel() or float(kept.detach().amin()) > least:
        return kept
    rare = kept.detach() <= least
    if not bool(rare.any()):  # NaN is not rare
        return kept
    rows = rows_in_words(rare.reshape(-1, rare.shape[-1]).any(0))
    double = "" if kept.dtype == torch.float64 else "compute in float64 with .double(), "
    raise RareOutcomesError(
        f"the unbunched outcomes of {rows} of x (counted through its leading "
        f"dimensions) have a probability of at most {float(kept.detach()[rare].max()):.2g} "
        f"together, and {str(kept.dtype).removeprefix('torch.')} tells them from rounding errors "
        f"above {least:.2g} only: {double}leave these rows out, change their features or "
        "input_state, or use computation_space='fock'"
    )
