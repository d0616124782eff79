"""What stands around the circuit of a Perceval experiment: photons, detectors, post-selection."""

from __future__ import annotations

from typing import Any

from hybridlit.interop.circuits_in import circuit_of
from hybridlit.interop.symbols import SymbolsIn
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import ComputationSpace
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
    import perceval as pcvl

    if given.noise is not None and given.noise != pcvl.NoiseModel():
        raise ValueError(
            f"noise is not simulated here, got {given.noise}; set experiment.noise = None, or for "
            "photons without any interference make a DistinguishableLayer of the experiment"
        )
    circuit = circuit_of(placed_in(given), given.circuit_size, symbols)
    state = _input(given)
    photons = state.photons if isinstance(state, Superposition) else sum(state)
    few = _few(given, photons)
    space = ComputationSpace.FOCK
    if set(few) == set(range(circuit.n_modes)) and {*few.values()} == {1} and photons > 1:
        space, few = ComputationSpace.UNBUNCHED, {}
    rules = [f"[{mode}]=={count}" for mode, count in sorted(given.heralds.items())]
    rules += [f"[{mode}]<={count}" for mode, count in few.items()]
    if given.post_select_fn.has_condition:
        rules.insert(0, _text(given.post_select_fn))
    return Experiment(
        circuit=circuit,
        input_state=state,
        computation_space=space,
        postselect=" & ".join(rules) or None,
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


def _few(given: Any, photons: int) -> dict[int, int]:
    """How many photons detectors see at most, by mode, where fewer than there may be.

    Only outcomes with all photons are kept if as many are asked for, as Perceval does unless told.
    """
    import perceval as pcvl

    heralded = sum(given.heralds.values())
    wanted = given.min_photons_filter
    wanted = photons if wanted is None else wanted + heralded
    if wanted > photons:
        raise ValueError(
            f"min_detected_photons_filter must be at most {photons - heralded}, the photons that "
            f"are not heralded, got {given.min_photons_filter}: no outcome would be kept"
        )
    found = {}
    for mode, detector in enumerate(given.detectors):
        if detector is None or detector.type is pcvl.DetectionType.PNR:
            continue
        if not _counts(detector):
            raise ValueError(
                f"detectors must count photons or click for any, got {detector.name!r} on mode "
                f"{mode}"
            )
        if wanted < photons and detector.max_detections < photons:
            raise ValueError(
                f"detectors that cannot tell photons apart need "
                f"min_detected_photons_filter({photons - heralded}), all of the photons, got "
                f"{detector.name!r} on mode {mode} and {given.min_photons_filter}"
            )
        if detector.max_detections < photons:
            found[mode] = int(detector.max_detections)
    return found


def _counts(detector: Any) -> bool:
    """Whether a detector says for sure how many photons there are, up to some number."""
    import perceval as pcvl

    limit = detector.max_detections
    if limit is None:
        return False
    found = {photons: detector.detect(photons) for photons in range(limit + 2)}
    return all(
        isinstance(seen, pcvl.FockState) and seen.n == min(photons, limit)
        for photons, seen in found.items()
    )


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
    """Give an experiment the photons, detectors and post-selection of a layer, and return it.

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
    if layer.experiment.rule is not None:
        made.set_postselection(pcvl.PostSelect(layer.experiment.rule))
    if layer.fock_space.unbunched:
        for mode in range(layer.experiment.n_modes):
            made.add(mode, pcvl.Detector.threshold())
    if not layer.interferes:
        made.noise = pcvl.NoiseModel(indistinguishability=0)
    made.min_detected_photons_filter(layer.experiment.n_photons)
    return made
