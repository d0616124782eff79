"""How a plan and the memory of one batch tile are laid out for the compiled kernels.

A plan is int64 numbers: a few scalars, then arrays of length photons + 1.  The memory of a
tile holds phase factors (depth, modes, row), layer inputs (depth, columns, modes, row),
final columns (columns, modes, row) and photon layers (all states of 0, 1, ... photons,
row), in this order; a row is a complex number of every sample of the tile.
"""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.jit import compiled
from hybridlit.photonics.kernels.compiled.lanes import Pointer, load

# Fields of a plan: these scalars, then arrays of length photons + 1.
MODES, PHOTONS, COLUMNS, UNBUNCHED, STATES, ARRAYS = range(6)
OCCUPIED, COLUMN_OF, LAYER_STATES, LAYER_START, PARENTS, CHILDREN = range(6)
PLAN_ARRAYS = 6


@compiled
def entry(plan: Pointer, array: int, index: int) -> int:
    """Return one element of one of the plan's arrays."""
    value: int = load(plan, ARRAYS + array * (load(plan, PHOTONS) + 1) + index)
    return value


@compiled
def tile_sizes(plan: Pointer, depth: int, width: int) -> tuple[int, int, int]:
    """Return the scalars of one tile's phase factors, layer inputs and final columns."""
    modes, columns = load(plan, MODES), load(plan, COLUMNS)
    columns_size = columns * modes * 2 * width
    return depth * modes * 2 * width, depth * columns_size, columns_size
