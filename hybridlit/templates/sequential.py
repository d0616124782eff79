"""Classical preprocessing, a photonic layer, classical postprocessing."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from hybridlit.blocks import NormalizationLayer, RowSafeBatchNorm1d
from hybridlit.photonics import Experiment, QuantumLayer
from hybridlit.photonics.validation import integer, number
from hybridlit.templates.base import HybridModule

__all__ = ["SequentialHybrid"]


class SequentialHybrid(HybridModule):
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
        input_dim: Number of features, at least 1.
        quantum_dim: Number of features of the photonic layer, at least 1.
        output_dim: Number of outputs, at least 1: classes (multiclass), 1 (binary), or values.
        circuit_type: Where the features enter the circuit: `"series"`, `"parallel"` or
            `"parallel_columns"`.
        n_modes: Number of modes of the circuit, at least 2.
        n_photons: Number of photons, at least 1.
        computation_space: `"fock"` for all outcomes, `"unbunched"` for those with at most one
            photon in a mode.
        state_pattern: Where the photons enter: `"periodic"`, `"spaced"` or `"sequential"`.
        output_mapping_strategy: How outcome probabilities become the outputs of the photonic layer:
            `"linear"`, `"lexgrouping"` (also `"grouping"`), `"modgrouping"`, or `"none"` for all
            the probabilities.
        quantum_output_dim: Number of outputs of the photonic layer; None: twice `quantum_dim`, or
            all probabilities with `"none"`.
        use_bandwidth_tuning: Learn a factor for every encoded phase.
        reservoir_mode: Keep the interferometers as they were drawn.
        hidden_dim: Width of the hidden layer of `classical_pre`; None: twice `quantum_dim`.
        head_dim: Width of the hidden layer of `classical_post`; None: twice `output_dim`.
        normalization: How `classical_pre` ends in [0, 1]: `"sigmoid"`, `"tanh"`, `"minmax"` or
            `"standard"`; see `NormalizationLayer`.
        batch_norm: Use batch normalization in `classical_pre`. A training batch of one row uses the
            running statistics.
        dropout: Share of hidden values of `classical_post` dropped in training, in [0, 1).
        **training: `task`, `classical_lr`, `quantum_lr`, `weight_decay`, `schedule`,
            `warmup_epochs`, `quantum_schedule` and `quantum_warmup_epochs` of `HybridModule`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, unknown or contradicts another.

    Example:
        >>> import torch
        >>> model = SequentialHybrid(input_dim=10, quantum_dim=3, output_dim=2, n_modes=4)
        >>> model(torch.randn(5, 10)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        input_dim: int,
        quantum_dim: int,
        output_dim: int,
        *,
        circuit_type: Literal["series", "parallel", "parallel_columns"] = "series",
        n_modes: int = 6,
        n_photons: int = 3,
        computation_space: Literal["fock", "unbunched"] = "fock",
        state_pattern: Literal["periodic", "spaced", "sequential"] = "periodic",
        output_mapping_strategy: Literal[
            "linear", "grouping", "lexgrouping", "modgrouping", "none"
        ] = "linear",
        quantum_output_dim: int | None = None,
        use_bandwidth_tuning: bool = True,
        reservoir_mode: bool = False,
        hidden_dim: int | None = None,
        head_dim: int | None = None,
        normalization: Literal["sigmoid", "tanh", "minmax", "standard"] = "sigmoid",
        batch_norm: bool = True,
        dropout: float = 0.1,
        **training: Any,
    ) -> None:
        super().__init__(output_dim=output_dim, **training)
        for name in ("input_dim", "quantum_dim"):
            integer(self.hparams[name], name, 1)
        for name in ("quantum_output_dim", "hidden_dim", "head_dim"):
            if self.hparams[name] is not None:
                integer(self.hparams[name], name, 1)
        number(dropout, "dropout", minimum=0.0, below=1.0)
        self.classical_pre = self.build_classical_pre()
        self.quantum_layer = self.build_quantum()
        self.classical_post = self.build_classical_post()

    def build_classical_pre(self) -> nn.Module:
        """Build the module from (batch, input_dim) to (batch, quantum_dim) in [0, 1].

        Returns:
            Linear, batch normalization, ReLU, linear, normalization.
        """
        wide, narrow = self.hparams["input_dim"], self.hparams["quantum_dim"]
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

        Returns:
            A `QuantumLayer`. Another library's layer must go through `mark_photonic`, and have an
            attribute `output_size` unless `build_classical_post` is overridden too.
        """
        circuit = Experiment(
            circuit_type=self.hparams["circuit_type"],
            n_modes=self.hparams["n_modes"],
            n_photons=self.hparams["n_photons"],
            state_pattern=self.hparams["state_pattern"],
            use_bandwidth_tuning=self.hparams["use_bandwidth_tuning"],
            reservoir_mode=self.hparams["reservoir_mode"],
            computation_space=self.hparams["computation_space"],
        )
        mapping, outputs = (
            self.hparams["output_mapping_strategy"],
            self.hparams["quantum_output_dim"],
        )
        if outputs is None and mapping != "none":
            outputs = 2 * self.hparams["quantum_dim"]
        return QuantumLayer(
            self.hparams["quantum_dim"],
            outputs,
            experiment=circuit,
            output_mapping_strategy=mapping,
        )

    def build_classical_post(self) -> nn.Module:
        """Build the module from the outputs of `quantum_layer` to (batch, output_dim).

        Returns:
            Linear, ReLU, dropout, linear.
        """
        outputs = self.hparams["output_dim"]
        hidden = self.hparams["head_dim"] or 2 * outputs
        return nn.Sequential(
            nn.Linear(self._quantum_outputs(), hidden),
            nn.ReLU(),
            nn.Dropout(self.hparams["dropout"]),
            nn.Linear(hidden, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run the chain.

        Args:
            x: Features of shape (batch, input_dim).

        Returns:
            Outputs of shape (batch, output_dim): logits, or values for regression.

        Raises:
            TypeError: If `x` is no floating tensor, or float64 in a float32 model.
            ValueError: If the shape of `x` is wrong.
        """
        self.check_features(x)
        outputs: Tensor = self.classical_post(self.quantum_layer(self.classical_pre(x)))
        return outputs

    def _quantum_outputs(self) -> int:
        size = getattr(self.quantum_layer, "output_size", None)
        if not isinstance(size, int):
            raise TypeError(
                f"{type(self.quantum_layer).__name__} has no integer attribute output_size: set it "
                "in build_quantum, or override build_classical_post"
            )
        return size
