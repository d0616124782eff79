"""A photonic layer -> its circuit, with the numbers that it has."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.circuit.angles import Angle, Data
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import FixedUnitary, PhaseShifter
from hybridlit.photonics.circuit.lowering import Lowering
from hybridlit.photonics.circuit.values import Key, changed, parameter_values, with_values

__all__ = ["circuit_with_numbers"]


def circuit_with_numbers(
    layer: PhotonicCircuit, row: list[float] | None, index: int | None
) -> Circuit:
    """Return the circuit of a layer, its trainable angles named and beginning where they are.

    Args:
        layer: A photonic layer.
        row: Features; with them every angle is a number.
        index: Which layer of a stack.

    Raises:
        ValueError: If the index does not fit the layer.
    """
    if layer.count is None:
        if index is not None:
            raise ValueError(f"index must be None for a single layer, got {index!r}")
    elif isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < layer.count:
        raise ValueError(f"index must be one of {layer.count} layers, from 0, got {index}")

    def own(tensor: Tensor) -> Tensor:
        found = (tensor if index is None else tensor[index]).detach().cpu()
        return found if found.is_complex() else found.double()

    circuit = layer.experiment.circuit_for(layer.input_size)
    phases = own(layer.angles())
    values = parameter_values(circuit, phases.numpy())
    if layer.bandwidth is not None:
        factors = own(layer.bandwidth).tolist()
        if layer.experiment.circuit is not None:
            exact = copy.deepcopy(layer).to("cpu", torch.float64)
            circuit, values = _lowered(layer.lowering, own(exact.interferometers()), factors), {}
        else:  # one component for each encoded phase, in their order
            circuit = changed(circuit, _Tuned(iter(factors)))
    # what is not trained is a number, no symbol
    constant = set() if isinstance(layer.phases, nn.Parameter) else set(values)
    if not (layer.given and values):
        return with_values(circuit, values, row, constant)
    frozen = np.repeat(own(layer.frozen).bool().numpy(), phases[0].numel())
    constant |= {key for key, stays in zip(values, frozen, strict=True) if stays}
    first, *_, last = own(layer.mode_phases)  # what given interferometers have at both ends
    made = _shifted(Circuit(circuit.n_modes), first)
    return _shifted(made.add(with_values(circuit, values, row, constant)), -last)


def _shifted(circuit: Circuit, phases: Tensor) -> Circuit:
    for mode, phase in enumerate(phases.tolist()):
        if phase:
            circuit.add(PhaseShifter(phase), mode)
    return circuit


class _Tuned:
    """Data angles times the bandwidth of each."""

    def __init__(self, factors: Iterator[float]) -> None:
        self._factors = factors

    def __call__(self, angle: Angle, key: Key) -> Angle:
        if isinstance(angle, Data) and any(weight for _, weight in angle.weights):
            return Data(dict(angle.weights), scale=next(self._factors))
        return angle


def _lowered(lowering: Lowering, matrices: Tensor, factors: list[float]) -> Circuit:
    """Interferometers as they are, and a phase shifter for each encoded phase."""
    made = Circuit(lowering.modes).add(FixedUnitary(matrices[0]))
    scales = np.array(factors)[lowering.tuned_by].reshape(lowering.columns, lowering.modes)
    for column, tuned, matrix in zip(lowering.encoding, scales, matrices[1:], strict=True):
        for mode, weights in enumerate(column):
            if weights.any():
                made.add(PhaseShifter(Data(weights * math.pi, scale=tuned[mode])), mode)
        made.add(FixedUnitary(matrix))
    return made
