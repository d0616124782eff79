"""The compiled CPU kernel: a whole circuit, its photons and their gradient in one call each way.

:mod:`calls` is the way in for torch tensors, :mod:`dispatch` deals out memory and threads.
:mod:`plans` holds what the size of a circuit fixes, :mod:`layout` where it lies in memory.
:mod:`source` is what numba compiles; :mod:`machine_code` keeps the outcome in files and runs it, so
that numba is imported only to compile.
"""

from hybridlit.photonics.kernels.compiled.calls import (
    amplitudes_backward,
    amplitudes_forward,
    probabilities_backward,
    probabilities_forward,
    unitaries_backward,
    unitaries_forward,
)
from hybridlit.photonics.kernels.compiled.layout import PHASE_BOUND
from hybridlit.photonics.kernels.compiled.limits import MOST_MODES, MOST_PHOTONS, MOST_STATES

__all__ = [
    "MOST_MODES",
    "MOST_PHOTONS",
    "MOST_STATES",
    "PHASE_BOUND",
    "amplitudes_backward",
    "amplitudes_forward",
    "probabilities_backward",
    "probabilities_forward",
    "unitaries_backward",
    "unitaries_forward",
]
