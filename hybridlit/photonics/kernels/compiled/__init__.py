"""The compiled CPU kernel: a whole circuit, its photons and their gradient in one call each way.

:mod:`calls` is the way in for torch tensors, :mod:`dispatch` deals out memory and threads. Numba
compiles :mod:`forward_kernel`, :mod:`backward_kernel`, :mod:`amplitude_kernels` and
:mod:`mesh_kernels`, made of :mod:`mesh`, :mod:`propagation`, :mod:`recursion` and :mod:`blocks`, in
the vectors of :mod:`lanes` and :mod:`arithmetic`. :mod:`plans` and :mod:`tables` hold what the size
of a circuit fixes, :mod:`layout` where it lies in memory.
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
