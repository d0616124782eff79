r"""Photon-number expectations in polynomial time, without any amplitude.

For a Fock input s through a unitary U they are sums over pairs of input modes (Walschaers et al.,
New J. Phys. 18, 032001 (2016)), so that hundreds of modes and photons cost what a few matrix
products cost:

.. math:: N_i = \langle n_i\rangle = \sum_k s_k |U_{ik}|^2
.. math:: \langle a_i^\dagger a_j^\dagger a_j a_i\rangle
          = N_i N_j + |G_{ij}|^2 - \sum_k s_k (s_k + 1) |U_{ik}|^2 |U_{jk}|^2,
          \quad G_{ij} = \sum_k s_k U_{ik}^* U_{jk}

The second is :math:`\langle n_i n_j\rangle` for two modes and :math:`\langle n_i (n_i - 1)\rangle`
for one. Where outcomes are post-selected there is no such form, and both are sums over outcomes: an
unbunched :math:`\langle n_i\rangle` is the probability that the detector of mode i clicks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.superposition import Superposition

__all__ = [
    "MODE_EXPECTATIONS",
    "PAIR_CORRELATIONS",
    "distinguishable_pair_correlations",
    "mode_expectations",
    "pair_correlations",
]


def mode_expectations(columns: Tensor, photons: Tensor) -> Tensor:
    """Return the mean photon number of each output mode.

    Args:
        columns: The columns of each unitary at the occupied input modes, shape
            (modes, inputs, batch), complex.
        photons: Photons in each of these input modes, shape (inputs,), real.

    Returns:
        Shape (batch, modes); each row sums to the number of photons.
    """
    return torch.einsum("jkb,k->bj", columns.real.square() + columns.imag.square(), photons)


def pair_correlations(columns: Tensor, photons: Tensor) -> Tensor:
    """Return the normal-ordered correlations of all pairs of output modes.

    Args:
        columns: As for `mode_expectations`.
        photons: As for `mode_expectations`.

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


def distinguishable_pair_correlations(transfer: Tensor, photons: Tensor) -> Tensor:
    r"""Return the normal-ordered correlations of all pairs of output modes.

    Sums over pairs of different photons: :math:`N_i N_j - \sum_k s_k T_{ik} T_{jk}` with the mean
    photon numbers :math:`N_i = \sum_k s_k T_{ik}`. The mean numbers themselves are the same with
    and without interference between photons.

    Args:
        transfer: Probability that a photon of input k leaves at mode j, shape
            (modes, inputs, batch), real.
        photons: Photons in each of these input modes, shape (inputs,), real.

    Returns:
        Entries (i, j) with i <= j, row by row, shape (batch, modes (modes + 1) / 2).
    """
    rows = transfer.permute(2, 0, 1)
    mean = rows @ photons
    pairs = mean[:, :, None] * mean[:, None] - (rows * photons) @ rows.mT
    first, second = torch.triu_indices(*pairs.shape[1:], device=pairs.device)
    return pairs[:, first, second]


def _of_pairs(kept: Tensor) -> Tensor:
    """The probability that both photons of each pair of modes are detected."""
    if kept.dim() == 0:
        return kept.square()
    first, second = torch.triu_indices(len(kept), len(kept), device=kept.device)
    found: Tensor = kept[first] * kept[second]
    return found


def _normal_ordered_pairs(photons: Tensor) -> Tensor:
    """Products of the photons of all pairs of modes; of one mode n (n - 1)."""
    first, second = torch.triu_indices(photons.shape[1], photons.shape[1], device=photons.device)
    pairs: Tensor = photons[:, first] * (photons[:, second] - (first == second).to(photons.dtype))
    return pairs


def _refuse_same_means(
    outcomes: Outcomes, state: tuple[int, ...] | Superposition | None, size: int
) -> str:
    if not outcomes.resolves or state is None:
        return ""
    if isinstance(state, Superposition):
        same = np.eye(outcomes.modes) * state.photons / outcomes.modes
        constant = np.allclose(state.one_body(), same, rtol=0, atol=1e-9)
    else:
        constant = len(set(state)) == 1
    if not constant:
        return ""
    return (
        f"needs an input state that differs from mode to mode, got {state}: its mean photon "
        "numbers are the same behind every interferometer, so that no feature reaches the output; "
        "change n_photons, n_modes or input_state, or use 'pair_correlations' or 'linear'"
    )


def _refuse_one_photon(
    outcomes: Outcomes, state: tuple[int, ...] | Superposition | None, size: int
) -> str:
    if outcomes.most > 1:
        return ""
    return (
        "needs n_photons of at least 2, got 1: a single photon has no pair, so that every output "
        "is 0 and no feature reaches it; use 'mode_expectations', or more photons"
    )


MODE_EXPECTATIONS = Readout(
    words="mean photon numbers",
    only_size=lambda outcomes: outcomes.modes,
    refusal=_refuse_same_means,
    expectation=mode_expectations,
    transmitted=lambda kept: kept,
    of_means=True,
    statistic=lambda photons: photons,
)
PAIR_CORRELATIONS = Readout(
    words="pair correlations",
    only_size=lambda outcomes: outcomes.modes * (outcomes.modes + 1) // 2,
    refusal=_refuse_one_photon,
    expectation=pair_correlations,
    distinguishable=distinguishable_pair_correlations,
    transmitted=_of_pairs,
    statistic=_normal_ordered_pairs,
)
