"""How much memory a simulation takes, and the refusal of one that cannot fit.

The estimates count what is alive at the moments that can be the peak, in the order in which a
training step comes to them. They were compared with what processes take; tests do it again.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any

import torch

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.interferometer import padded
from hybridlit.photonics.kernels.choice import chosen_kernel, compiled_refuses
from hybridlit.photonics.kernels.compiled import KEEP_BYTES, goes_by_cells
from hybridlit.photonics.kernels.reference import CHUNK
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.words import in_bytes, in_digits

__all__ = [
    "kept_bytes",
    "multiply_adds",
    "peak_bytes",
    "product_bytes",
    "require_memory",
    "scratch_bytes",
    "selection_bytes",
    "states_up_to",
    "table_bytes",
    "transition_bytes",
]


def states_up_to(space: FockSpace, photons: int | None = None) -> int:
    """Return the number of states of 0, 1, ... photons together, by default those of the space."""
    most = space.photons if photons is None else photons
    if not space.unbunched:
        return math.comb(space.modes + most, space.modes) if most >= 0 else 0
    return sum(math.comb(space.modes, k) for k in range(most + 1))


def multiply_adds(space: FockSpace) -> int:
    """Return the complex multiply-adds of the amplitude recursion for one sample.

    That is the sum over photons k of modes that can take one more, times states of k photons.
    """
    if space.unbunched:
        return sum(math.comb(space.modes, k) * (space.modes - k) for k in range(space.photons))
    return space.modes * states_up_to(space, space.photons - 1)


def peak_bytes(
    space: FockSpace,
    batch: int,
    dtype: torch.dtype,
    kernel: str,
    recompute: bool | None = None,
    *,
    columns: int = 1,
    inputs: int | None = None,
    circuits: int = 1,
    meshes_in_torch: bool = False,
    slots: int = 0,
    matrices: bool = False,
) -> int:
    """Return the memory of a first forward and backward pass at its peak.

    Args:
        space: The outcomes.
        batch: Samples of all circuits.
        dtype: Real dtype.
        kernel: `"compiled"` or `"torch"`.
        recompute: As for the layer, for the compiled kernel.
        columns: Columns of data phases.
        inputs: Occupied input modes; None: as many as there can be.
        circuits: Circuits simulated as one.
        meshes_in_torch: Whether torch operations make the interferometers as well, as they do on
            other devices than the CPU, and everywhere under `use_kernel("torch")`.
        slots: Of how many matrices each interferometer is the product; 0: it is a whole mesh.
        matrices: Whether interferometers are given as matrices, whose own bytes do not count.

    Returns:
        Bytes above what was in use before, with the gradient of the probabilities.
    """
    item = torch.finfo(dtype).bits // 8
    if slots:  # as many products are kept during the simulation; their gradient needs more
        made = product_bytes(space.modes, columns, slots, item, circuits)
        rest = peak_bytes(
            space, batch, dtype, kernel, recompute, columns=columns, inputs=inputs,
            circuits=circuits, matrices=True,
        )  # fmt: skip
        return max(rest + made, 2 * batch * space.size * item + 4 * made)
    if kernel == "torch":
        return _peak_in_torch(space, batch, item, columns, circuits, meshes_in_torch)
    if inputs is None:
        inputs = min(space.modes, space.photons)
    width = _width(dtype)
    of_each = -(-batch // circuits)
    workers = min(torch.get_num_threads(), -(-of_each // width))
    by_cells = goes_by_cells(not matrices, inputs, space.modes, batch, item, circuits)
    if by_cells:  # factors, phases and their gradient
        meshes = 4 * circuits * (columns + 1) * space.modes * (space.modes - 1)
    else:
        pitch = -(-space.modes // width) * width
        meshes = 2 * circuits * (columns + 1) * space.modes * (2 * pitch + space.modes - 1)
    # Of gradients: one for each thread, and theirs.
    sums = 0 if by_cells else 128 * (columns + 1) * space.modes**2
    return (
        2 * batch * space.size * item  # probabilities and their gradient
        + 2 * batch * columns * space.modes * item  # data phases and theirs
        + meshes * item
        + table_bytes(space)
        + workers * scratch_bytes(space, dtype, columns, inputs, by_cells)
        + (sums if workers > 1 else 0)
        + kept_bytes(space, of_each, dtype, columns, inputs, recompute, circuits)
    )


def product_bytes(modes: int, columns: int, slots: int, item: int, circuits: int = 1) -> int:
    """Return the bytes of the matrices whose products interferometers are, at numbers of `item`."""
    return 2 * item * circuits * (columns + 1) * slots * modes**2


def _peak_in_torch(
    space: FockSpace, batch: int, item: int, columns: int, circuits: int, meshes_in_torch: bool
) -> int:
    modes, photons = space.modes, space.photons
    lower = states_up_to(space, photons - 1) - states_up_to(space, photons - 2)
    outcomes = batch * space.size * item
    phases = batch * modes * item
    of_photons = 2 * photons * phases  # the columns of U(x) at the photons
    kept = columns * (of_photons + 3 * phases)  # for the backward pass through the circuit
    meshes = 6 * circuits * (columns + 1) * modes**2 * item
    if meshes_in_torch:  # all columns of cells, and products of pairs of them
        meshes = 3 * circuits * (columns + 1) * padded(modes) * modes**2 * item
    at_a_time = min(modes, max(1, CHUNK // max(1, lower * batch)))
    terms = 2 * item * at_a_time * lower * batch if photons > 1 else 0
    states = 2 * item * batch * (states_up_to(space, photons - 1) + lower)
    moments = [
        # the gradients of the squares
        (10 if space.unbunched else 9) * outcomes + kept + of_photons,
        # the recursion read downwards from a conjugate, with two products at a time
        6 * outcomes + states + 2 * terms + kept + 2 * of_photons + 4 * phases,
        # through the phases, with some products of each
        2 * outcomes + kept + 3 * of_photons + 6 * phases,
        # through the interferometers
        meshes,
    ]
    tables, largest = transition_bytes(space, item), modes * lower
    # The last table is copied from numpy before anything of the above is there.
    return max(tables + 8 * largest, tables + meshes + max(moments))


def table_bytes(space: FockSpace) -> int:
    """Return the bytes of the compiled kernel's tables, which all layers of a shape share."""
    links = 4 * (2 * multiply_adds(space) + states_up_to(space))
    return links + (0 if space.unbunched else 8 * space.size)


def transition_bytes(space: FockSpace, item: int) -> int:
    """Return the bytes of the tables of the recursion in torch operations, which layers share.

    A target and a weight, of `item` bytes, for each mode and each state of fewer photons, but none.
    """
    return space.modes * max(0, states_up_to(space, space.photons - 1) - 1) * (8 + item)


def kept_bytes(
    space: FockSpace,
    batch: int,
    dtype: torch.dtype,
    columns: int,
    inputs: int,
    recompute: bool | None = None,
    circuits: int = 1,
) -> int:
    """Return the bytes of intermediate states that the compiled kernel keeps for the backward pass.

    Arguments are those of `peak_bytes`, but for the samples of each circuit. Without `recompute`
    the states are kept while all of them fit into 5 MiB.
    """
    width, tile = _width(dtype), _tile_bytes(space, columns, inputs)
    if recompute or (recompute is None and -(-circuits * batch // width) * tile > KEEP_BYTES):
        return 0
    return circuits * -(-batch // width) * tile


def selection_bytes(outcomes: int, batch: int, dtype: torch.dtype) -> int:
    """Return the bytes that a post-selection by rule takes beside all probabilities.

    Those that it keeps, before and after they are normalised, and their gradients.
    """
    return 4 * outcomes * batch * (torch.finfo(dtype).bits // 8)


def scratch_bytes(
    space: FockSpace, dtype: torch.dtype, columns: int, inputs: int, by_cells: bool = False
) -> int:
    """Return the compiled kernel's bytes for each thread in a pass that simulates again.

    Arguments are those of `peak_bytes`, and whether meshes are applied to columns `by_cells`.
    """
    width, modes = _width(dtype), space.modes
    pitch = -(-(inputs if by_cells else modes) // width) * width
    sums = 2 * width * (columns + 1) * modes**2
    if by_cells:
        angles = columns * modes * (modes - 1)
        sums = 2 * width * inputs * modes + -(-angles // width) * width
    numbers = width**2 + 4 * width * inputs * modes + sums + 4 * modes * pitch
    return _tile_bytes(space, columns, inputs) + numbers * (64 // width)


def _width(dtype: torch.dtype) -> int:
    """Samples in a tile of the compiled kernel: as many as numbers in 64 bytes."""
    return 512 // torch.finfo(dtype).bits


def _tile_bytes(space: FockSpace, columns: int, inputs: int) -> int:
    """Bytes of a tile: phase factors, columns before and after each interferometer, states."""
    rows = columns * space.modes + (columns + 1) * inputs * space.modes + states_up_to(space)
    return 128 * rows  # 64 bytes each of real and imaginary parts


def require_memory(
    space: FockSpace,
    batch: int,
    dtype: torch.dtype,
    device: str,
    more: int = 0,
    recompute: bool | None = None,
    *,
    columns: int = 1,
    circuits: int = 1,
) -> int:
    """Refuse a simulation that cannot fit into the memory of this machine.

    Args:
        space: As for `peak_bytes`, and so are those that are not here.
        batch: Samples of all circuits.
        dtype: Real dtype.
        device: Where it would run; only the CPU's memory is known beforehand.
        more: Bytes needed beside the simulation, in proportion to the outcomes.
        recompute: Whether to simulate again.
        columns: Columns of data phases.
        circuits: Circuits simulated as one.

    Returns:
        Bytes that would be left at the peak; 0 on other devices.

    Raises:
        MemoryError: With the estimate and what would fit.
    """
    if device != "cpu":
        return 0
    free, forced = available_memory(), chosen_kernel() == "torch"

    def left(outcomes: FockSpace, batch: int) -> int:
        kernel = "torch" if forced or compiled_refuses(outcomes, device, dtype) else "compiled"
        given: dict[str, Any] = dict(columns=columns, circuits=circuits, meshes_in_torch=forced)
        needed = peak_bytes(outcomes, batch, dtype, kernel, recompute, **given)
        return free - needed - more * outcomes.size // space.size

    found = left(space, batch)
    if found >= 0:
        return found
    fitting = batch
    while fitting and left(space, fitting) < 0:
        fitting //= 2
    advice = [f"a batch of {fitting}"] if fitting else []
    if recompute is False:
        advice.append("recompute=True or None, which keeps no intermediate states")
    if not fitting:
        fewer = bisect_left(
            range(1, space.photons),
            True,
            key=lambda photons: left(FockSpace(space.modes, photons, space.space), batch) < 0,
        )
        if fewer:
            advice.append(f"{fewer} photons")
        if not space.unbunched and space.photons < space.modes:
            unbunched = FockSpace(space.modes, space.photons, ComputationSpace.UNBUNCHED)
            if left(unbunched, batch) >= 0:
                advice.append(f"computation_space='unbunched' ({in_digits(unbunched.size)} states)")
    cheap = next(s.value for s in OutputMappingStrategy if s.readout.expectation is not None)
    advice.append(
        f"output_mapping_strategy={cheap!r}, which needs no states at all of computation_space="
        "'fock' without postselect"
    )
    raise MemoryError(
        f"{space.modes} modes and {space.photons} photons have {in_digits(space.size)} states: "
        f"a batch of {batch} needs about {in_bytes(free - found)} of the {in_bytes(free)} free; "
        "what would fit: " + ", or ".join(advice)
    )
