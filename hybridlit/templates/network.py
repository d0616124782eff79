"""What the templates' networks share: a classical front, the photonic layer, and its twin."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hybridlit.blocks.fronts import FrontName
from hybridlit.blocks.fusion import Fusion, make_fusion
from hybridlit.blocks.normalization import projected
from hybridlit.checks import integer
from hybridlit.components import photonic_modules
from hybridlit.constructors import constructor_calls, plain
from hybridlit.data.scaling import AutoName
from hybridlit.photonics import (
    CircuitTypeName,
    Experiment,
    ReadoutName,
    ShotGradientName,
    SpaceName,
    StatePatternName,
)
from hybridlit.templates.fronts import Fronted
from hybridlit.templates.paths import HavingPaths
from hybridlit.templates.quantum import (
    CIRCUIT_ARGUMENTS,
    QuantumName,
    as_experiment,
    fields_of,
    make_quantum,
    refuse_contradictions,
)
from hybridlit.templates.unbuilt import AutoInt

__all__ = ["HybridNetwork"]


class HybridNetwork(HavingPaths, Fronted):
    """Base class of the templates: the parts of a network that do not depend on its topology.

    A subclass builds its modules in `__init__`, after `super().__init__()`, from builders that can
    be overridden, and defines `forward`, which starts with `self.front_features(x)`. Every template
    has the builders `build_front`, for any classical backbone, and `build_quantum`, for any
    photonic layer: one of another library goes through `mark_photonic`, and needs an attribute
    `output_size`.

    Logged besides what `HybridModule` logs: `fusion/weight_<component>`, the mean weight of each
    component over the rows of a training epoch, by a fusion that has weights.

    Args:
        input_dim: Number of features, at least 1; None: the product of `input_shape`; `"auto"`: as
            many as the data have, and unless `input_shape` is given, in the shape they have.
        output_dim: Number of outputs, at least 1: classes (multiclass), 1 (binary), or values;
            `"auto"`: what the data need.
        input_shape: Shape of one input, without the batch: [features], [steps, features] of a
            sequence or [channels, height, width] of an image; None: [`input_dim`]. A batch may also
            come flat, with shape (batch, input_dim).
        inputs: Several inputs by name instead of one, each with its number of features or its
            shape, such as `{"image": [1, 8, 8], "table": 12}`; `"auto"`, or `input_dim="auto"`: as
            the data have them. Then `forward` takes a dictionary of tensors (batch, *shape), or all
            side by side in this order, (batch, input_dim). Where an input of a row is NaN in all
            its entries, it is missing, and the mean of its features stands in: see `NamedInputs`.
            None: one input.
        front: Classical network before everything else: `"cnn"` for images, `"conv1d"` or `"gru"`
            for sequences, None for none. What follows then sees `front_dim` features; without a
            front it sees `input_dim`. A network of others by its class path, as in YAML:
            `{"class_path": "torchvision.models.mobilenet_v3_small", "init_args": {...}}`, a class
            that is an `nn.Module` or a function that is annotated to return one, from (batch,
            *input_shape) to features (batch, any number). With `inputs`, a dictionary of these by
            name, and so are `front_dim` and `front_weights`.
        front_dim: Number of features that the front gives, at least 1; None: 32, or whatever a
            network of others or an overridden `build_front` gives. Behind a network of others it
            adds a linear layer.
        front_weights: Path of a file with weights for the front, which loads with
            `weights_only=True`: a state dict, or a checkpoint of a model with the same front.
            Checkpoints hold the weights of the model, and not this path.
        freeze_front: Never train the front: its parameters need no gradient, and it stays in
            evaluation mode. A linear layer behind a network of others trains.
        quantum: `"photonic"`, or `"mlp"` for a classical twin: a block with one hidden layer, of as
            many parameters as the photonic layer would have had (`MatchedMLP`), in its place.
        experiment: The circuit as a whole instead of the next seven arguments: an `Experiment`, or
            its fields by name, `input_state` and `encoding` included. An argument that contradicts
            it is refused, unless it is what the template has by default. An `encoding` is for one
            number of features, `quantum_dim`.
        circuit_type: Where the features enter the circuit: `"series"`, `"parallel"` or
            `"parallel_columns"`.
        n_modes: Number of modes of the circuit, at least 2.
        n_photons: Number of photons, at least 1.
        computation_space: `"fock"` for all outcomes, `"unbunched"` for those with at most one
            photon in a mode.
        state_pattern: Where the photons enter: `"periodic"`, `"spaced"` or `"sequential"`.
        use_bandwidth_tuning: Learn a factor for every encoded phase.
        reservoir_mode: Keep the interferometers as they were drawn.
        output_mapping_strategy: How photon statistics become the outputs of the photonic layer:
            `"linear"`, `"lexgrouping"` (also `"grouping"`) or `"modgrouping"` of the outcome
            probabilities, `"none"` for all of them; `"mode_expectations"` or `"pair_correlations"`
            of the photon numbers, cheap at any size.
        quantum_output_dim: Number of outputs of the photonic layer; None: what the template says,
            or the only possible one with the last three strategies.
        shots: How often the photonic layer measures each sample, in training and evaluation: it
            reads the frequencies of outcomes; None: exact probabilities.
        shot_gradient: Of frequencies: `"exact"` is that of the probabilities, `"score"` and
            `"shift"` are unbiased estimates of it; see `QuantumLayer`.
        path_dropout: Probability, in [0, 1), that a row loses a path in training: the path's mean
            stands in; see `Paths` and `without`. Only templates with two paths or more take it.
        checkpoint_quantum: Keep nothing of the photonic layer for the gradient but its input, and
            run it again instead: less memory, more time, the same gradients.
        **training: `task`, learning rates, schedules and the other arguments of `HybridModule`.

    Attributes:
        front: The front, or None; with `inputs` a `NamedInputs` of all of them.
        feature_shape: Shape of what comes out of the front, or of the inputs, without the batch.
        feature_dim: Number of these features.
        paths: The outputs of the paths that `without` knows, or None.
        components: Widths of what a fusion combines by name, in a template that has one.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, unknown or contradicts another.

    Example:
        >>> class Bare(HybridNetwork):
        ...     def __init__(self, input_dim, output_dim, **options):
        ...         super().__init__(input_dim=input_dim, output_dim=output_dim, **options)
        ...         self.quantum_layer = self.build_quantum()
        ...
        ...     def build_quantum(self):
        ...         return self.make_quantum(self.feature_dim, self.hparams.output_dim)
        ...
        ...     def forward(self, x):
        ...         return self.quantum_layer(self.front_features(x))
        >>> Bare(3, 2, n_modes=4, n_photons=2)(torch.rand(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        *,
        input_dim: AutoInt | None,
        output_dim: AutoInt,
        input_shape: list[int] | None = None,
        inputs: dict[str, int | list[int]] | AutoName | None = None,
        front: FrontName | dict[str, FrontName | dict[str, Any]] | dict[str, Any] | None = None,
        front_dim: int | dict[str, int] | None = None,
        front_weights: str | os.PathLike[str] | dict[str, str] | None = None,
        freeze_front: bool = False,
        quantum: QuantumName = "photonic",
        experiment: Experiment | dict[str, Any] | None = None,
        circuit_type: CircuitTypeName = "series",
        n_modes: int = 6,
        n_photons: int = 3,
        computation_space: SpaceName = "fock",
        state_pattern: StatePatternName = "periodic",
        output_mapping_strategy: ReadoutName = "linear",
        quantum_output_dim: int | None = None,
        use_bandwidth_tuning: bool = True,
        reservoir_mode: bool = False,
        shots: int | None = None,
        shot_gradient: ShotGradientName = "exact",
        path_dropout: float = 0.0,
        checkpoint_quantum: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(output_dim=output_dim, **training)
        if experiment is not None:
            whole = as_experiment(experiment)
            calls = constructor_calls(self, inspect.currentframe())
            refuse_contradictions(whole, calls)
            own = calls[-1].arguments.get("experiment") is experiment
            self.keep_plain("experiment", fields_of(whole), own)
            for name in CIRCUIT_ARGUMENTS:  # what builders and reports find
                self.hparams[name] = plain(getattr(whole, name))
        if quantum_output_dim is not None:
            integer(quantum_output_dim, "quantum_output_dim", 1)
        self.begin_paths(path_dropout)
        self.components: dict[str, int] = {}
        self.begin_inputs()

    # --- to override ------------------------------------------------------------------------------

    def build_fusion(self) -> nn.Module:
        """Build the module from a list of the outputs of `components` to (batch, output_dim)."""
        return self.make_fusion(self.components)

    # --- for subclasses ---------------------------------------------------------------------------

    def add_encoding(self, features: int, resolutions: Any = None) -> None:
        """Add what brings features into the [0, 1] that the photonic layer encodes.

        That is `projection`, learned if the argument `quantum_dim` is given, or `resolutions`, a
        module with an attribute `width`; and `normalization`. Their width is `encoded_dim`.
        """
        width = self.hparams["quantum_dim"]
        if width is not None:
            integer(width, "quantum_dim", 1)
        if resolutions is not None:
            features, width = resolutions.width, None
        self.encoded_dim = features if width is None else width
        projection, normalization = projected(features, width, self.hparams["normalization"])
        self.projection = projection if resolutions is None else resolutions
        self.normalization = normalization

    def encoded_features(self, features: Tensor) -> Tensor:
        """Run `projection` and `normalization`: (batch, ..., encoded_dim) in [0, 1]."""
        encoded: Tensor = self.normalization(self.projection(features))
        return encoded

    def run_quantum(self, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Run the photonic layer, or a method of it; `checkpoint_quantum` keeps only its input."""
        if self.hparams["checkpoint_quantum"] and self.training and torch.is_grad_enabled():
            outputs: Tensor = checkpoint(run, x, use_reentrant=False)
            return outputs
        return run(x)

    def make_quantum(
        self,
        input_size: int,
        output_size: int,
        count: int | None = None,
        experiment: Experiment | Mapping[str, Any] | None = None,
    ) -> nn.Module:
        """Build the photonic layer that the arguments describe, or its classical twin.

        Args:
            input_size: Number of features in [0, 1], at least 1.
            output_size: Number of outputs, unless `quantum_output_dim` is given or the mapping
                strategy leaves no choice.
            count: Number of layers to stack, or None for one without that dimension.
            experiment: Another circuit than that of the template's arguments.

        Returns:
            A `QuantumLayer` or `QuantumLayerStack`; for `quantum="mlp"`, a `MatchedMLP` or a
            `ModuleStack` of them. All have an attribute `output_size`.
        """
        return make_quantum(self.hparams, input_size, output_size, count, experiment)

    def make_fusion(self, components: Mapping[str, int]) -> Fusion:
        """Build the fusion of components, widths by name, that the arguments describe."""
        outputs, width = self.hparams["output_dim"], self.hparams["fusion_dim"]
        if width is not None:
            integer(width, "fusion_dim", 1)
        return make_fusion(self.hparams["fusion"], list(components.values()), outputs, width)

    # --- Lightning and torch ----------------------------------------------------------------------

    @property
    def hparams_initial(self) -> Any:
        """The hyperparameters for loggers; those of the circuit are those of the experiment."""
        initial = super().hparams_initial
        if self.hparams["experiment"] is not None:
            names = [name for name in CIRCUIT_ARGUMENTS if name in initial]
            initial.update({name: self.hparams[name] for name in names})
        return initial

    def on_fit_start(self) -> None:
        """Fit the normalizers; tell when `build_quantum` gave nothing that counts as photonic."""
        super().on_fit_start()
        if self.hparams["quantum"] == "photonic" and not photonic_modules(self):
            rank_zero_warn(
                f"{type(self).__name__} has no photonic module, so all of it counts as classical: "
                "learning rate, stages and analyses for the photonic component have no effect. "
                "Let build_quantum return mark_photonic(layer) if the layer is one of another "
                "library; give quantum='mlp' if the model is meant to be classical"
            )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a training batch and log it, and the fusion's weights."""
        loss = super().training_step(batch, batch_idx)
        fusion = getattr(self, "fusion", None)
        weights = fusion.weights if isinstance(fusion, Fusion) else None
        if weights is not None:
            means = weights.float().mean(0)
            for name, mean in zip(self.components, means, strict=True):
                self.log_mean(f"fusion/weight_{name}", mean, len(weights))
        return loss
