r"""The amplitude recursion in torch operations, for any device and any order of derivative.

An n-photon state is built photon by photon (SLOS; Heurtel et al., Quantum 7, 931 (2023)). Photon k
enters through one column u_k of the unitary, and

.. math:: A_k[t + e_j] \mathrel{+}= \sqrt{(t_j + 1) / c_k}\; u_{jk}\, A_{k-1}[t]

where c_k counts the photons so far in k's input mode. With these square roots each A_k is a
normalised state, so that no number of photons overflows. Rounding errors can grow by up to
:math:`\sqrt{n! / \prod s!}`; in the order of
`occupied_modes` they do not. All tensors keep the batch last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.fock import ComputationSpace, FockSpace, raising_table
from hybridlit.photonics.tables import on_device

__all__ = ["CHUNK", "backward", "layers", "transitions"]

CHUNK = 2**24  # complex numbers gathered at a time: bounds the transient at 128 MiB in complex64


def layers(columns: Tensor, occupied: Sequence[int], space: ComputationSpace) -> list[Tensor]:
    """Return the states after 1, 2, ... photons, each (D_k, batch), in differentiable operations.

    Without photons it is the vacuum alone.

    Args:
        columns: The occupied columns of each unitary, shape (modes, photons, batch), complex.
        occupied: The input mode of each photon, in the order of computation.
        space: Which states are kept.
    """
    modes, _, batch = columns.shape
    if not occupied:
        return [columns.new_ones(1, batch)]
    states, real = [columns[:, 0]], columns.dtype.to_real()
    for photon in range(1, len(occupied)):
        target, weight = transitions(modes, photon, space, real, columns.device)
        column = _shared(columns[:, photon], occupied, photon)
        state = columns.new_zeros(FockSpace(modes, photon + 1, space).size, batch)
        for part in _chunks(modes, states[-1]):
            terms = (column[part, None] * states[-1]).mul_(weight[part])
            state.index_add_(0, target[part].flatten(), terms.flatten(0, 1))
        states.append(state)
    return states


def backward(
    columns: Tensor, grad: Tensor, occupied: Sequence[int], space: ComputationSpace
) -> Tensor:
    """Return the gradient of the columns from that of the last state: the recursion read downwards.

    `grad` has shape (D, batch); other arguments as for `layers`. Not differentiable.
    """
    result = columns.new_empty(columns.shape)
    if not occupied:
        return result
    modes = columns.shape[0]
    states, real = layers(columns, occupied[:-1], space), columns.dtype.to_real()
    # The conjugate of everything, so that states and columns need none.
    above = torch.conj_physical(grad, out=columns.new_empty(grad.shape))
    for photon in reversed(range(1, len(occupied))):
        below, above = states.pop(), _shared(above, occupied, photon)
        target, weight = transitions(modes, photon, space, real, columns.device)
        pulled = []
        for part in _chunks(modes, below):
            lifted = above[target[part]].mul_(weight[part])
            torch.sum(lifted * below, 1, out=result[part, photon])
            pulled.append(lifted.mul_(columns[part, photon, None]).sum(0))
        above = sum(pulled[1:], start=pulled[0])
    result[:, 0] = above
    return result.conj_physical_()


def _shared(values: Tensor, occupied: Sequence[int], photon: int) -> Tensor:
    """Divide by the square root of the photons so far in a photon's input mode."""
    photons = list(occupied[: photon + 1]).count(occupied[photon])
    return values if photons == 1 else values / math.sqrt(photons)


def _chunks(modes: int, state: Tensor) -> list[slice]:
    step = max(1, CHUNK // max(1, state.numel()))
    return [slice(first, first + step) for first in range(0, modes, step)]


@constant_in_graphs
def transitions(
    modes: int, before: int, space: ComputationSpace, real: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """Target states (modes, D) of one more photon, and the square roots (modes, D, 1) of theirs.

    The latter are 0 where a mode is full.
    """
    dtype = np.float64 if real == torch.float64 else np.float32

    def make() -> Iterator[npt.NDArray[Any]]:
        target = raising_table(modes, before, space)
        weight = np.add(FockSpace(modes, before, space).states.T, 1, dtype=dtype)
        np.sqrt(weight, out=weight)
        weight[target < 0] = 0.0  # a full mode in the unbunched space: no such transition
        yield weight[..., None]
        del weight
        yield np.maximum(target, 0, out=target)

    weight, target = on_device(("transitions", modes, before, space, dtype), make, device)
    return target, weight
