"""Classical preprocessing, a photonic layer, classical postprocessing."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hybridlit.blocks.normalization import NormalizationLayer, NormalizationName, RowSafeBatchNorm1d
from hybridlit.checks import integer, number
from hybridlit.templates.fronts import Inputs
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of
from hybridlit.templates.unbuilt import AutoInt

__all__ = ["SequentialHybrid"]


class SequentialHybrid(HybridNetwork):
    """A chain: `classical_pre`, then `quantum_layer`, then `classical_post`.

    `classical_pre` compresses the features to `quantum_dim` values in [0, 1], the photonic layer
    encodes these as phases, and `classical_post` reads its outputs; nothing goes around the
    photonic layer. Each of the three can be replaced by overriding its builder in a subclass. A
    subclass with arguments of its own finds them in `self.hparams` there:

        class Deep(SequentialHybrid):
            def __init__(self, *args, depth=2, **kwargs):
                super().__init__(*args, **kwargs)

            def build_classical_pre(self):
                ...  # self.hparams.depth, self.hparams.input_dim

    Args:
        input_dim: As for `HybridNetwork`, and so is `output_dim`.
        quantum_dim: Number of features of the photonic layer, at least 1. It has twice as many
            outputs unless `quantum_output_dim` says otherwise.
        output_dim: Number of outputs.
        hidden_dim: Width of the hidden layer of `classical_pre`; None: twice `quantum_dim`.
        head_dim: Width of the hidden layer of `classical_post`; None: twice `output_dim`. Few units
            may all die, after which every row gets the same answer; 16 or more rarely do.
        normalization: How `classical_pre` ends in [0, 1]: `"sigmoid"`, `"tanh"`, `"minmax"` or
            `"standard"`; see `NormalizationLayer`.
        batch_norm: Use batch normalization in `classical_pre`. A training batch of one row uses the
            running statistics.
        dropout: Share of hidden values of `classical_post` dropped in training, in [0, 1).
        **options: Front, circuit and training: the other arguments of `HybridNetwork`.

    Example:
        >>> import torch
        >>> model = SequentialHybrid(input_dim=10, quantum_dim=3, output_dim=2, n_modes=4)
        >>> model(torch.randn(5, 10)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        input_dim: AutoInt | None,
        quantum_dim: int,
        output_dim: AutoInt,
        *,
        hidden_dim: int | None = None,
        head_dim: int | None = None,
        normalization: NormalizationName = "sigmoid",
        batch_norm: bool = True,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(input_dim=input_dim, output_dim=output_dim, **options)
        integer(quantum_dim, "quantum_dim", 1)
        for name in ("hidden_dim", "head_dim"):
            if self.hparams[name] is not None:
                integer(self.hparams[name], name, 1)
        number(dropout, "dropout", minimum=0.0, below=1.0)
        self.classical_pre = self.build_classical_pre()
        self.quantum_layer = self.build_quantum()
        outputs = getattr(self.quantum_layer, "output_size", None)
        if isinstance(outputs, int):  # a layer of another library need not tell
            self.add_paths({"quantum_layer": outputs})
        self.classical_post = self.build_classical_post()

    def build_classical_pre(self) -> nn.Module:
        """Build the module from (batch, feature_dim) to (batch, quantum_dim) in [0, 1]."""
        wide, narrow = self.feature_dim, self.hparams["quantum_dim"]
        hidden = self.hparams["hidden_dim"] or 2 * narrow
        return nn.Sequential(
            nn.Linear(wide, hidden),
            *([RowSafeBatchNorm1d(hidden)] if self.hparams["batch_norm"] else []),
            nn.ReLU(),
            nn.Linear(hidden, narrow),
            NormalizationLayer(self.hparams["normalization"], num_features=narrow),
        )

    def build_quantum(self) -> nn.Module:
        """Build the module from (batch, quantum_dim) to (batch, some outputs).

        Another library's layer needs no attribute `output_size` if `build_classical_post` is
        overridden too.
        """
        narrow = self.hparams["quantum_dim"]
        return self.make_quantum(narrow, 2 * narrow)

    def build_classical_post(self) -> nn.Module:
        """Build the module from the outputs of `quantum_layer` to (batch, output_dim)."""
        outputs = self.hparams["output_dim"]
        hidden = self.hparams["head_dim"] or 2 * outputs
        return nn.Sequential(
            nn.Linear(output_size_of(self.quantum_layer), hidden),
            nn.ReLU(),
            nn.Dropout(self.hparams["dropout"]),
            nn.Linear(hidden, outputs),
        )

    def forward(self, x: Inputs) -> Tensor:
        """Map inputs to outputs (batch, output_dim).

        Args:
            x: Shape (batch, *input_shape) or (batch, input_dim); or inputs by name.
        """
        encoded = self.classical_pre(self.front_features(x))
        [quantum] = self.run_paths(self.run_quantum(self.quantum_layer, encoded))
        outputs: Tensor = self.classical_post(quantum)
        return outputs
