"""The compiled CPU kernel: a whole circuit, its photons and their gradient in one call each way.

`calls`, `steps`, `parts`, `columns`, `light` and `jets` are the way in for torch tensors; they deal
out memory and `threads`. `plans` holds what the size of a circuit fixes, `layout` where it lies in
memory.
`source` is what numba compiles; `machine_code` keeps the outcome in files and runs it, so that
numba is imported only to compile.
"""

from hybridlit.photonics.kernels.compiled.calls import (
    KEEP_BYTES,
    probabilities_backward,
    probabilities_forward,
)
from hybridlit.photonics.kernels.compiled.columns import columns_backward, columns_forward
from hybridlit.photonics.kernels.compiled.jets import weights_along
from hybridlit.photonics.kernels.compiled.layout import PHASE_BOUND
from hybridlit.photonics.kernels.compiled.parts import (
    amplitudes_backward,
    amplitudes_forward,
    planes_backward,
    planes_forward,
    unitaries_backward,
    unitaries_forward,
)
from hybridlit.photonics.kernels.compiled.plans import (
    LARGE_STATES,
    MOST_PHOTONS,
    goes_by_cells,
    most_states,
)
from hybridlit.photonics.kernels.compiled.steps import Step, step_of

__all__ = [
    "KEEP_BYTES",
    "LARGE_STATES",
    "MOST_PHOTONS",
    "PHASE_BOUND",
    "Step",
    "amplitudes_backward",
    "amplitudes_forward",
    "columns_backward",
    "columns_forward",
    "goes_by_cells",
    "most_states",
    "planes_backward",
    "planes_forward",
    "probabilities_backward",
    "probabilities_forward",
    "step_of",
    "unitaries_backward",
    "unitaries_forward",
    "weights_along",
]
