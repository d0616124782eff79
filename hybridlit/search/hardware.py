"""What a model would take on hardware: photons at once, and shots for each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hybridlit.components import layer_in_words, photonic_modules
from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.hardware import ansatz_under

__all__ = ["EVENTS", "HARDWARE_COSTS", "hardware_costs"]

EVENTS = 1000
"""Events of each row and circuit that are to be kept."""

HARDWARE_COSTS = ("photons", "shots")
"""What `hardware_costs` tells."""


def hardware_costs(
    model: nn.Module, noise: Mapping[str, Any] | str | None = None
) -> dict[str, float]:
    """Return what a row takes on hardware, on average over interferometers drawn at random.

    Args:
        model: The model; it may be without numbers.
        noise: That of the hardware, under which each layer keeps the outcomes that its readout was
            made for; None: what the layers have.

    Returns:
        `photons`, the most that one circuit asks for at once, and `shots`, of all circuits
        together, until `EVENTS` events of each are kept; 0 of a model without photons.

    Raises:
        ValueError: If a readout needs outcomes that hardware with this noise does not show, or a
            photonic layer is no `QuantumLayer`, such as one of another library.
    """
    photons, shots = 0, 0.0
    for name, layer in photonic_modules(model).items():
        if not isinstance(layer, PhotonicCircuit):
            raise ValueError(
                f"the shots of {name or type(model).__name__} cannot be told, since it is a "
                f"{layer_in_words(layer)}"
            )
        ansatz = layer.ansatz if noise is None else ansatz_under(layer.ansatz, noise)
        photons = max(photons, ansatz.experiment.n_photons)
        shots += (layer.count or 1) * EVENTS / ansatz.experiment.outcomes.mean_kept
    return {"photons": float(photons), "shots": shots}
