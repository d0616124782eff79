r"""Photon-number expectations in polynomial time, without any amplitude.

For a Fock input s through a unitary U they are sums over pairs of input modes (Walschaers et al.,
New J. Phys. 18, 032001 (2016)), so that hundreds of modes and photons cost what a few matrix
products cost:

.. math:: N_i = \langle n_i\rangle = \sum_k s_k |U_{ik}|^2
.. math:: \langle a_i^\dagger a_j^\dagger a_j a_i\rangle
          = N_i N_j + |G_{ij}|^2 - \sum_k s_k (s_k + 1) |U_{ik}|^2 |U_{jk}|^2,
          \quad G_{ij} = \sum_k s_k U_{ik}^* U_{jk}

The second is :math:`\langle n_i n_j\rangle` for two modes and :math:`\langle n_i (n_i - 1)\rangle`
for one.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mode_expectations", "pair_correlations"]


def mode_expectations(columns: Tensor, photons: Tensor) -> Tensor:
    """Return the mean photon number of each output mode.

    Args:
        columns: the columns of each unitary at the occupied input modes, shape
            (modes, inputs, batch), complex.
        photons: photons in each of these input modes, shape (inputs,), real.

    Returns:
        Shape (batch, modes); each row sums to the number of photons.
    """
    return torch.einsum("jkb,k->bj", columns.real.square() + columns.imag.square(), photons)


def pair_correlations(columns: Tensor, photons: Tensor) -> Tensor:
    """Return the normal-ordered correlations of all pairs of output modes.

    Args:
        columns: as for :func:`mode_expectations`.
        photons: as for :func:`mode_expectations`.

    Returns:
        Entries (i, j) with i <= j, row by row, shape (batch, modes (modes + 1) / 2).
    """
    rows = columns.permute(2, 0, 1)
    weights = rows.real.square() + rows.imag.square()
    mean = weights @ photons
    exchange = (rows.conj() * photons) @ rows.mT
    same_input = (weights * (photons * (photons + 1))) @ weights.mT
    pairs = mean[:, :, None] * mean[:, None] + exchange.real.square() + exchange.imag.square()
    first, second = torch.triu_indices(*pairs.shape[1:], device=pairs.device)
    return (pairs - same_input)[:, first, second]
