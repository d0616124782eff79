"""A classical and a photonic path side by side, fused at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.blocks.dense import dense, layer_widths
from hybridlit.blocks.fusion import FusionName
from hybridlit.blocks.named_inputs import NamedInputs
from hybridlit.blocks.normalization import NormalizationName
from hybridlit.checks import choice, number
from hybridlit.photonics import CircuitTypeName
from hybridlit.templates.fronts import Inputs
from hybridlit.templates.hyperparameters import NOW_QUANTUM_DIM, FormerName
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of
from hybridlit.templates.unbuilt import AutoInt

__all__ = ["ParallelHybrid"]

_PATHS = ("classical_path", "quantum_path")


class ParallelHybrid(HybridNetwork):
    """Two paths from the same features: `classical_path` and `quantum_path`, joined by `fusion`.

    The photonic layer encodes the features themselves, or a learned projection of them to
    `quantum_dim`, after `normalization` has brought them into [0, 1]. Each part can be
    replaced by overriding its builder in a subclass.

    Args:
        input_dim: As for `HybridNetwork`, and so is `output_dim`.
        output_dim: Number of outputs.
        hidden_dims: Widths of the layers of `classical_path`, the last being the width of its
            output; None: [64, 32, 16].
        quantum_dim: Number of features that the photonic layer encodes, by a learned linear
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
        path_inputs: Which of the `inputs` by name a path sees, for instance `{"quantum_path":
            ["table"]}`; a path that is not named sees all. None: both see all.
        circuit_type: As for `HybridNetwork`, and so are the next three.
        n_modes: Number of modes.
        n_photons: Number of photons.
        quantum_output_dim: Number of outputs of the photonic layer; None: 16.
        quantum_input_dim: Former name of `quantum_dim`.
        **options: Front, circuit and training: the other arguments of `HybridNetwork`.

    Attributes:
        hidden_dims: The widths, also where the argument was None.
        encoded_dim: Number of features that the photonic layer encodes.
        classical_path: From (batch, feature_dim) to (batch, hidden_dims[-1]).
        projection: Learned projection before the normalization, or an identity.
        normalization: Into [0, 1].
        quantum_path: The photonic layer.
        paths: The outputs of both, as `without` and `path_dropout` let them through.
        fusion: From both outputs to (batch, output_dim).

    Example:
        >>> import torch
        >>> model = ParallelHybrid(input_dim=5, output_dim=3, fusion="gated")
        >>> model(torch.randn(4, 5)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        input_dim: AutoInt | None,
        output_dim: AutoInt,
        *,
        hidden_dims: list[int] | None = None,
        quantum_dim: int | None = None,
        normalization: NormalizationName = "sigmoid",
        fusion: FusionName = "concat",
        fusion_dim: int | None = None,
        dropout: float = 0.0,
        path_inputs: dict[str, list[str]] | None = None,
        circuit_type: CircuitTypeName = "parallel_columns",
        n_modes: int = 5,
        n_photons: int = 2,
        quantum_output_dim: int | None = None,
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
            **options,
        )
        number(dropout, "dropout", minimum=0.0, below=1.0)
        self.hidden_dims = layer_widths(hidden_dims, [64, 32, 16])
        if path_inputs is not None:
            _check_path_inputs(path_inputs, list(self.hparams["inputs"] or ()))
        self.classical_path = self.build_classical_path()
        self.add_encoding(self.seen_width("quantum_path"))
        self.quantum_path = self.build_quantum()
        outputs = output_size_of(self.quantum_path)
        self.components = {"classical": self.hidden_dims[-1], "quantum": outputs}
        self.add_paths({"classical_path": self.hidden_dims[-1], "quantum_path": outputs})
        self.fusion = self.build_fusion()

    def build_classical_path(self) -> nn.Module:
        """Build the module from (batch, seen_width) to (batch, hidden_dims[-1])."""
        return dense(
            [self.seen_width("classical_path"), *self.hidden_dims], self.hparams["dropout"]
        )

    def build_quantum(self) -> nn.Module:
        """Build the module from (batch, encoded_dim) in [0, 1] to (batch, some outputs)."""
        return self.make_quantum(self.encoded_dim, 16)

    def forward(self, x: Inputs) -> Tensor:
        """Map inputs to outputs (batch, output_dim).

        Args:
            x: Shape (batch, *input_shape) or (batch, input_dim); or inputs by name.
        """
        features = self.front_features(x)
        encoded = self.encoded_features(self.seen_features("quantum_path", features))
        quantum = self.run_quantum(self.quantum_path, encoded)
        classical = self.classical_path(self.seen_features("classical_path", features))
        outputs: Tensor = self.fusion(self.run_paths(classical, quantum))
        return outputs

    def seen_features(self, path: str, features: Tensor) -> Tensor:
        """Return those features (batch, feature_dim) that a path sees: (batch, seen_width)."""
        spans = self._seen_spans(path)
        return features if spans is None else torch.cat([features[:, span] for span in spans], 1)

    def seen_width(self, path: str) -> int:
        """Return how many features a path sees: `feature_dim`, unless `path_inputs` names fewer."""
        spans = self._seen_spans(path)
        return self.feature_dim if spans is None else sum(s.stop - s.start for s in spans)

    def _seen_spans(self, path: str) -> list[slice] | None:
        names = (self.hparams["path_inputs"] or {}).get(path)
        if names is None or not isinstance(self.front, NamedInputs):
            return None
        return [self.front.spans[name] for name in names]


def _check_path_inputs(given: dict[str, list[str]], inputs: list[str]) -> None:
    if not inputs:
        raise ValueError(f"path_inputs must be None without inputs by name, got {given!r}")
    for path, names in given.items():
        choice(path, "each key of path_inputs", _PATHS)
        for name in names:
            choice(name, f"path_inputs[{path!r}]", inputs)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"path_inputs[{path!r}] must name some inputs, once, got {names}")
    unseen = [n for n in inputs if all(n not in given.get(path, inputs) for path in _PATHS)]
    if unseen:
        raise ValueError(
            f"path_inputs must name every input in a path, got none that sees {unseen[0]!r}: leave "
            "it out of inputs"
        )
