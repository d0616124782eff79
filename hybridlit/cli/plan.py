"""`hybridlit plan`: what a circuit will take, before it is built."""

from __future__ import annotations

from typing import Any

from hybridlit.photonics import CircuitTypeName, Experiment, PhotonicCircuit, SpaceName
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.description import imperfections
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.step_sizes import Step
from hybridlit.precisions import CORES, CoreName
from hybridlit.words import in_bytes, in_digits

__all__ = ["plan"]

_ERROR = 0.15  # of the estimate of memory, as its tests hold it


def plan(
    modes: int | None = None,
    photons: int | None = None,
    batch: int = 64,
    features: int | None = None,
    circuit_type: CircuitTypeName = "series",
    space: SpaceName = "fock",
    postselect: str | None = None,
    noise: str | dict[str, Any] | None = None,
    detectors: str | list[str] | None = None,
    min_detected_photons: int | None = None,
    dtype: CoreName = "float32",
    budget: str | None = None,
    config: str | None = None,
) -> None:
    """Print states, memory and time of a forward and backward pass through a circuit.

    Args:
        modes: Number of modes, at least 2; with a budget as many as it allows if not given.
        photons: Number of photons, at least 1; with a budget as many as it allows if not given.
        batch: Samples in a step, at least 1.
        features: Number of features; one fewer than modes if not given.
        circuit_type: Where the features enter the circuit.
        space: All outcomes, or only those with at most one photon a mode.
        postselect: Which outcomes to keep, such as '[0,1]==1 & [4]<2' or 'dual_rail'.
        noise: A preset, such as ascella, or fields of a Noise, such as '{transmittance: 0.3}'.
        detectors: 'pnr', 'threshold' or 'ppnr:k' with a number of wires k; or one for each mode.
        min_detected_photons: Outcomes that show fewer are dropped.
        dtype: Precision of the simulation.
        budget: Plan the largest circuit within it, such as '2GiB, 20ms', 'ascella' or 'machine'.
        config: Plan the circuits of a recipe instead, by file or name, of which nothing is built.
    """
    precision = CORES[dtype]
    if config is not None:
        if (modes, photons, features, budget) != (None,) * 4:
            raise ValueError("config has its circuits: leave modes, photons, features, budget out")
        for name, layer in _circuits(config).items():
            print(f"{name}: ", end="")
            _say(layer.experiment, layer.input_size, batch, dtype, layer.count or 1)
        return
    kind: dict[str, Any] = dict(
        circuit_type=circuit_type, computation_space=space, postselect=postselect, noise=noise,
        detectors=detectors, min_detected_photons=min_detected_photons,
    )  # fmt: skip
    if budget is not None:
        sizes: dict[str, Any] = dict(n_modes=modes, n_photons=photons, input_size=features)
        experiment = Experiment.largest(budget, **sizes, batch_size=batch, dtype=precision, **kind)
        modes, photons = experiment.n_modes, experiment.n_photons
    elif modes is None or photons is None:
        raise ValueError("give --modes and --photons, a --budget or a --config")
    else:
        experiment = Experiment(n_modes=modes, n_photons=photons, **kind)
    _say(experiment, modes - 1 if features is None else features, batch, dtype)


def _circuits(config: str) -> dict[str, PhotonicCircuit]:
    """Return the circuits of a recipe, without numbers."""
    # others than recipes go without Lightning
    from hybridlit.components import photonic_modules
    from hybridlit.recipe import read_recipe
    from hybridlit.recipe.building import build_data
    from hybridlit.recipe.cost import dtype_of, empty_model
    from hybridlit.templates.sizes import sizes_of

    settings = read_recipe(config)
    sizes = sizes_of(build_data(settings))
    found = photonic_modules(empty_model(settings["model"], sizes, dtype_of(settings)))
    circuits = {n: layer for n, layer in found.items() if isinstance(layer, PhotonicCircuit)}
    if not circuits:
        others = [f", but a {type(layer).__name__}" for layer in found.values()]
        raise ValueError(f"the model of {config} has no circuit to plan{''.join(others)}")
    return circuits


def _say(experiment: Experiment, inputs: int, batch: int, dtype: str, circuits: int = 1) -> None:
    precision, space = CORES[dtype], experiment.fock_space
    cost = estimate(experiment, inputs, batch, precision, circuits=circuits)
    size = f"{space.modes} modes, {space.photons} photons, {space.space.value} space"
    print(f"{size}, batch of {batch}, {dtype}\n{cost}")
    if imperfect := imperfections(experiment):
        outcomes = experiment.outcomes
        print(f"imperfect          {imperfect}: {in_digits(outcomes.size)} {outcomes.words}")
    if experiment.rule is not None:
        print(f"kept               {in_digits(experiment.outcomes.size)} by {experiment.rule}")
    try:
        left = Step.of(experiment, inputs, batch, precision, circuits=circuits).require_memory()
    except MemoryError as refusal:
        print(f"does not fit       {refusal}")
        return
    free = f"{in_bytes(available_memory())} of memory are free"
    if left < _ERROR * cost.peak_bytes:
        print(f"may not fit        {free}, and estimates are right to {_ERROR:.0%}")
    else:
        print(f"fits               {free}")
