"""Layers whose light is one state with amplitudes: what kernels, measurements and states need."""

from __future__ import annotations

from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.description import imperfections
from hybridlit.photonics.layer import QuantumLayer

__all__ = ["require_amplitudes", "require_given_state"]


def require_amplitudes(layer: object, name: str) -> QuantumLayer:
    """Refuse a layer of which `amplitudes(x)` would be refused.

    Args:
        layer: What was given for one.
        name: The argument's name.

    Returns:
        The layer.

    Raises:
        TypeError: If it is no layer whose photons interfere.
        ValueError: If it has noise, or detectors that lose a part of what there is to know, or
            counts shots.
    """
    if not isinstance(layer, QuantumLayer) or not layer.interferes:
        raise TypeError(
            f"{name} must be a QuantumLayer, whose states have amplitudes, got "
            f"{type(layer).__name__}"
        )
    if layer.experiment.program is not None:
        raise ValueError(
            f"{name} must have ideal photons, all of which are counted, got one with "
            f"{imperfections(layer.experiment)}: light that lost some is no single state; use a "
            "layer without them"
        )
    if layer.shots is not None:
        raise ValueError(
            f"{name} must have shots=None, got {layer.shots}: what follows needs amplitudes, not "
            "counts; set layer.shots = None"
        )
    return layer


def require_given_state(layer: object, name: str) -> None:
    """Refuse a layer that takes no `state`.

    Args:
        layer: What was given for one.
        name: The argument's name.

    Raises:
        TypeError: If it is no layer whose photons interfere.
        ValueError: If a source makes its photons, or it follows the shift rule.
    """
    if not isinstance(layer, PhotonicCircuit) or not layer.interferes:
        raise TypeError(
            f"{name} must be a QuantumLayer or a QuantumLayerStack, whose states have amplitudes, "
            f"got {type(layer).__name__}"
        )
    if layer.shots is not None and layer.shot_gradient == "shift":
        raise ValueError(
            f"{name} must not have shot_gradient='shift', which differentiates in phases alone and "
            "not in a state: set it to 'exact' or 'score'"
        )
    program = layer.experiment.program
    if program is not None and not program.ideal_source:
        raise ValueError(
            f"{name} must take a state as it is, got one with {imperfections(layer.experiment)}: "
            "noise of a source needs photons in each mode; of states photons can be lost, no more"
        )
