"""What the numbers of a state dict do not tell of their circuit, for a check when one is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridlit.internals.torch import metadata
from hybridlit.photonics.ansatz import Ansatz
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.outcomes import Outcomes

__all__ = ["circuits_in", "description", "differences", "imperfections"]


def description(ansatz: Ansatz) -> dict[str, str]:
    """Return what parameters alone do not tell of a circuit, for a state dict.

    Args:
        ansatz: Experiment and sizes.

    Returns:
        Plain strings by name; the encoding as its shape and the start of a hash, and so the
        interferometers between, unless they are whole meshes.
    """
    circuit = ansatz.experiment
    lowering = circuit.lowering(ansatz.input_size)
    found = {
        "input_state": _in_words(circuit),
        "computation_space": circuit.fock_space.space.value,
        "output_mapping_strategy": ansatz.readout.equals or ansatz.strategy.value,
        "encoding": f"{lowering.encoding.shape}:{_hash(lowering.encoding)}",
        "circuit_type": circuit.circuit_name,
    }
    if circuit.rule is not None:
        found["postselect"] = circuit.rule
    found |= _detection(circuit)
    if lowering.slots is not None:
        matrices, places, factor = lowering.slots
        # rounded, since the last digits of matrices are those of a machine
        parts = matrices.real.round(7), matrices.imag.round(7), places, factor.round(7)
        found["circuit"] = f"{places.shape}:{_hash(*parts)}"
    return found


def _hash(*arrays: npt.NDArray[Any]) -> str:
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update((array + 0.0).astype("<f8").tobytes())  # no negative zeros
    return hashed.hexdigest()[:16]


def _in_words(circuit: Experiment) -> str:
    """The input state, a superposition as its number of terms and the start of a hash."""
    state = circuit.superposition
    if state is None:
        return str(circuit.occupation)
    numbers = np.array(state.states), state.amplitudes.real, state.amplitudes.imag
    return f"{len(state.terms)} terms:{_hash(*numbers)}"


def _detection(circuit: Experiment) -> dict[str, str]:
    """How detectors are and what they must show, unless the outcomes are those of ideal light.

    Values of noise are no part of it: a circuit trained on ideal light goes on under noise.
    """
    found: dict[str, str] = {}
    if circuit.detectors is not None:
        found["detectors"] = _of_detectors(circuit.detectors)
    if circuit.min_detected_photons:
        found["min_detected_photons"] = str(circuit.min_detected_photons)
    if found:
        shown, ideal = circuit.outcomes, Outcomes(circuit.fock_space, circuit.rule)
        if shown.size == ideal.size and np.array_equal(shown.states, ideal.states):
            return {}
    return found


def _of_detectors(given: str | Sequence[str]) -> str:
    return given if isinstance(given, str) else ",".join(given)


def imperfections(circuit: Experiment) -> str:
    """Say noise, detectors and how many photons must be shown, for a line of a report.

    Args:
        circuit: The experiment.

    Returns:
        Such as `"transmittance=0.3, detectors=threshold"`; empty where there is nothing to say.
    """
    told: dict[str, object] = {}
    if isinstance(circuit.noise, Noise):
        told.update(circuit.noise.plain())
    if circuit.detectors is not None:
        told["detectors"] = _of_detectors(circuit.detectors)
    if circuit.min_detected_photons:
        told["min_detected_photons"] = circuit.min_detected_photons
    return ", ".join(
        f"{name}=[{', '.join(map(str, value))}]" if isinstance(value, list) else f"{name}={value}"
        for name, value in told.items()
    )


def differences(saved: Mapping[str, str] | None, own: Mapping[str, str]) -> str:
    """Say how two circuits differ, in words; nothing where they compute the same.

    Args:
        saved: A `description`, or None if there is none.
        own: Another one.

    Returns:
        Empty if they do not differ or one is unknown. A circuit type and an explicit encoding of
        the same factors do not differ.
    """
    if saved is None:
        return ""
    differing = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
    if differing in ([], ["circuit_type"]):
        return ""
    old, new = (
        ", ".join(f"{name}={circuit.get(name)}" for name in differing) for circuit in (saved, own)
    )
    return f"saved with {old}, loaded into one with {new}"


def circuits_in(state: Mapping[str, object]) -> dict[str, Mapping[str, str]]:
    """Return the descriptions that a state dict holds beside its tensors.

    Args:
        state: A module's state dict; any other mapping holds none.

    Returns:
        A `description` by the name of the module.
    """
    modules = metadata(state) or {}
    return {name: entry["circuit"] for name, entry in modules.items() if "circuit" in entry}
