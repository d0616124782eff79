"""What the numbers of a state dict do not tell of their circuit, for a check when one is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from hybridlit.internals.torch import metadata
from hybridlit.photonics.experiment import Ansatz

__all__ = ["circuits_in", "description", "differences"]


def description(ansatz: Ansatz) -> dict[str, str]:
    """Return what parameters alone do not tell of a circuit, for a state dict.

    Args:
        ansatz: Experiment and sizes.

    Returns:
        Plain strings by name; the encoding as its shape and the start of a hash.
    """
    circuit = ansatz.experiment
    factors = circuit.encoding_for(ansatz.input_size) + 0.0  # no negative zeros
    hashed = hashlib.sha256(factors.astype("<f8").tobytes()).hexdigest()
    return {
        "input_state": str(circuit.occupation),
        "computation_space": circuit.fock_space.space.value,
        "output_mapping_strategy": ansatz.readout.equals or ansatz.strategy.value,
        "encoding": f"{factors.shape}:{hashed[:16]}",
        "circuit_type": circuit.circuit_name,
    }


def differences(saved: Mapping[str, str] | None, own: Mapping[str, str]) -> str:
    """Say how two circuits differ, in words; nothing where they compute the same.

    Args:
        saved: A `description`, or None if there is none.
        own: Another one.

    Returns:
        Empty if they do not differ or one is unknown. A circuit type and an explicit encoding of
        the same factors do not differ.
    """
    if saved is None or all(saved.get(k) == v for k, v in own.items() if k != "circuit_type"):
        return ""
    differing = [name for name, value in own.items() if saved.get(name) != value]
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
