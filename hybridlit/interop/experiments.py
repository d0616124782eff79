"""What stands around the circuit of a Perceval experiment: photons, noise, what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridlit.interop.circuits_in import circuit_of
from hybridlit.interop.noise import (
    detector_name,
    noise_of,
    noise_with,
    seen,
    with_noise,
    without_losses,
)
from hybridlit.interop.symbols import SymbolsIn
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import ComputationSpace
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.superposition import Superposition

__all__ = ["experiment_of", "placed_in", "with_surroundings"]


def placed_in(given: Any) -> list[tuple[Any, Any]]:
    """Return modes and component of each in a Perceval experiment, a single circuit unwrapped.

    Args:
        given: A `perceval.Experiment`, or a `perceval.Circuit` or component.
    """
    import perceval as pcvl

    if isinstance(given, pcvl.components.ACircuit):
        given = pcvl.Experiment(given)
    components: list[tuple[Any, Any]] = given.components
    if len(components) == 1 and components[0][1].m == given.circuit_size:
        components = given.flatten(max_depth=1)
    return components


def experiment_of(given: Any, symbols: SymbolsIn) -> Experiment:
    """Return a Perceval experiment as one of this package.

    Args:
        given: A `perceval.Experiment`.
        symbols: What its parameters are.

    Raises:
        ValueError: If there is something that cannot be simulated here.
    """
    placed, losses = without_losses(placed_in(given))
    circuit = circuit_of(placed, given.circuit_size, symbols)
    source = noise_of(given.noise)
    noise = noise_with(source, losses, circuit.n_modes)
    state = _input(given)
    photons = state.photons if isinstance(state, Superposition) else sum(state)
    if isinstance(state, Superposition) and not source.ideal_light:
        raise ValueError(
            f"noise of a source needs a Fock state as input, got {given.noise} and {state}: "
            "Perceval leaves it out for superpositions; add losses as LC behind the circuit"
        )
    wanted = _wanted(given, photons, source)
    few = _few(given, photons) if wanted == photons and noise.ideal_light else None
    detectors, space = None, ComputationSpace.FOCK
    if few is not None:  # all photons are seen, or the outcome is dropped
        wanted = 0
        if set(few) == set(range(circuit.n_modes)) and {*few.values()} == {1} and photons > 1:
            space, few = ComputationSpace.UNBUNCHED, {}
    else:
        few, most = {}, _most(photons, noise)
        detectors = [detector_name(found, mode, most) for mode, found in enumerate(given.detectors)]
    rules = [f"[{mode}]=={count}" for mode, count in sorted(given.heralds.items())]
    rules += [f"[{mode}]<={count}" for mode, count in few.items()]
    if given.post_select_fn.has_condition:
        rules.insert(0, _text(given.post_select_fn))
    return Experiment(
        circuit=circuit,
        input_state=state,
        computation_space=space,
        postselect=" & ".join(rules) or None,
        noise=None if noise.ideal else noise,
        detectors=detectors,
        min_detected_photons=wanted or None,
    )


def _input(given: Any) -> tuple[int, ...] | Superposition:
    import perceval as pcvl

    state = given.input_state
    if state is None:
        raise ValueError("the experiment must have an input state, got none; use with_input(...)")
    if isinstance(state, pcvl.SVDistribution) and len(state) == 1:
        (state,) = state.keys()  # as a StateVector is kept
    if isinstance(state, pcvl.StateVector):
        return Superposition.of(state)
    if not isinstance(state, pcvl.FockState):
        raise ValueError(f"the input must be a Fock state or a superposition of some, got {state}")
    return tuple(state)


def _most(photons: int, noise: Noise) -> int:
    """How many photons can arrive."""
    return photons * (2 if noise.g2 else 1)


def _wanted(given: Any, photons: int, noise: Noise) -> int:
    """How many photons must be seen together, heralded ones included.

    Those of an ideal source are all wanted unless something else is said, as Perceval does.
    """
    heralded = int(sum(given.heralds.values()))
    if given.min_photons_filter is None:
        return photons if noise.ideal_light else 0
    wanted, most = int(given.min_photons_filter) + heralded, _most(photons, noise)
    if wanted > most:
        raise ValueError(
            f"min_detected_photons_filter must be at most {most - heralded}, the photons that "
            f"are not heralded, got {given.min_photons_filter}: no outcome would be kept"
        )
    return wanted


def _few(given: Any, photons: int) -> dict[int, int] | None:
    """How many photons detectors see at most, by mode, where fewer than there may be.

    None where one does not say for sure how many there are, up to that number.
    """
    found = {}
    for mode, detector in enumerate(given.detectors):
        limit = None if detector is None else detector.max_detections
        limit = photons if limit is None else min(int(limit), photons)
        counted = np.zeros((photons + 1, photons + 1))
        counted[np.minimum(range(photons + 1), limit), range(photons + 1)] = 1
        if not np.array_equal(seen(detector, photons), counted):
            return None
        if limit < photons:
            found[mode] = limit
    return found


def _text(rule: Any) -> str:
    import perceval as pcvl

    text = str(rule)
    if pcvl.PostSelect(text) != rule:  # where `!` is in parentheses that the text leaves out
        raise ValueError(
            f"the post-selection must say itself in words, but Perceval takes its own {text!r} for "
            "another rule; put conditions with '!' last"
        )
    return f"({text})"


def _state_vector(state: Superposition) -> Any:
    import perceval as pcvl

    total = pcvl.StateVector()
    for occupation, amplitude in state.terms:
        total += amplitude * pcvl.StateVector(list(occupation))
    return total


def with_surroundings(made: Any, layer: PhotonicCircuit) -> Any:
    """Give an experiment the photons, noise, detectors and rules of a layer, and return it.

    Args:
        made: A `perceval.Experiment` of the layer's circuit.
        layer: A photonic layer.
    """
    import perceval as pcvl

    state: Any = layer.input_state
    if isinstance(state, Superposition):
        made.with_input(_state_vector(state))
    else:
        made.with_input(pcvl.BasicState(list(state)))
    with_noise(made, layer)
    experiment, modes = layer.experiment, range(layer.experiment.n_modes)
    rules = [] if experiment.rule is None else [f"({experiment.rule})"]
    least = experiment.min_detected_photons or 0
    if experiment.program is None:  # all photons are seen
        least = experiment.n_photons
        if layer.fock_space.unbunched:
            for mode in modes:
                made.add(mode, pcvl.Detector.threshold())
    elif layer.fock_space.unbunched:
        rules += [f"[{mode}]<=1" for mode in modes]
    if rules:
        rule = rules[0][1:-1] if len(rules) == 1 and experiment.rule else " & ".join(rules)
        made.set_postselection(pcvl.PostSelect(rule))
    made.min_detected_photons_filter(least)
    return made
