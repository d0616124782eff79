"""The photonic layer that a template's arguments describe, or its classical twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from hybridlit.blocks.stand_ins import MatchedMLP
from hybridlit.blocks.wrappers import ModuleStack
from hybridlit.checks import choice, enum_member
from hybridlit.constructors import ConstructorCall, given_arguments, plain
from hybridlit.photonics import (
    Circuit,
    Experiment,
    Noise,
    OutputMappingStrategy,
    QuantumLayer,
    QuantumLayerStack,
    Superposition,
)
from hybridlit.templates.hyperparameters import nearest

__all__ = [
    "CIRCUIT_ARGUMENTS",
    "TWINS",
    "QuantumName",
    "as_experiment",
    "experiment_of",
    "fields_of",
    "make_quantum",
    "output_size_of",
    "refuse_contradictions",
]

CIRCUIT_ARGUMENTS = (
    "circuit_type",
    "n_modes",
    "n_photons",
    "state_pattern",
    "use_bandwidth_tuning",
    "reservoir_mode",
    "computation_space",
)
"""Arguments of `HybridNetwork` that are fields of an `Experiment` as well."""


def as_experiment(given: Experiment | Mapping[str, Any]) -> Experiment:
    """Make an experiment of one, of its fields by name, or of `class_path` and `init_args`."""
    if isinstance(given, Experiment):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            "experiment must be a hybridlit.Experiment, or its fields by name, got "
            f"{type(given).__name__} {given!r}"
        )
    if "class_path" in given:
        if str(given["class_path"]).rpartition(".")[2] != Experiment.__name__:
            raise ValueError(
                f"the class_path of experiment must be hybridlit.Experiment, got "
                f"{given['class_path']!r}"
            )
        others = [name for name in given if name not in ("class_path", "init_args")]
        given = given.get("init_args") or {}
        if others or not isinstance(given, Mapping):
            raise ValueError(
                "experiment must hold its fields by name in init_args, beside class_path, got "
                + (f"{others[0]!r} beside it" if others else f"init_args={given!r}")
            )
    known = [field.name for field in fields(Experiment)]
    for name in given:
        if name not in known:
            raise TypeError(
                f"experiment has no field {name!r}{nearest(name, known)}; it has {known}"
            )
    return Experiment(**given)


def fields_of(experiment: Experiment) -> dict[str, Any]:
    """Return the fields of an experiment that differ from their defaults, as plain values."""
    found = {}
    for field in fields(Experiment):
        value = _listed(getattr(experiment, field.name))
        if value != _listed(field.default):
            found[field.name] = value
    return found


def experiment_of(arguments: Mapping[str, Any]) -> Experiment:
    """Return the experiment that the arguments of `HybridNetwork` describe."""
    whole = arguments.get("experiment")
    if whole is not None:
        return as_experiment(whole)
    return Experiment(**{name: arguments[name] for name in CIRCUIT_ARGUMENTS})


def refuse_contradictions(experiment: Experiment, calls: list[ConstructorCall]) -> None:
    """Refuse circuit arguments that were given beside an experiment and contradict it.

    What a constructor has by default does not count as given.
    """
    given = given_arguments(calls, CIRCUIT_ARGUMENTS)
    for name, value in given.items():
        own = plain(getattr(experiment, name))
        value = plain(value)
        if own != (value.lower() if isinstance(value, str) else value):
            other = "an encoding" if experiment.circuit is None else "a circuit"
            why = f"whose {name} is {own!r}" if own is not None else f"which has {other} instead"
            raise ValueError(
                f"{name}={value!r} contradicts experiment, {why}: leave {name} out, or change the "
                "experiment"
            )


def _photonic(layers: Callable[[], nn.Module], input_size: int, count: int | None) -> nn.Module:
    return layers()


def _matched(layers: Callable[[], nn.Module], input_size: int, count: int | None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # what it draws is thrown away
        original: Any = layers()
    total = sum(parameter.numel() for parameter in original.parameters())
    if count is None:
        return MatchedMLP(input_size, original.output_size, total)
    return ModuleStack(
        MatchedMLP(input_size, original.output_size, total // count) for _ in range(count)
    )


TWINS: dict[str, Callable[[Callable[[], nn.Module], int, int | None], nn.Module]] = {
    "photonic": _photonic,
    "mlp": _matched,
}
"""What stands in the photonic layer's place, by name: from a maker of it, its width and count."""

if TYPE_CHECKING:
    QuantumName: TypeAlias = str
else:
    QuantumName = Literal[tuple(TWINS)]


def make_quantum(
    arguments: Mapping[str, Any],
    input_size: int,
    output_size: int,
    count: int | None = None,
    experiment: Experiment | Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a photonic layer or stack, or its twin, for the arguments of `HybridNetwork` by name.

    The others are as for its method `make_quantum`.
    """
    choice(arguments["quantum"], "quantum", TWINS)
    circuit = experiment_of(arguments) if experiment is None else as_experiment(experiment)
    width, what = circuit.input_size, "an encoding" if circuit.circuit is None else "a circuit"
    if width == 0:
        raise ValueError("experiment must have a circuit with angles that data turn, got none")
    if width not in (None, input_size):
        raise ValueError(
            f"experiment has {what} of {width} features, and the photonic layer gets {input_size}: "
            f"give quantum_dim={width}, or {what} of {input_size}"
        )
    name, outputs = "output_mapping_strategy", arguments["quantum_output_dim"]
    mapping = enum_member(OutputMappingStrategy, arguments[name], name)
    if outputs is None and mapping.readout.only_size is None:
        outputs = output_size

    def layers() -> nn.Module:
        made: dict[str, Any] = dict(experiment=circuit, output_mapping_strategy=mapping)
        made |= {name: arguments[name] for name in ("shots", "shot_gradient")}
        if count is None:
            return QuantumLayer(input_size, outputs, **made)
        return QuantumLayerStack(count, input_size, outputs, **made)

    return TWINS[arguments["quantum"]](layers, input_size, count)


def output_size_of(module: nn.Module) -> int:
    """Return the attribute `output_size` of what `build_quantum` returned, of any library."""
    size = getattr(module, "output_size", None)
    if not isinstance(size, int):
        raise TypeError(
            f"{type(module).__name__} has no integer attribute output_size: set it in build_quantum"
        )
    return size


def _listed(value: Any) -> Any:
    """Turn what experiments hold into lists, which YAML and checkpoints hold as well."""
    if isinstance(value, Circuit):
        return value.plain()["components"]
    if isinstance(value, (Noise, Superposition)):
        return value.plain()
    if isinstance(value, (np.ndarray, Tensor)):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [_listed(entry) for entry in value]
    return plain(value)
