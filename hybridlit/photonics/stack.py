"""Several photonic layers of one shape, simulated as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from hybridlit.checks import integer
from hybridlit.photonics.ansatz import Ansatz
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.layer import QuantumLayer, resolved_ansatz, take_over
from hybridlit.photonics.noise.shots import ShotGradientName
from hybridlit.photonics.readouts.table import OutputMappingStrategy

__all__ = ["QuantumLayerStack"]

_OF_DEVICE = "noise."
"""How names of values begin that all circuits of a stack share."""


class QuantumLayerStack(PhotonicCircuit):
    """`count` layers like `QuantumLayer`, each with parameters of its own.

    One simulation of a `count` times larger batch costs far less than `count` small ones.
    Parameters are those of a layer with a leading dimension `count`, in one state dict; all are of
    one device, whose noise, learned or not, they share.

    Args:
        count: Number of layers, at least 1.
        input_size: Number of features of each layer.
        output_size: Number of outputs of each layer.
        ansatz: As for `QuantumLayer`, and so are the others.
        experiment: The circuit, instead of an ansatz.
        output_mapping_strategy: As for `QuantumLayer`.
        recompute: Simulate again for the gradient.
        shots: How often each sample is measured by each layer, as for `QuantumLayer`.
        shot_gradient: Of frequencies.
        device: Where parameters and buffers are.
        dtype: Precision.
        **circuit: The fields of an `Experiment`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range or contradicts the ansatz.

    Example:
        >>> stack = QuantumLayerStack(3, 5, 8, n_modes=4, n_photons=2)
        >>> stack(torch.rand(16, 5)).shape
        torch.Size([16, 3, 8])
    """

    _one: ClassVar[type[QuantumLayer]] = QuantumLayer

    def __init__(
        self,
        count: int,
        input_size: int,
        output_size: int | None = None,
        *,
        ansatz: Ansatz | None = None,
        experiment: Experiment | None = None,
        output_mapping_strategy: OutputMappingStrategy | str | None = None,
        recompute: bool | None = None,
        shots: int | None = None,
        shot_gradient: ShotGradientName = "exact",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **circuit: Any,
    ) -> None:
        chosen = resolved_ansatz(
            input_size, output_size, ansatz, experiment, output_mapping_strategy, circuit
        )
        count = integer(count, "count", 1)
        super().__init__(chosen, count, recompute, shots, shot_gradient, device, dtype)

    @classmethod
    def from_layers(cls, layers: Sequence[QuantumLayer]) -> QuantumLayerStack:
        """Stack copies of layers that have the same ansatz.

        Args:
            layers: At least one.

        Returns:
            A stack whose layer k computes what `layers[k]` does.

        Raises:
            TypeError: If one is no layer, or its photons are not of the stack's kind.
            ValueError: If there is none, or two differ in more than the values of their parameters,
                or in the values of their noise.
        """
        layers = list(layers)
        for layer in layers:
            same = getattr(type(layer), "_probabilities", None) is cls._one._probabilities
            if not same or layer.interferes is not cls._one.interferes:
                raise TypeError(
                    f"layers of a {cls.__name__} must be of the kind {cls._one.__name__}, got "
                    f"{type(layer).__name__}"
                )
        kinds = {_kind(layer) for layer in layers}
        if len(kinds) != 1:
            raise ValueError(
                "layers must be at least one and have the same ansatz, recompute, shots, "
                "precision, device and trainable parameters, and set_unitary called on all or "
                "none, got "
                f"{len(layers)} with {len(kinds)} different ones"
            )
        first = layers[0]
        stack = cls(len(layers), first.input_size, ansatz=first.ansatz, recompute=first.recompute)
        states = [layer.state_dict() for layer in layers]
        shared = {name: states[0][name] for name in states[0] if name.startswith(_OF_DEVICE)}
        if any(not torch.equal(s[name], value) for s in states for name, value in shared.items()):
            raise ValueError(
                "layers must be of one device to share its noise, got different values of "
                f"{', '.join(shared)}: load one state dict of layer.noise into all of them first"
            )
        stacked = {name: torch.stack([s[name] for s in states]) for name in states[0]} | shared
        take_over(stack, first, stacked)
        return stack

    def layers(self) -> list[QuantumLayer]:
        """Return the layers one by one, as copies."""
        made = []
        for index in range(len(self.phases)):
            layer = self._one(self.input_size, ansatz=self.ansatz, recompute=self.recompute)
            state = self.state_dict().items()
            own = {k: v if k.startswith(_OF_DEVICE) else v[index] for k, v in state}
            take_over(layer, self, own)
            made.append(layer)
        return made

    def forward(  # type: ignore[override]
        self, x: Tensor | int | None = None, each: bool = False, state: Tensor | None = None
    ) -> Tensor:
        """Give every layer the same features, or features of its own.

        Args:
            x: Features, shape (..., input_size), real floating; with `each`
                (..., count, input_size).
            each: Whether every layer has features of its own.
            state: What enters every layer instead of `input_state`, as for `QuantumLayer`; or,
                beside an `x` of shape (..., input_size) or a batch size, what enters each of them,
                shape (..., count, K).

        Returns:
            Shape (..., count, output_size).

        Raises:
            TypeError: If `x` is no floating tensor, or float64 in a float32 stack.
            ValueError: If its shape is wrong or, on the CPU, if a feature is not finite.
        """
        return self._read(x, self._outputs, each, state, alike=self.shots is None)

    def each(self, x: Tensor) -> Tensor:
        """Give every layer features of its own: `stack(x, each=True)`, hooks included.

        Args:
            x: Features, shape (..., count, input_size), real floating.

        Returns:
            Shape (..., count, output_size).
        """
        outputs: Tensor = self(x, each=True)
        return outputs


def _kind(layer: QuantumLayer) -> tuple[object, ...]:
    """What layers of one stack must have in common."""
    trainable = tuple((name, p.requires_grad) for name, p in layer.named_parameters())
    named = tuple(layer.state_dict())  # those of given interferometers as well
    how = layer.recompute, layer.shots, layer.shot_gradient
    return layer.ansatz, how, layer.phases.dtype, layer.phases.device, trainable, named
