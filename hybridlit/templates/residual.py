"""A classical network with a photonic correction of its last hidden layer."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from hybridlit.blocks import NormalizationLayer
from hybridlit.blocks.dense import dense, layer_widths
from hybridlit.blocks.residual_gate import make_gate
from hybridlit.checks import integer, number
from hybridlit.photonics import CircuitTypeName
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of

__all__ = ["ResidualHybrid"]


class ResidualHybrid(HybridNetwork):
    """`output_layer(h + gate(quantum_residual))`, where h are the features of a classical backbone.

    The gate starts closed, so that a new model is exactly its backbone, and training opens it as
    far as the residual helps. `quantum_residual` encodes what the backbone gives before its last
    ReLU, which has both signs: after it, a sigmoid would use only half of [0, 1].

    The residual adds a vector of rank at most the number of outcomes (10 for 2 photons in 4 modes),
    however wide the backbone is.

    Args:
        input_dim: Number of features, at least 1; None: the product of `input_shape`.
        output_dim: Number of outputs, at least 1: classes (multiclass), 1 (binary), or values.
        hidden_dims: Widths of the layers of `classical_backbone`; None: [64, 64].
        quantum_input_dim: Number of features that the photonic layer encodes, by a learned linear
            projection of the backbone's; None: all of these as they are. One column of phases holds
            n_modes - 1 features, and each further column adds an interferometer: the default of 6
            takes two columns in 4 modes, all 64 features would take 22.
        normalization: How features come into [0, 1]: `"sigmoid"`, `"tanh"`, `"minmax"` or
            `"standard"`; see `NormalizationLayer`.
        gate: `"zero"` for a learned factor of each feature, `"gated"` for one that depends on h.
        dropout: Share of hidden values of `classical_backbone` dropped in training, in [0, 1).
        circuit_type: As for `HybridNetwork`, and so are the next three.
        n_modes: Number of modes of the circuit, at least 2.
        n_photons: Number of photons, at least 1.
        use_bandwidth_tuning: Learn a factor for every encoded phase.
        **options: Front, circuit and training: the other arguments of `HybridNetwork`. With
            `quantum_output_dim` other than hidden_dims[-1], a linear layer brings the residual to
            that width.

    Attributes:
        hidden_dims: The widths, also where the argument was None.
        encoded_dim: Number of features that the photonic layer encodes.
        classical_backbone: From (batch, feature_dim) to (batch, hidden_dims[-1]), before the ReLU.
        projection: Learned projection before the normalization, or an identity.
        normalization: Into [0, 1].
        quantum_residual: The photonic layer.
        lift: From its outputs to (batch, hidden_dims[-1]): an identity or a linear layer.
        gate: From (residual, h) to the gated residual.
        output_layer: From (batch, hidden_dims[-1]) to (batch, output_dim).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, unknown or contradicts another.

    Example:
        >>> import torch
        >>> model = ResidualHybrid(input_dim=5, output_dim=3)
        >>> x = torch.randn(4, 5)
        >>> torch.equal(model(x), model.backbone_outputs(x))
        True
    """

    def __init__(
        self,
        input_dim: int | None,
        output_dim: int,
        *,
        hidden_dims: list[int] | None = None,
        quantum_input_dim: int | None = 6,
        normalization: Literal["sigmoid", "tanh", "minmax", "standard"] = "sigmoid",
        gate: Literal["zero", "gated"] = "zero",
        dropout: float = 0.0,
        circuit_type: CircuitTypeName = "series",
        n_modes: int = 4,
        n_photons: int = 2,
        use_bandwidth_tuning: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            input_dim=input_dim,
            output_dim=output_dim,
            circuit_type=circuit_type,
            n_modes=n_modes,
            n_photons=n_photons,
            use_bandwidth_tuning=use_bandwidth_tuning,
            **options,
        )
        number(dropout, "dropout", minimum=0.0, below=1.0)
        self.hidden_dims = layer_widths(hidden_dims, [64, 64])
        encoded, width = quantum_input_dim, self.hidden_dims[-1]
        self.encoded_dim = width if encoded is None else integer(encoded, "quantum_input_dim", 1)
        self.classical_backbone = self.build_classical_backbone()
        self.activation = nn.ReLU()
        self.projection = nn.Identity() if encoded is None else nn.Linear(width, self.encoded_dim)
        self.normalization = NormalizationLayer(normalization, num_features=self.encoded_dim)
        self.quantum_residual = self.build_quantum()
        outputs = output_size_of(self.quantum_residual)
        self.lift = nn.Identity() if outputs == width else nn.Linear(outputs, width)
        self.gate = make_gate(gate, width)
        self.output_layer = nn.Linear(width, self.hparams["output_dim"])

    def build_classical_backbone(self) -> nn.Module:
        """Build the module from (batch, feature_dim) to (batch, hidden_dims[-1]).

        Returns:
            Linear layers with ReLUs between them; the last ReLU follows outside.
        """
        return dense([self.feature_dim, *self.hidden_dims], self.hparams["dropout"])

    def build_quantum(self) -> nn.Module:
        """Build the module from (batch, encoded_dim) in [0, 1] to (batch, some outputs).

        Returns:
            A `QuantumLayer`, or its classical twin. Another library's layer must go through
            `mark_photonic`, and have an attribute `output_size`.
        """
        return self.make_quantum(self.encoded_dim, self.hidden_dims[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Run the backbone, correct its features, and read them.

        Args:
            x: Inputs of shape (batch, *input_shape) or (batch, input_dim).

        Returns:
            Outputs of shape (batch, output_dim): logits, or values for regression.

        Raises:
            TypeError: If `x` is no floating tensor, or outside autocast not of the model's dtype.
            ValueError: If the shape of `x` is wrong.
        """
        signed = self.classical_backbone(self.front_features(x))
        hidden = self.activation(signed)
        encoded = self.normalization(self.projection(signed))
        residual = self.lift(self.run_quantum(self.quantum_residual, encoded))
        outputs: Tensor = self.output_layer(hidden + self.gate(residual, hidden))
        return outputs

    def backbone_outputs(self, x: Tensor) -> Tensor:
        """Return what the model would without its photonic residual.

        Args:
            x: As for `forward`.

        Returns:
            Outputs of shape (batch, output_dim).
        """
        hidden = self.activation(self.classical_backbone(self.front_features(x)))
        outputs: Tensor = self.output_layer(hidden)
        return outputs
