"""Amplitudes of light behind a chip that loses some of it along its modes."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.finite import can_look_at
from hybridlit.photonics.interferometer import unitaries
from hybridlit.photonics.noise.compiled import compiled_columns, serves_columns
from hybridlit.photonics.propagation import meshes_and_shifts

__all__ = ["amplitudes_of_light", "propagated"]


def amplitudes_of_light(circuit: Lowered, places: Tensor, kept: Tensor) -> Tensor:
    """Return the amplitudes that leave a circuit, of light of power 1 at some inputs.

    A batch whose rows all have the same inputs goes through the compiled kernel where it can serve,
    which takes half of the time; torch operations serve mixed ones as well.

    Args:
        circuit: Without leading dimensions; its `inputs` are not read.
        places: The modes that light enters, ascending in each row, shape (batch, lights).
        kept: Amplitude that each mode keeps behind each column of data phases, (modes,), real.

    Returns:
        Shape (modes, lights, batch), complex.

    Raises:
        LargePhasesError: On the CPU, if a data phase is not below 25 radians.
        ValueError: On the CPU, if a phase is not finite.
    """
    meshes, phases, _ = circuit
    modes = phases.shape[-2]
    if can_look_at(places) and len(places) and serves_columns(modes, phases):
        if bool((places == places[:1]).all()):
            meshes = _lossy(meshes if meshes.is_complex() else unitaries(meshes), kept)
            return compiled_columns(Lowered(meshes, phases, tuple(places[0].tolist())))
    dtype = phases.dtype.to_complex()
    entering = torch.zeros(*places.shape, modes, dtype=dtype, device=phases.device)
    entering = entering.scatter(2, places[..., None], 1.0).permute(2, 1, 0)
    return propagated(circuit, entering, kept)


def propagated(circuit: Lowered, entering: Tensor, kept: Tensor) -> Tensor:
    """Return the amplitudes that leave a circuit, by torch operations.

    Args:
        circuit: Without leading dimensions; its `inputs` are not read.
        entering: Amplitudes that enter, shape (modes, lights, batch), complex.
        kept: Amplitude that each mode keeps behind each column of data phases, (modes,), real.

    Returns:
        Shape (modes, lights, batch), complex.

    Raises:
        LargePhasesError: As `amplitudes_of_light`.
        ValueError: As `amplitudes_of_light`.
    """
    meshes, shifts = meshes_and_shifts(circuit)
    meshes = _lossy(meshes, kept)
    found = (meshes[0] @ entering.flatten(-2)).view_as(entering)
    for layer in range(shifts.shape[0]):
        found = found * shifts[layer, :, None, :]
        found = (meshes[layer + 1] @ found.flatten(-2)).view_as(entering)
    return found


def _lossy(meshes: Tensor, kept: Tensor) -> Tensor:
    """Interferometers with the losses in front of them: phases and losses may change places."""
    return torch.cat([meshes[:1], meshes[1:] * kept])
