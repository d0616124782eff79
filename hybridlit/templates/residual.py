"""A classical network with a photonic correction of its last hidden layer."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from hybridlit.blocks.dense import dense, layer_widths
from hybridlit.blocks.normalization import NormalizationName
from hybridlit.blocks.residual_gate import GateName, GradualGate, make_gate
from hybridlit.checks import number
from hybridlit.photonics import CircuitTypeName
from hybridlit.templates.fronts import Inputs
from hybridlit.templates.hyperparameters import NOW_QUANTUM_DIM, FormerName
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of
from hybridlit.templates.training.run_length import RunLength
from hybridlit.templates.unbuilt import AutoInt

__all__ = ["ResidualHybrid"]


class ResidualHybrid(HybridNetwork):
    """`output_layer(h + gate(quantum_residual))`, where h are the features of a classical backbone.

    The gate starts closed, so that a new model is exactly its backbone, and training opens it as
    far as the residual helps. `quantum_residual` encodes what the backbone gives before its last
    ReLU, which has both signs: after it, a sigmoid would use only half of [0, 1].

    The residual adds a vector of rank at most the number of outcomes (10 for 2 photons in 4 modes),
    however wide the backbone is.

    Args:
        input_dim: As for `HybridNetwork`, and so is `output_dim`.
        output_dim: Number of outputs.
        hidden_dims: Widths of the layers of `classical_backbone`; None: [64, 64].
        quantum_dim: Number of features that the photonic layer encodes, by a learned linear
            projection of the backbone's; None: all of these as they are. One column of phases holds
            n_modes - 1 features, and each further column adds an interferometer: the default of 6
            takes two columns in 4 modes, all 64 features would take 22.
        normalization: How features come into [0, 1]: `"sigmoid"`, `"tanh"`, `"minmax"` or
            `"standard"`; see `NormalizationLayer`.
        gate: `"zero"` for a learned factor of each feature, `"gated"` for one that depends on h.
        gate_epochs: `[begin, end]`: a factor before the gated residual, which is 0 up to the epoch
            `begin`, from 0, and rises with every step of a Trainer to 1 at `end`; fractions are
            allowed. With data of unknown length it rises with every epoch. See `GradualGate`. None:
            no such factor.
        dropout: Share of hidden values of `classical_backbone` dropped in training, in [0, 1).
        circuit_type: As for `HybridNetwork`, and so are the next three.
        n_modes: Number of modes.
        n_photons: Number of photons.
        use_bandwidth_tuning: Learn a factor for every encoded phase.
        quantum_input_dim: Former name of `quantum_dim`.
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

    Example:
        >>> import torch
        >>> model = ResidualHybrid(input_dim=5, output_dim=3)
        >>> x = torch.randn(4, 5)
        >>> torch.equal(model(x), model.backbone_outputs(x))
        True
    """

    def __init__(
        self,
        input_dim: AutoInt | None,
        output_dim: AutoInt,
        *,
        hidden_dims: list[int] | None = None,
        quantum_dim: int | None = 6,
        normalization: NormalizationName = "sigmoid",
        gate: GateName = "zero",
        gate_epochs: list[float] | None = None,
        dropout: float = 0.0,
        circuit_type: CircuitTypeName = "series",
        n_modes: int = 4,
        n_photons: int = 2,
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
            use_bandwidth_tuning=use_bandwidth_tuning,
            **options,
        )
        number(dropout, "dropout", minimum=0.0, below=1.0)
        self.hidden_dims = layer_widths(hidden_dims, [64, 64])
        width = self.hidden_dims[-1]
        self.classical_backbone = self.build_classical_backbone()
        self.activation = nn.ReLU()
        self.add_encoding(width)
        self.quantum_residual = self.build_quantum()
        outputs = output_size_of(self.quantum_residual)
        self.add_paths({"quantum_residual": outputs})
        self.lift = nn.Identity() if outputs == width else nn.Linear(outputs, width)
        self.gate = make_gate(gate, width)
        if gate_epochs is not None:
            self.gate = GradualGate(self.gate, gate_epochs)
        self.output_layer = nn.Linear(width, self.hparams["output_dim"])

    def build_classical_backbone(self) -> nn.Module:
        """Build the module from (batch, feature_dim) to (batch, hidden_dims[-1]), before a ReLU."""
        return dense([self.feature_dim, *self.hidden_dims], self.hparams["dropout"])

    def build_quantum(self) -> nn.Module:
        """Build the module from (batch, encoded_dim) in [0, 1] to (batch, some outputs)."""
        return self.make_quantum(self.encoded_dim, self.hidden_dims[-1])

    def forward(self, x: Inputs) -> Tensor:
        """Map inputs to outputs (batch, output_dim).

        Args:
            x: Shape (batch, *input_shape) or (batch, input_dim); or inputs by name.
        """
        signed = self.classical_backbone(self.front_features(x))
        hidden = self.activation(signed)
        encoded = self.encoded_features(signed)
        [residual] = self.run_paths(self.run_quantum(self.quantum_residual, encoded))
        residual = self.lift(residual)
        outputs: Tensor = self.output_layer(hidden + self.gate(residual, hidden))
        return outputs

    def on_train_start(self) -> None:
        """Say so if the run ends before the residual counts in full."""
        super().on_train_start()
        if not isinstance(self.gate, GradualGate):
            return
        trainer, end = self.trainer, self.gate.gate_epochs[1]
        ends = ""
        if trainer.max_epochs is not None and 0 <= trainer.max_epochs < end:
            ends = f"max_epochs={trainer.max_epochs}"
        elif trainer.max_steps >= 0 and math.isfinite(trainer.num_training_batches):
            length = RunLength.of(trainer)
            ends = f"max_steps={trainer.max_steps}" * (length.total < length.step_at(end))
        if ends:
            rank_zero_warn(
                f"{ends} ends before gate_epochs={[*self.gate.gate_epochs]} lets all of the "
                "residual through"
            )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Open a gradual gate as far as the end of this step, or else of this epoch, asks for."""
        if isinstance(self.gate, GradualGate):
            batches = self.trainer.num_training_batches
            done = (batch_idx + 1) / batches if math.isfinite(batches) else 1.0
            self.gate.open_to(self.current_epoch + done)

    def backbone_outputs(self, x: Inputs) -> Tensor:
        """Return what `forward` would without the photonic residual."""
        hidden = self.activation(self.classical_backbone(self.front_features(x)))
        outputs: Tensor = self.output_layer(hidden)
        return outputs
