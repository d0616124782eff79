"""The photonic layer that a template's plain arguments describe, or its classical twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hybridlit.blocks.matched import MatchedMLP
from hybridlit.blocks.module_stack import ModuleStack
from hybridlit.checks import choice, enum_member
from hybridlit.photonics import Experiment, OutputMappingStrategy, QuantumLayer, QuantumLayerStack

__all__ = ["make_quantum", "output_size_of"]


def make_quantum(
    arguments: Mapping[str, Any], input_size: int, output_size: int, count: int | None = None
) -> nn.Module:
    """Build a photonic layer or stack, or a classical block of as many parameters.

    Args:
        arguments: The arguments of `HybridNetwork` that describe the circuit, by name.
        input_size: Number of features in [0, 1], at least 1.
        output_size: Number of outputs, unless `quantum_output_dim` is given or the mapping strategy
            leaves no choice.
        count: Number of layers to stack, or None for one without that dimension.

    Returns:
        A `QuantumLayer` or `QuantumLayerStack`; for `quantum="mlp"`, a `MatchedMLP` or a
        `ModuleStack` of them. All have an attribute `output_size`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, unknown or contradicts another.
    """
    choice(arguments["quantum"], "quantum", ("photonic", "mlp"))
    if arguments["quantum"] == "photonic":
        return _photonic(arguments, input_size, output_size, count)
    with torch.random.fork_rng(devices=[]):  # what it draws is thrown away
        original = _photonic(arguments, input_size, output_size, count)
    total = sum(parameter.numel() for parameter in original.parameters())
    if count is None:
        return MatchedMLP(input_size, original.output_size, total)
    return ModuleStack(
        MatchedMLP(input_size, original.output_size, total // count) for _ in range(count)
    )


def output_size_of(module: nn.Module) -> int:
    """Return the number of outputs of what `build_quantum` returned.

    Args:
        module: A photonic layer of any library, or its twin.

    Returns:
        Its attribute `output_size`.

    Raises:
        TypeError: If it has no such attribute.
    """
    size = getattr(module, "output_size", None)
    if not isinstance(size, int):
        raise TypeError(
            f"{type(module).__name__} has no integer attribute output_size: set it in build_quantum"
        )
    return size


def _photonic(
    arguments: Mapping[str, Any], input_size: int, output_size: int, count: int | None
) -> QuantumLayer | QuantumLayerStack:
    circuit = Experiment(
        circuit_type=arguments["circuit_type"],
        n_modes=arguments["n_modes"],
        n_photons=arguments["n_photons"],
        state_pattern=arguments["state_pattern"],
        use_bandwidth_tuning=arguments["use_bandwidth_tuning"],
        reservoir_mode=arguments["reservoir_mode"],
        computation_space=arguments["computation_space"],
    )
    name, outputs = "output_mapping_strategy", arguments["quantum_output_dim"]
    mapping = enum_member(OutputMappingStrategy, arguments[name], name)
    if outputs is None and mapping.readout.only_size is None:
        outputs = output_size
    if count is None:
        return QuantumLayer(
            input_size, outputs, experiment=circuit, output_mapping_strategy=mapping
        )
    return QuantumLayerStack(
        count, input_size, outputs, experiment=circuit, output_mapping_strategy=mapping
    )
