"""A circuit that was trained, on hardware: under another source and other detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from hybridlit.argument_types import checked
from hybridlit.photonics.ansatz import Ansatz
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.outcomes import Outcomes

__all__ = ["ansatz_under", "with_noise"]

_C = TypeVar("_C", bound=PhotonicCircuit)


@checked
def with_noise(
    layer: _C,
    noise: Noise | Mapping[str, Any] | str | None,
    *,
    detectors: str | Sequence[str] | None = None,
    min_detected_photons: int | None = None,
) -> _C:
    """Return a copy of a layer or a stack under other noise: see `QuantumLayer.with_noise`."""
    ansatz = ansatz_under(layer.ansatz, noise, detectors, min_detected_photons)
    made = type(layer).__new__(type(layer))
    with torch.random.fork_rng(devices=[]):  # what it draws is thrown away
        PhotonicCircuit.__init__(made, ansatz, layer.count, layer.recompute)
    made.to(layer.phases)
    state = {name: value for name, value in layer.state_dict().items() if _of_circuit(name)}
    learned = {name: value for name, value in made.state_dict().items() if not _of_circuit(name)}
    made.load_state_dict(state | learned)  # a plain dict, which says nothing of the detectors
    for name, parameter in layer.named_parameters():
        if _of_circuit(name):
            made.get_parameter(name).requires_grad_(parameter.requires_grad)
    made.shots, made.shot_gradient = layer.shots, layer.shot_gradient
    made.train(layer.training)
    return made


def _of_circuit(name: str) -> bool:
    """Whether a tensor of a state dict is of the circuit or its readout, and not of its noise."""
    return not name.startswith("noise.")


def ansatz_under(
    ansatz: Ansatz,
    noise: Noise | Mapping[str, Any] | str | None,
    detectors: str | Sequence[str] | None = None,
    least: int | None = None,
) -> Ansatz:
    """Return the ansatz of the same circuit under other noise, arguments as for `with_noise`.

    Raises:
        ValueError: If its readout was made for other outcomes than can be kept.
    """
    given = ansatz.experiment
    changes: dict[str, Any] = {"noise": noise, "detectors": detectors or given.detectors}
    if ansatz.readout.statistic is not None:  # means over whatever is shown
        if least is not None:
            changes["min_detected_photons"] = least
        return replace(ansatz, experiment=replace(given, **changes))
    if least is not None:
        found = replace(given, **changes, min_detected_photons=least)
        if not _same(found.outcomes, given.outcomes):
            raise ValueError(_refusal(ansatz, found, f"min_detected_photons={least}"))
        return replace(ansatz, experiment=found)
    for kept in _ways_to_keep(given):
        found = replace(given, **changes, **kept)
        if _same(found.outcomes, given.outcomes):
            return replace(ansatz, experiment=found)
    raise ValueError(_refusal(ansatz, found, "whatever is kept"))


def _ways_to_keep(given: Experiment) -> list[dict[str, Any]]:
    """What may be asked of outcomes so that none is left but those of an experiment."""
    numbers = given.outcomes.states.sum(1)
    fewest, most = int(numbers.min()), int(numbers.max())
    everywhere = ",".join(map(str, range(given.n_modes)))
    at_most = f"[{everywhere}]<={most}"
    rule = at_most if given.rule is None else f"({given.rule}) & {at_most}"
    enough = {"min_detected_photons": fewest}
    return [{}, enough, {**enough, "postselect": rule}]


def _same(one: Outcomes, other: Outcomes) -> bool:
    return one.size == other.size and bool(np.array_equal(one.states, other.states))


def _refusal(ansatz: Ansatz, found: Experiment, asked: str) -> str:
    made_for, shown = ansatz.experiment.outcomes, found.outcomes
    noise = found.noise.plain() if isinstance(found.noise, Noise) else None
    return (
        f"the readout {ansatz.strategy.value!r} was made for {made_for.size} {made_for.words}, and "
        f"with noise={noise}, detectors={found.detectors!r} and {asked} there are {shown.size} "
        "others: leave min_detected_photons out and take detectors that can show them, so that "
        "they alone are kept; or train with an Experiment of this noise and these detectors"
    )
