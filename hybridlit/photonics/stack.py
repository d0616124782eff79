"""Several photonic layers of one shape, simulated as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hybridlit.checks import integer
from hybridlit.photonics.circuit import PhotonicCircuit
from hybridlit.photonics.experiment import Ansatz, Experiment
from hybridlit.photonics.layer import QuantumLayer, resolved_ansatz
from hybridlit.photonics.readouts.table import OutputMappingStrategy

__all__ = ["QuantumLayerStack"]


class QuantumLayerStack(PhotonicCircuit):
    """``count`` layers like :class:`QuantumLayer`, each with parameters of its own.

    One simulation of a ``count`` times larger batch costs far less than ``count`` small ones.
    Parameters are those of a layer with a leading dimension ``count``, in one state dict.

    Args:
        count: number of layers, at least 1.
        input_size: number of features of each layer.
        output_size: number of outputs of each layer.
        ansatz: as for :class:`QuantumLayer`.
        experiment: as for :class:`QuantumLayer`.
        output_mapping_strategy: as for :class:`QuantumLayer`.
        recompute: as for :class:`QuantumLayer`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range or contradicts the ansatz.

    Example:
        >>> experiment = Experiment("series", n_modes=4, n_photons=2)
        >>> stack = QuantumLayerStack(3, 5, 8, experiment=experiment)
        >>> stack(torch.rand(16, 5)).shape
        torch.Size([16, 3, 8])
    """

    def __init__(
        self,
        count: int,
        input_size: int,
        output_size: int | None = None,
        *,
        ansatz: Ansatz | None = None,
        experiment: Experiment | None = None,
        output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR,
        recompute: bool | None = None,
    ) -> None:
        chosen = resolved_ansatz(
            input_size, output_size, ansatz, experiment, output_mapping_strategy
        )
        layers = integer(count, "count", 1)
        super().__init__(chosen, count=layers, recompute=recompute)

    @classmethod
    def from_layers(cls, layers: Sequence[QuantumLayer]) -> QuantumLayerStack:
        """Stack copies of layers that have the same ansatz.

        Args:
            layers: at least one.

        Returns:
            A stack whose layer k computes what ``layers[k]`` does.

        Raises:
            ValueError: if there is none, or two differ in their ansatz.
        """
        layers = list(layers)
        kinds = {_kind(layer) for layer in layers}
        if len(kinds) != 1:
            raise ValueError(
                "layers must be at least one and have the same ansatz, recompute and trainable "
                f"parameters, got {len(layers)} with {len(kinds)} different ones"
            )
        first = layers[0]
        stack = cls(len(layers), first.input_size, ansatz=first.ansatz, recompute=first.recompute)
        stack.to(first.phases)
        states = [layer.state_dict() for layer in layers]
        stack.load_state_dict({name: torch.stack([s[name] for s in states]) for name in states[0]})
        for name, parameter in first.named_parameters():
            stack.get_parameter(name).requires_grad_(parameter.requires_grad)
        return stack

    def layers(self) -> list[QuantumLayer]:
        """Return the layers one by one, as copies."""
        made = []
        for index in range(len(self.phases)):
            layer = QuantumLayer(self.input_size, ansatz=self.ansatz, recompute=self.recompute)
            layer.to(self.phases)
            layer.load_state_dict({k: value[index] for k, value in self.state_dict().items()})
            for name, parameter in layer.named_parameters():
                parameter.requires_grad_(self.get_parameter(name).requires_grad)
            made.append(layer)
        return made

    def forward(self, x: Tensor, each: bool = False) -> Tensor:
        """Give every layer the same features, or features of its own.

        Args:
            x: features, shape (..., input_size), real floating; with ``each``
                (..., count, input_size).
            each: whether every layer has features of its own.

        Returns:
            Shape (..., count, output_size).

        Raises:
            TypeError: if ``x`` is no floating tensor, or float64 in a float32 stack.
            ValueError: if its shape is wrong or, on the CPU, if a feature is not finite.
        """
        if each:
            self._check(x, (len(self.phases), self.input_size))
            return self._island(x, lambda rows: self._outputs(rows.transpose(0, 1)), lead=2)
        self._check(x, (self.input_size,))
        return self._island(x, self._outputs)

    def each(self, x: Tensor) -> Tensor:
        """Give every layer features of its own: ``stack(x, each=True)``, hooks included.

        Args:
            x: features, shape (..., count, input_size), real floating.

        Returns:
            Shape (..., count, output_size).
        """
        outputs: Tensor = self(x, each=True)
        return outputs

    def _outputs(self, rows: Tensor) -> Tensor:
        """Outputs (batch, count, output_size) of rows (..., batch, input_size)."""
        if self._has_expectations:
            return self._expectations(rows).transpose(0, 1)
        outputs: Tensor = self.readout(self._probabilities(rows)[0])
        return outputs.transpose(0, 1)


def _kind(layer: QuantumLayer) -> tuple[object, ...]:
    """What layers of one stack must have in common."""
    trainable = tuple((name, p.requires_grad) for name, p in layer.named_parameters())
    return layer.ansatz, layer.recompute, trainable
