"""Noise, losses behind the circuit and detectors to and from Perceval."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.noise.detectors import detectors_of, shown, wires
from hybridlit.photonics.noise.model import Noise

__all__ = ["detector_name", "noise_of", "noise_with", "seen", "with_noise", "without_losses"]

_FIELDS = [each.name for each in fields(Noise) if each.name != "trainable"]


def noise_of(given: Any) -> Noise:
    """Return a Perceval noise model as noise of this package.

    Args:
        given: A `perceval.NoiseModel`, or None.
    """
    values = {} if given is None else {name: getattr(given, name) for name in _FIELDS}
    return Noise(**{name: value for name, value in values.items() if value is not None})


def noise_with(noise: Noise, losses: dict[int, float], modes: int) -> Noise:
    """Return noise with losses behind the circuit.

    Args:
        noise: Of the source.
        losses: Probabilities, by mode.
        modes: Number of modes.
    """
    through = noise.transmittance * (1 - np.array([losses.get(m, 0.0) for m in range(modes)]))
    same = bool((through == through[0]).all())
    return replace(noise, transmittance=float(through[0]) if same else through.tolist())


def without_losses(placed: list[tuple[Any, Any]]) -> tuple[list[tuple[Any, Any]], dict[int, float]]:
    """Take the loss channels behind everything else out of a list of components.

    Args:
        placed: Modes and component of each.

    Returns:
        The others, and the loss of each mode that has one.
    """
    import perceval as pcvl

    others: list[tuple[Any, Any]] = []
    losses: dict[int, float] = {}
    behind = set[int]()
    for modes, component in reversed(placed):
        if isinstance(component, pcvl.LC) and modes[0] not in behind:
            kept = (1 - losses.get(modes[0], 0.0)) * (1 - float(component.param("loss")))
            losses[modes[0]] = 1 - kept
        else:
            behind.update(modes)
            others.append((modes, component))
    return others[::-1], losses


def seen(detector: Any, most: int) -> npt.NDArray[np.float64]:
    """Return with which probability a Perceval detector shows each number of photons.

    Args:
        detector: A Perceval detector; None: one that resolves photon numbers.
        most: Photons that reach it at most.

    Returns:
        Entry (c, n): to show c photons of n, shape (most + 1, most + 1).
    """
    if detector is None:
        return np.eye(most + 1)
    table = np.zeros((most + 1, most + 1))
    for photons in range(most + 1):
        found = detector.detect(photons)
        chances = {found: 1.0} if hasattr(found, "n") else found
        for state, chance in chances.items():
            table[state.n, photons] += chance
    return table


def detector_name(detector: Any, mode: int, most: int) -> str:
    """Return the name of a Perceval detector in this package.

    Args:
        detector: A Perceval detector; None: one that resolves photon numbers.
        mode: Where it is.
        most: Photons that reach it at most.

    Raises:
        ValueError: If it is of another kind.
    """
    table = seen(detector, most)
    limit = None if detector is None else detector.max_detections
    for name in ("pnr",) if limit is None else ("pnr", f"ppnr:{limit}"):
        if np.allclose(table, shown(name, most), rtol=0, atol=1e-12):
            return name
    raise ValueError(
        f"detectors must count photons, or have wires that see one photon each, all and for "
        f"sure, got {detector.name!r} on mode {mode}"
    )


def with_noise(made: Any, layer: PhotonicCircuit) -> None:
    """Give a Perceval experiment the noise and the detectors of a layer.

    Args:
        made: A `perceval.Experiment` of the layer's circuit.
        layer: A photonic layer; of learned noise the present values count.
    """
    import perceval as pcvl

    noise = Noise() if layer.noise is None else layer.noise.present
    if not layer.interferes:
        noise = replace(noise, indistinguishability=0.0, trainable=())
    through = noise.by_mode
    if through is None and layer.experiment.superposition is not None:
        # Perceval's source makes photons, and leaves superpositions alone
        through = (noise.brightness * noise.uniform,) * layer.experiment.n_modes
        noise = replace(noise, brightness=1.0, trainable=())
    if through is not None:
        for mode, kept in enumerate(through):
            if kept < 1:
                made.add(mode, pcvl.LC(1 - kept))
        noise = replace(noise, transmittance=1.0, trainable=())
    if not noise.ideal:
        made.noise = pcvl.NoiseModel(**{name: getattr(noise, name) for name in _FIELDS})
    names = detectors_of(layer.experiment.detectors, layer.experiment.n_modes) or ()
    for mode, name in enumerate(names):
        count = wires(name)
        if count is not None:
            made.add(mode, pcvl.Detector.threshold() if count == 1 else pcvl.Detector.ppnr(count))
