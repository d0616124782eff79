"""Classical preprocessing, a photonic layer, classical postprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from hybridlit.blocks.dense import hidden_width
from hybridlit.blocks.normalization import NormalizationLayer, NormalizationName, RowSafeBatchNorm1d
from hybridlit.checks import integer, number
from hybridlit.constructors import taken_arguments
from hybridlit.templates.fronts import Inputs
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.quantum import output_size_of
from hybridlit.templates.sizes import knows_sizes, sizes_of
from hybridlit.templates.unbuilt import AutoInt
from hybridlit.undisturbed import undisturbed

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
        head_dim: Width of the hidden layer of `classical_post`; None: twice `output_dim`, but at
            least 16, since few units may all die, after which every row gets the same answer. What
            an older version has saved keeps its width, twice `output_dim`.
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
        self.register_load_state_dict_pre_hook(_keep_older_head)  # type: ignore[no-untyped-call]

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
        hidden = self.hparams["head_dim"] or hidden_width(outputs)
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

    # --- Lightning and torch ----------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Say so if `quantum_dim` and `output_dim`, often given by position, seem to be swapped."""
        super().on_fit_start()
        data, given = self.trainer.datamodule, self.hparams  # type: ignore[attr-defined]
        classes = sizes_of(data).classes if knows_sizes(data) else None
        if classes is None or given["task"] != "multiclass":
            return
        if given["quantum_dim"] == classes < given["output_dim"]:
            rank_zero_warn(
                f"output_dim={given['output_dim']} and quantum_dim={classes}, but the data have "
                f"{classes} classes: by position the order is input_dim, quantum_dim, output_dim; "
                "give them by name if two are swapped"
            )


def _keep_older_head(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give a model the head of the state that it is about to load, if that is one by default.

    Before version 0.2 that had twice `output_dim` units, however few. Shapes tell, so that whatever
    loads a state does it right. Parameters stay the same objects, which an optimizer may have.
    """
    assert isinstance(module, SequentialHybrid)
    place, given = f"{prefix}classical_post.", module.hparams
    saved = {n.removeprefix(place): v for n, v in state_dict.items() if n.startswith(place)}
    now, outputs = module.classical_post, given["output_dim"]
    if not saved or given["head_dim"] is not None or _shapes(saved) == _shapes(now.state_dict()):
        return
    for width in (2 * outputs, hidden_width(outputs)):
        given["head_dim"] = width
        try:
            with undisturbed():
                head = module.build_classical_post()
        finally:
            given["head_dim"] = None  # as the checkpoint has it
        if _shapes(saved) == _shapes(head.state_dict()):
            break
    else:
        return
    for name, theirs in list(head.named_parameters()):
        owner, _dot, own = name.rpartition(".")
        ours = now.get_parameter(name)
        ours.data, ours.grad = theirs.data.to(ours), None
        setattr(head.get_submodule(owner), own, ours)
    like = next(now.parameters(), None)
    module.classical_post = (head if like is None else head.to(like.device)).train(now.training)
    if "head_dim" in taken_arguments(type(module)):
        module.own_arguments["head_dim"] = width  # for whoever makes another one like it


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}
