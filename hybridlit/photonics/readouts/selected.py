r"""Outputs that a post-selection makes the same behind every interferometer.

With photons alike in all modes some relations hold whatever the circuit: two modes with a photon
each give (2, 0) as often as (0, 2), and :math:`\langle n_j\rangle` is what enters. A rule may leave
nothing but such a relation. So the outputs behind two random unitaries are compared: as polynomials
of a unitary's entries they are equal there only if they are equal for all.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache

import torch

from hybridlit.photonics.amplitudes import amplitudes
from hybridlit.photonics.fock import ComputationSpace
from hybridlit.photonics.kernels.choice import use_kernel
from hybridlit.photonics.noise.simulation import Source, behind_photons, shown_of_columns
from hybridlit.photonics.noise.values import NoiseValues
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.superposition import Superposition
from hybridlit.undisturbed import undisturbed

__all__ = ["same_behind_all"]

_SMALL = 2**14
"""States up to which it is not worth to compile a kernel, once an installation."""


@lru_cache(maxsize=64)
def same_behind_all(
    outcomes: Outcomes,
    state: tuple[int, ...] | Superposition,
    readout: Readout,
    size: int,
    source: Source | None = None,
) -> bool:
    """Return whether no circuit changes the outputs of a readout.

    Args:
        outcomes: What is kept.
        state: What enters: photons in each mode, or a superposition.
        readout: What reads them.
        size: Number of outputs.
        source: What makes the light; None: all photons arrive alike and are counted.
    """
    terms = state.terms if isinstance(state, Superposition) else ((state, 1.0),)
    with undisturbed(), torch.no_grad(), torch.device("cpu"):  # also of a model without numbers
        torch.manual_seed(0)
        modes = outcomes.modes
        unitary = torch.linalg.qr(torch.randn(2, modes, modes, dtype=torch.complex128))[0]
        if source is not None and not isinstance(state, Superposition):
            occupied = [mode for mode, number in enumerate(state) if number]
            columns = unitary[..., occupied].permute(1, 2, 0)
            found = shown_of_columns(columns, source, outcomes)
        else:
            with use_kernel("torch") if outcomes.space.size <= _SMALL else nullcontext():
                kind = ComputationSpace.FOCK if source else outcomes.space.space
                parts = [weight * amplitudes(unitary, term, space=kind) for term, weight in terms]
                found = torch.stack(parts).sum(0).abs().square()
            if source is not None:
                values = NoiseValues(source.noise, dtype=torch.float64)
                found = behind_photons(found, source.program, values, outcomes)[0]
            else:
                found = outcomes.conditional(found, least=0.0)[0]
        read = readout.module(outcomes, size, None, torch.device("cpu"), torch.float64)
        if readout.statistic is not None:
            found = found @ readout.statistic(outcomes.photons(found))
        first, second = read(found)
    return bool(
        torch.allclose(first, second, rtol=0, atol=1e-9 * max(1.0, float(first.abs().max())))
    )
