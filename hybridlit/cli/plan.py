"""`hybridlit plan`: what a circuit will take, before it is built."""

from __future__ import annotations

from hybridlit.photonics import CircuitTypeName, Experiment, SpaceName
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.sizes import require_memory
from hybridlit.precisions import CORES, CoreName
from hybridlit.words import in_bytes

__all__ = ["plan"]

_ERROR = 0.15  # of the estimate of memory, as its tests hold it


def plan(
    modes: int,
    photons: int,
    batch: int = 64,
    features: int | None = None,
    circuit_type: CircuitTypeName = "series",
    space: SpaceName = "fock",
    dtype: CoreName = "float32",
) -> None:
    """Print states, memory and time of a forward and backward pass through a circuit.

    Args:
        modes: Number of modes, at least 2.
        photons: Number of photons, at least 1.
        batch: Samples in a step, at least 1.
        features: Number of features; one fewer than modes if not given.
        circuit_type: Where the features enter the circuit.
        space: All outcomes, or only those with at most one photon a mode.
        dtype: Precision of the simulation.
    """
    experiment = Experiment(circuit_type, modes, photons, computation_space=space)
    precision = CORES[dtype]
    inputs = modes - 1 if features is None else features
    cost = estimate(experiment, inputs, batch, precision)
    print(f"{modes} modes, {photons} photons, {space} space, batch of {batch}, {dtype}\n{cost}")
    try:
        columns = len(experiment.encoding_for(inputs))
        left = require_memory(experiment.fock_space, batch, precision, "cpu", columns=columns)
    except MemoryError as refusal:
        print(f"does not fit       {refusal}")
        return
    free = f"{in_bytes(available_memory())} of memory are free"
    if left < _ERROR * cost.peak_bytes:
        print(f"may not fit        {free}, and estimates are right to {_ERROR:.0%}")
    else:
        print(f"fits               {free}")
