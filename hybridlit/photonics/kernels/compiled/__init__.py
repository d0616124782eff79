"""The compiled CPU kernel: a whole circuit, its photons and their gradient in one call each way.

:mod:`calls` is the way in for torch tensors. Below it, :mod:`dispatch` deals out memory and
threads, :mod:`kernels`, :mod:`amplitude_kernels` and :mod:`mesh_kernels` are the entry points that numba
compiles, and :mod:`mesh`, :mod:`propagation`, :mod:`recursion` and :mod:`blocks` what they are made of, written
in the vectors of :mod:`lanes`. :mod:`plans` and :mod:`tables` hold what a circuit's size fixes.
"""

from hybridlit.photonics.kernels.compiled.calls import (
    amplitudes_backward,
    amplitudes_forward,
    probabilities_backward,
    probabilities_forward,
    unitaries_backward,
    unitaries_forward,
)
from hybridlit.photonics.kernels.compiled.limits import MOST_MODES, MOST_PHOTONS, MOST_STATES

__all__ = [
    "MOST_MODES",
    "MOST_PHOTONS",
    "MOST_STATES",
    "amplitudes_backward",
    "amplitudes_forward",
    "probabilities_backward",
    "probabilities_forward",
    "unitaries_backward",
    "unitaries_forward",
]
