"""A lowered circuit -> what detectors show of a noisy source's light."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.noise.compiled import (
    light_of_circuit,
    light_of_columns,
    light_of_photons,
)
from hybridlit.photonics.noise.detected import DetectedOutcomes
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.program import Program
from hybridlit.photonics.noise.sizes import require_light_memory
from hybridlit.photonics.noise.values import NoiseValues
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.shapes import shaped_outcomes
from hybridlit.photonics.simulation import probabilities
from hybridlit.photonics.tracing import recording

__all__ = ["Source", "behind_photons", "detected_probabilities", "shown_of_columns"]


_LARGE = 2**22
"""Probabilities beyond which it is worth asking whether memory suffices."""


class Source(NamedTuple):
    """What makes the light of an experiment.

    Attributes:
        program: How its probabilities follow.
        noise: Its values.
    """

    program: Program
    noise: Noise


def detected_probabilities(
    circuit: Lowered,
    program: Program,
    values: NoiseValues,
    outcomes: Outcomes,
    photons: tuple[int, ...],
    recompute: bool | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the probabilities of what detectors show, and the chance that it is kept.

    Args:
        circuit: With any input modes.
        program: For the photons and the noise.
        values: The noise.
        outcomes: What is shown and kept.
        photons: The input mode of each photon, in the order of computation.
        recompute: As for `probabilities`, where photons are ideal before some are lost.

    Returns:
        Shapes (..., batch, D) and (..., batch), or None where nothing is dropped.

    Raises:
        LargePhasesError: As `circuit_columns`.
        MemoryError: On the CPU, if the light cannot fit into memory.
        RareOutcomesError: On the CPU, if what is kept of some sample is too rare.
        ValueError: On the CPU, if a phase is not finite.
    """
    if program.behind_photons:
        whole = Outcomes(FockSpace(program.modes, len(photons)))
        found = probabilities(circuit._replace(inputs=photons), whole, recompute)[0]
        return behind_photons(found, program, values, outcomes)
    *stack, _, _, batch = circuit.data_phases.shape
    if circuit.data_phases.is_meta and not recording():
        return shaped_outcomes(
            (*stack, batch), outcomes, circuit.data_phases, circuit.interferometers
        )
    _require_memory(program, math.prod(stack) * batch, circuit.data_phases)
    light = light_of_circuit(circuit, values.weights(program, circuit.data_phases), program)
    return _shown(light, program, values, outcomes)


def behind_photons(
    found: Tensor, program: Program, values: NoiseValues, outcomes: Outcomes
) -> tuple[Tensor, Tensor | None]:
    """Return what detectors show of ideal photons, of which some may be lost.

    Args:
        found: Probabilities of their states, shape (..., batch, D).
        program: Without second photons.
        values: The noise.
        outcomes: What is shown and kept.

    Returns:
        As `detected_probabilities`.
    """
    if found.is_meta and not recording():
        return shaped_outcomes(tuple(found.shape[:-1]), outcomes, found)
    _require_memory(program, math.prod(found.shape[:-1]), found)
    light = light_of_photons(found.flatten(0, -2), values.weights(program, found), program)
    return _shown(light.unflatten(0, found.shape[:-1]), program, values, outcomes)


def shown_of_columns(columns: Tensor, source: Source, outcomes: Outcomes) -> Tensor:
    """Return the probabilities of what is shown of the light of given columns, for checks.

    Args:
        columns: Those of each unitary at the occupied modes, shape (modes, inputs, batch), complex.
        source: Of the light.
        outcomes: What is shown and kept.

    Returns:
        Shape (batch, D), however rare what is kept.
    """
    program, noise = source
    values = NoiseValues(noise, columns.device, columns.real.dtype)
    light = light_of_columns(columns, values.weights(program, columns.real), program)
    if isinstance(outcomes, DetectedOutcomes):
        by_mode = values.mode_transmittance(light) if outcomes.detection.by_mode else None
        light = outcomes.arriving(light, by_mode)
    return outcomes.conditional(light, least=0.0)[0]


def _require_memory(program: Program, rows: int, like: Tensor) -> None:
    if rows * program.light.size > _LARGE and not recording():
        require_light_memory(program, rows, like)


def _shown(
    light: Tensor, program: Program, values: NoiseValues, outcomes: Outcomes
) -> tuple[Tensor, Tensor | None]:
    # Nothing cancels between photons that are all unlike: what is no underflow is known.
    number = torch.finfo(light.dtype)
    least = number.tiny / number.eps if program.alike == "none" else None
    if not isinstance(outcomes, DetectedOutcomes):
        return outcomes.conditional(light, least=least)
    by_mode = values.mode_transmittance(light) if outcomes.detection.by_mode else None
    return outcomes.conditional(outcomes.arriving(light, by_mode), least=least)
