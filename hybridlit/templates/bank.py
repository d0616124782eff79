"""Several photonic layers side by side, simulated as one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hybridlit.blocks.fusion import FusionName
from hybridlit.blocks.multiscale import MultiScale
from hybridlit.blocks.normalization import NormalizationName
from hybridlit.checks import integer
from hybridlit.photonics import CircuitTypeName
from hybridlit.templates.fronts import Inputs
from hybridlit.templates.hyperparameters import NOW_QUANTUM_DIM, FormerName
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of
from hybridlit.templates.unbuilt import AutoInt

__all__ = ["ParallelBankHybrid"]


class ParallelBankHybrid(HybridNetwork):
    """A bank of photonic layers of one shape, `quantum_layers`, whose outputs `fusion` combines.

    All layers see the same features, or with `scales` each sees the input at another resolution.
    Either way they are one simulation of a larger batch, much faster than one after another.

    Args:
        input_dim: As for `HybridNetwork`, and so is `output_dim`.
        output_dim: Number of outputs.
        n_layers: Number of photonic layers, at least 1; None: 4, or as many as `scales`.
        scales: Sides of the windows that the input is averaged over, one for each layer: features
            of a vector, steps of a sequence, squares of an image (after a front: its features);
            None: every layer sees the input as it is.
        quantum_dim: Number of features that each layer encodes, by a learned linear
            projection; None: all of them as they are, or with `scales` as many as the coarsest
            resolution has.
        normalization: As for `ParallelHybrid`.
        fusion: As for `ParallelHybrid`, of the layers.
        fusion_dim: Width of the hidden layer of `fusion`; None: its default.
        circuit_type: As for `HybridNetwork`, and so are the next four.
        n_modes: Number of modes.
        n_photons: Number of photons.
        quantum_output_dim: Number of outputs of each layer; None: 32.
        use_bandwidth_tuning: Learn a factor for every encoded phase.
        quantum_input_dim: Former name of `quantum_dim`.
        **options: Front, circuit and training: the other arguments of `HybridNetwork`.

    Attributes:
        layer_count: Number of photonic layers, also where the argument was None.
        encoded_dim: Number of features that each of them encodes.
        projection: Learned projection before the normalization, an identity, or with `scales` a
            `MultiScale`.
        normalization: Into [0, 1].
        quantum_layers: The photonic layers as one `QuantumLayerStack`.
        fusion: From the outputs of all layers to (batch, output_dim). Its components are called
            `layer_0`, `layer_1`, ..., in the order of `scales` if there are some.

    Example:
        >>> import torch
        >>> model = ParallelBankHybrid(input_dim=6, output_dim=3, scales=[1, 2, 3])
        >>> model(torch.randn(4, 6)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        input_dim: AutoInt | None,
        output_dim: AutoInt,
        *,
        n_layers: int | None = None,
        scales: list[int] | None = None,
        quantum_dim: int | None = None,
        normalization: NormalizationName = "sigmoid",
        fusion: FusionName = "concat",
        fusion_dim: int | None = None,
        circuit_type: CircuitTypeName = "parallel",
        n_modes: int = 4,
        n_photons: int = 2,
        quantum_output_dim: int | None = None,
        use_bandwidth_tuning: bool = False,
        quantum_input_dim: int | FormerName | None = NOW_QUANTUM_DIM,
        **options: Any,
    ) -> None:
        super().__init__(
            input_dim=input_dim,
            output_dim=output_dim,
            circuit_type=circuit_type,
            n_modes=n_modes,
            n_photons=n_photons,
            quantum_output_dim=quantum_output_dim,
            use_bandwidth_tuning=use_bandwidth_tuning,
            **options,
        )
        self.layer_count = 4 if n_layers is None else integer(n_layers, "n_layers", 1)
        resolutions = None
        if scales is not None:
            resolutions = MultiScale(self.feature_shape, scales, self.hparams["quantum_dim"])
            if n_layers not in (None, len(scales)):
                raise ValueError(
                    f"n_layers must be None or {len(scales)}, the number of scales={scales}, got "
                    f"{n_layers}"
                )
            self.layer_count = len(scales)
        self.add_encoding(self.feature_dim, resolutions)
        self.quantum_layers = self.build_quantum()
        outputs = output_size_of(self.quantum_layers)
        self.components = {f"layer_{index}": outputs for index in range(self.layer_count)}
        self.add_paths(self.components)
        self.fusion = self.build_fusion()

    def build_quantum(self) -> nn.Module:
        """Build the module from (batch, encoded_dim) in [0, 1] to (batch, layer_count, outputs).

        Other libraries' layers go through `mark_photonic` and then `ModuleStack`, which calls them
        one by one.
        """
        return self.make_quantum(self.encoded_dim, 32, self.layer_count)

    def forward(self, x: Inputs) -> Tensor:
        """Map inputs to outputs (batch, output_dim).

        Args:
            x: Shape (batch, *input_shape) or (batch, input_dim); or inputs by name.
        """
        features = self.front_features(x)
        layers: Any = self.quantum_layers
        run = layers
        if self.hparams["scales"] is not None:
            run = layers.each
            features = features.reshape(features.shape[0], *self.feature_shape)
        layers = self.run_quantum(run, self.encoded_features(features)).unbind(1)
        outputs: Tensor = self.fusion(self.run_paths(*layers))
        return outputs
