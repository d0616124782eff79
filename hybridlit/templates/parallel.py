"""A classical and a photonic path side by side, fused at the end."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from hybridlit.blocks import NormalizationLayer
from hybridlit.blocks.dense import dense, layer_widths
from hybridlit.checks import integer, number
from hybridlit.photonics import CircuitTypeName
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of

__all__ = ["ParallelHybrid"]


class ParallelHybrid(HybridNetwork):
    """Two paths from the same features: `classical_path` and `quantum_path`, joined by `fusion`.

    The photonic layer encodes the features themselves, or a learned projection of them to
    `quantum_input_dim`, after `normalization` has brought them into [0, 1]. Each part can be
    replaced by overriding its builder in a subclass.

    Args:
        input_dim: Number of features, at least 1; None: the product of `input_shape`.
        output_dim: Number of outputs, at least 1: classes (multiclass), 1 (binary), or values.
        hidden_dims: Widths of the layers of `classical_path`, the last being the width of its
            output; None: [64, 32, 16].
        quantum_input_dim: Number of features that the photonic layer encodes, by a learned linear
            projection; None: all of them as they are. A circuit of type `"parallel_columns"` has an
            interferometer a feature, so with many features a projection is much faster.
        normalization: How features come into [0, 1]: `"sigmoid"`, `"tanh"`, `"minmax"` or
            `"standard"`; see `NormalizationLayer`. Sigmoid and tanh expect features of a scale
            around 1; for raw data without a projection prefer `"standard"`, fitted to the training
            data.
        fusion: `"concat"` for any interaction between the paths, `"sum"` for none, `"gated"` or
            `"attention"` for weights that depend on the input; see the blocks of these names.
        fusion_dim: Width of the hidden layer of `fusion`; None: its default.
        dropout: Share of hidden values of `classical_path` dropped in training, in [0, 1).
        circuit_type: As for `HybridNetwork`, and so are the next three.
        n_modes: Number of modes of the circuit, at least 2.
        n_photons: Number of photons, at least 1.
        quantum_output_dim: Number of outputs of the photonic layer; None: 16.
        **options: Front, circuit and training: the other arguments of `HybridNetwork`.

    Attributes:
        hidden_dims: The widths, also where the argument was None.
        encoded_dim: Number of features that the photonic layer encodes.
        classical_path: From (batch, feature_dim) to (batch, hidden_dims[-1]).
        projection: Learned projection before the normalization, or an identity.
        normalization: Into [0, 1].
        quantum_path: The photonic layer.
        fusion: From both outputs to (batch, output_dim).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, unknown or contradicts another.

    Example:
        >>> import torch
        >>> model = ParallelHybrid(input_dim=5, output_dim=3, fusion="gated")
        >>> model(torch.randn(4, 5)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        input_dim: int | None,
        output_dim: int,
        *,
        hidden_dims: list[int] | None = None,
        quantum_input_dim: int | None = None,
        normalization: Literal["sigmoid", "tanh", "minmax", "standard"] = "sigmoid",
        fusion: Literal["concat", "sum", "gated", "attention"] = "concat",
        fusion_dim: int | None = None,
        dropout: float = 0.0,
        circuit_type: CircuitTypeName = "parallel_columns",
        n_modes: int = 5,
        n_photons: int = 2,
        quantum_output_dim: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            input_dim=input_dim,
            output_dim=output_dim,
            circuit_type=circuit_type,
            n_modes=n_modes,
            n_photons=n_photons,
            quantum_output_dim=quantum_output_dim,
            **options,
        )
        number(dropout, "dropout", minimum=0.0, below=1.0)
        self.hidden_dims = layer_widths(hidden_dims, [64, 32, 16])
        encoded = quantum_input_dim
        self.encoded_dim = (
            self.feature_dim if encoded is None else integer(encoded, "quantum_input_dim", 1)
        )
        self.classical_path = self.build_classical_path()
        self.projection = (
            nn.Identity() if encoded is None else nn.Linear(self.feature_dim, self.encoded_dim)
        )
        self.normalization = NormalizationLayer(normalization, num_features=self.encoded_dim)
        self.quantum_path = self.build_quantum()
        outputs = output_size_of(self.quantum_path)
        self.components = {"classical": self.hidden_dims[-1], "quantum": outputs}
        self.fusion = self.build_fusion()

    def build_classical_path(self) -> nn.Module:
        """Build the module from (batch, feature_dim) to (batch, hidden_dims[-1]).

        Returns:
            Linear layers with ReLUs between them.
        """
        return dense([self.feature_dim, *self.hidden_dims], self.hparams["dropout"])

    def build_quantum(self) -> nn.Module:
        """Build the module from (batch, encoded_dim) in [0, 1] to (batch, some outputs).

        Returns:
            A `QuantumLayer`, or its classical twin. Another library's layer must go through
            `mark_photonic`, and have an attribute `output_size`.
        """
        return self.make_quantum(self.encoded_dim, 16)

    def build_fusion(self) -> nn.Module:
        """Build the module from [classical, quantum] outputs to (batch, output_dim).

        Returns:
            The block that the argument `fusion` names.
        """
        return self.make_fusion(self.components)

    def forward(self, x: Tensor) -> Tensor:
        """Run both paths and fuse them.

        Args:
            x: Inputs of shape (batch, *input_shape) or (batch, input_dim).

        Returns:
            Outputs of shape (batch, output_dim): logits, or values for regression.

        Raises:
            TypeError: If `x` is no floating tensor, or outside autocast not of the model's dtype.
            ValueError: If the shape of `x` is wrong.
        """
        features = self.front_features(x)
        encoded = self.normalization(self.projection(features))
        outputs: Tensor = self.fusion(
            [self.classical_path(features), self.run_quantum(self.quantum_path, encoded)]
        )
        return outputs
