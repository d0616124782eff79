r"""The amplitude recursion in torch operations, for any device and any order of derivative.

An n-photon state is built photon by photon (SLOS; Heurtel et al., Quantum 7, 931 (2023)). Photon k
enters through one column u_k of the unitary, and

.. math:: A_k[t + e_j] \mathrel{+}= \sqrt{(t_j + 1) / c_k}\; u_{jk}\, A_{k-1}[t]

where c_k counts the photons so far in k's input mode. With these square roots each A_k is a
normalised state, so that no number of photons overflows. Rounding errors can grow by up to
:math:`\sqrt{n! / \prod s!}`; in the order of
:func:`~hybridlit.photonics.amplitudes.occupied_modes` they do not. All tensors keep the batch last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.photonics.fock import ComputationSpace, FockSpace, raising_table
from hybridlit.photonics.tables import on_device

__all__ = ["backward", "layers"]

_CHUNK = 2**24  # complex numbers gathered at a time: bounds the transient at 128 MiB in complex64


def layers(columns: Tensor, occupied: Sequence[int], space: ComputationSpace) -> list[Tensor]:
    """Return the states after 0, 1, ... n photons, as a plain differentiable torch expression.

    Args:
        columns: the occupied columns of each unitary, shape (modes, photons, batch), complex.
        occupied: the input mode of each photon, in the order of computation.
        space: which states are kept.

    Returns:
        n + 1 tensors of shape (D_k, batch).
    """
    modes, _, batch = columns.shape
    states = [columns.new_ones(1, batch)]
    for photon, _ in enumerate(occupied):
        size = FockSpace(modes, photon + 1, space).size
        target, weight = _transitions(modes, tuple(occupied[: photon + 1]), space, columns)
        state = columns.new_zeros(size, batch)
        for part in _chunks(modes, states[-1]):
            terms = columns[part, photon, None] * states[-1] * weight[part]
            state = state.index_add(0, target[part].flatten(), terms.flatten(0, 1))
        states.append(state)
    return states


def backward(
    columns: Tensor, grad: Tensor, occupied: Sequence[int], space: ComputationSpace
) -> Tensor:
    """Return the gradient of the columns: the recursion read downwards.

    Args:
        columns: as for :func:`layers`.
        grad: gradient of the last state, shape (D, batch).
        occupied: the input mode of each photon, in the order of computation.
        space: which states are kept.

    Returns:
        Shape (modes, photons, batch).
    """
    modes = columns.shape[0]
    states = layers(columns, occupied, space)
    result = columns.new_empty(columns.shape)
    # Conjugates are computed, not marked: a compiled graph runs operators where marks do not count.
    for photon in reversed(range(len(occupied))):
        below = states[photon]
        target, weight = _transitions(modes, tuple(occupied[: photon + 1]), space, columns)
        grad_below = torch.zeros_like(below)
        for part in _chunks(modes, below):
            above = grad[target[part]] * weight[part]
            result[part, photon] = (above * below.conj_physical()).sum(1)
            grad_below += (above * columns[part, photon, None].conj_physical()).sum(0)
        grad = grad_below
    return result


def _chunks(modes: int, state: Tensor) -> list[slice]:
    step = max(1, _CHUNK // max(1, state.numel()))
    return [slice(first, first + step) for first in range(0, modes, step)]


def _transitions(
    modes: int, occupied: tuple[int, ...], space: ComputationSpace, like: Tensor
) -> tuple[Tensor, ...]:
    """Target states (modes, D) and weights (modes, D, 1) of the step that adds the last photon."""
    before = len(occupied) - 1
    dtype = np.float64 if like.dtype == torch.complex128 else np.float32

    def make() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]:
        target = raising_table(modes, before, space)
        occupation = FockSpace(modes, before, space).states.T.astype(np.float64)
        weight = np.sqrt((occupation + 1) / occupied.count(occupied[-1]))
        weight[target < 0] = 0.0  # a full mode in the unbunched space: no such transition
        return np.maximum(target, 0), weight[..., None].astype(dtype)

    return on_device(("transitions", modes, occupied, space, dtype), make, like.device)
