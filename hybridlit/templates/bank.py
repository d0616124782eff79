"""Several photonic layers side by side, simulated as one."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from hybridlit.blocks import MultiScale, NormalizationLayer
from hybridlit.checks import integer
from hybridlit.photonics import CircuitTypeName
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of

__all__ = ["ParallelBankHybrid"]


class ParallelBankHybrid(HybridNetwork):
    """A bank of photonic layers of one shape, `quantum_layers`, whose outputs `fusion` combines.

    All layers see the same features, or with `scales` each sees the input at another resolution.
    Either way they are one simulation of a larger batch, much faster than one after another.

    Args:
        input_dim: Number of features, at least 1; None: the product of `input_shape`.
        output_dim: Number of outputs, at least 1: classes (multiclass), 1 (binary), or values.
        n_layers: Number of photonic layers, at least 1; None: 4, or as many as `scales`.
        scales: Sides of the windows that the input is averaged over, one for each layer: features
            of a vector, steps of a sequence, squares of an image (after a front: its features);
            None: every layer sees the input as it is.
        quantum_input_dim: Number of features that each layer encodes, by a learned linear
            projection; None: all of them as they are, or with `scales` as many as the coarsest
            resolution has.
        normalization: How features come into [0, 1]: `"sigmoid"`, `"tanh"`, `"minmax"` or
            `"standard"`; see `NormalizationLayer`. Sigmoid and tanh expect features of a scale
            around 1; for raw data without a projection prefer `"standard"`, fitted to the training
            data.
        fusion: `"concat"` for any interaction between the layers, `"sum"` for none, `"gated"` or
            `"attention"` for weights that depend on the input; see the blocks of these names.
        fusion_dim: Width of the hidden layer of `fusion`; None: its default.
        circuit_type: As for `HybridNetwork`, and so are the next four.
        n_modes: Number of modes of the circuits, at least 2.
        n_photons: Number of photons, at least 1.
        quantum_output_dim: Number of outputs of each layer; None: 32.
        use_bandwidth_tuning: Learn a factor for every encoded phase.
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

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, unknown or contradicts another.

    Example:
        >>> import torch
        >>> model = ParallelBankHybrid(input_dim=6, output_dim=3, scales=[1, 2, 3])
        >>> model(torch.randn(4, 6)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        input_dim: int | None,
        output_dim: int,
        *,
        n_layers: int | None = None,
        scales: list[int] | None = None,
        quantum_input_dim: int | None = None,
        normalization: Literal["sigmoid", "tanh", "minmax", "standard"] = "sigmoid",
        fusion: Literal["concat", "sum", "gated", "attention"] = "concat",
        fusion_dim: int | None = None,
        circuit_type: CircuitTypeName = "parallel",
        n_modes: int = 4,
        n_photons: int = 2,
        quantum_output_dim: int | None = None,
        use_bandwidth_tuning: bool = False,
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
        self.encoded_dim = self.feature_dim
        self.projection: nn.Module = nn.Identity()
        if quantum_input_dim is not None:
            self.encoded_dim = integer(quantum_input_dim, "quantum_input_dim", 1)
        self.layer_count = 4 if n_layers is None else integer(n_layers, "n_layers", 1)
        if scales is not None:
            resolutions = MultiScale(self.feature_shape, scales, quantum_input_dim)
            if n_layers not in (None, len(scales)):
                raise ValueError(
                    f"n_layers must be None or {len(scales)}, the number of scales={scales}, got "
                    f"{n_layers}"
                )
            self.layer_count, self.encoded_dim = len(scales), resolutions.width
            self.projection = resolutions
        elif quantum_input_dim is not None:
            self.projection = nn.Linear(self.feature_dim, self.encoded_dim)
        self.normalization = NormalizationLayer(normalization, num_features=self.encoded_dim)
        self.quantum_layers = self.build_quantum()
        outputs = output_size_of(self.quantum_layers)
        self.components = {f"layer_{index}": outputs for index in range(self.layer_count)}
        self.fusion = self.build_fusion()

    def build_quantum(self) -> nn.Module:
        """Build the module from (batch, encoded_dim) in [0, 1] to (batch, layer_count, outputs).

        Returns:
            A `QuantumLayerStack`, or classical twins. Other libraries' layers must go through
            `mark_photonic` and then `ModuleStack`, which calls them one by one.
        """
        return self.make_quantum(self.encoded_dim, 32, self.layer_count)

    def build_fusion(self) -> nn.Module:
        """Build the module from a list of the layers' outputs to (batch, output_dim).

        Returns:
            The block that the argument `fusion` names.
        """
        return self.make_fusion(self.components)

    def forward(self, x: Tensor) -> Tensor:
        """Run all layers and fuse their outputs.

        Args:
            x: Inputs of shape (batch, *input_shape) or (batch, input_dim).

        Returns:
            Outputs of shape (batch, output_dim): logits, or values for regression.

        Raises:
            TypeError: If `x` is no floating tensor, or outside autocast not of the model's dtype.
            ValueError: If the shape of `x` is wrong.
        """
        features = self.front_features(x)
        layers: Any = self.quantum_layers
        run = layers
        if self.hparams["scales"] is not None:
            run = layers.each
            features = features.reshape(features.shape[0], *self.feature_shape)
        encoded = self.normalization(self.projection(features))
        outputs: Tensor = self.fusion(self.run_quantum(run, encoded).unbind(1))
        return outputs
