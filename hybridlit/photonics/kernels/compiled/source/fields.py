"""Reading a plan and the sizes of a tile inside compiled code."""

from __future__ import annotations

from hybridlit.photonics.kernels.compiled.layout import ARRAYS, COLUMNS, MODES, PHOTONS
from hybridlit.photonics.kernels.compiled.source.jit import compiled
from hybridlit.photonics.kernels.compiled.source.lanes import Pointer, load


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
