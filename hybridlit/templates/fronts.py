"""What a network does with its inputs before its own modules: their shapes, names and fronts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.blocks.backbones import Backbone, load_weights, make_backbone
from hybridlit.blocks.fronts import FRONTS, make_front
from hybridlit.blocks.named_inputs import NamedInputs
from hybridlit.checks import integer, tensor
from hybridlit.data.tensors import channels_last
from hybridlit.photonics.finite import infinity_as_nan
from hybridlit.templates.base import HybridModule
from hybridlit.undisturbed import undisturbed

__all__ = ["Fronted", "Inputs"]

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
"""What `forward` takes: one tensor, or for a model with `inputs` one by each name."""

_OF_FRONTS = ("front", "front_dim", "front_weights")


class Fronted(HybridModule):
    """The inputs and the fronts: the part of `HybridNetwork` that its own modules come behind.

    Attributes:
        front: The front, or None; with `inputs` a `NamedInputs` of all of them.
        feature_shape: Shape of what comes out of the front, or of the inputs, without the batch.
        feature_dim: Number of these features.
    """

    front: nn.Module | None

    def begin_inputs(self) -> None:
        """Check the arguments about inputs, and build the front."""
        given = self.hparams
        if given["inputs"] is None:
            shape = _input_shape(given["input_dim"], given["input_shape"])
        else:
            shape = [_width(given["inputs"], given["input_dim"], given["input_shape"])]
        self._input_shape = self.feature_shape = shape
        self.hparams["input_dim"] = math.prod(shape)
        named = None if given["inputs"] is None else list(given["inputs"])
        for name in _OF_FRONTS:
            _check_names(given[name], named, name, given["front"])
        widths = given["front_dim"]
        for width in widths.values() if isinstance(widths, Mapping) else [widths]:
            if width is not None:
                integer(width, "front_dim", 1)
        self.front = self.build_front()
        if self.front is not None:
            self.feature_shape = [self._front_width(self.front)]
        fronts, weights = self._fronts, given["front_weights"]
        argument = next((n for n in (*_OF_FRONTS[1:], "freeze_front") if given[n]), None)
        if argument is not None and not fronts:
            *others, last = [repr(name) for name in FRONTS]
            raise ValueError(
                f"{argument}={given[argument]!r} needs a front: choose one with "
                f"front={', '.join(others)} or {last}, or override build_front"
            )
        if weights is not None:
            for name, path in (weights if named else {"": weights}).items():
                load_weights(fronts[name], path)
            self.leave_out("front_weights")
        for module in self.frozen:
            module.requires_grad_(False).eval()
        self.feature_dim = math.prod(self.feature_shape)

    # --- to override ------------------------------------------------------------------------------

    def build_front(self) -> nn.Module | None:
        """Build the module from (batch, *input_shape) to (batch, front_dim), or None.

        Override it for any backbone of your own; give `input_shape` to the constructor then.
        """
        given = self.hparams
        if given["inputs"] is None:
            return _built(given["front"], self._input_shape, given["front_dim"])
        shapes = {
            name: _input_shape(None, [shape] if isinstance(shape, int) else shape)
            for name, shape in given["inputs"].items()
        }
        widths = given["front_dim"] or {}
        built = {
            name: _built(front, shapes[name], widths.get(name))
            for name, front in (given["front"] or {}).items()
        }
        return NamedInputs(shapes, {name: each for name, each in built.items() if each is not None})

    # --- for subclasses ---------------------------------------------------------------------------

    @property
    def frozen(self) -> list[nn.Module]:
        """What `freeze_front` keeps as it is: fronts, without a linear layer behind them."""
        if not self.hparams["freeze_front"]:
            return []
        fronts = self._fronts.values()
        return [each.network if isinstance(each, Backbone) else each for each in fronts]

    def front_features(self, x: Inputs) -> Tensor:
        """Check the inputs of `forward` and run the front: features (batch, feature_dim)."""
        flat: Tensor = self.packed(x)
        self.check_features(flat)
        if not isinstance(self.front, NamedInputs):
            flat = infinity_as_nan(flat)
        if self.front is None:
            return flat.flatten(1)
        features: Tensor = self.front(flat.reshape(flat.shape[0], *self._input_shape))
        return features

    def packed(self, x: Any) -> Any:
        """Put inputs by name side by side, (batch, input_dim); a tensor stays as it is."""
        if isinstance(x, Mapping) and isinstance(self.front, NamedInputs):
            return self.front.packed(x)
        return x

    # --- Lightning and torch ----------------------------------------------------------------------

    def check_features(self, x: Tensor) -> None:
        """Check the inputs of `forward`, of shape (batch, *input_shape) or (batch, input_dim)."""
        tensor(x, "x")
        shape = self._input_shape
        last = [*shape[1:], shape[0]] if len(shape) == 3 else None
        if list(x.shape[1:]) == shape and x.dim() > 1:
            x = x.flatten(1)
        elif len(shape) > 1 and (x.dim() != 2 or x.shape[1] != math.prod(shape)):
            raise ValueError(
                f"x must have shape (batch, {', '.join(map(str, shape))}) or (batch, "
                f"input_dim={math.prod(shape)}), got {tuple(x.shape)}"
                + ("; use x.permute(0, 3, 1, 2)" if list(x.shape[1:]) == last else "")
            )
        if isinstance(self.front, NamedInputs) and list(x.shape[1:]) == shape:
            x = self.front.filled(x)
        super().check_features(x)

    def unpack(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Split a batch into inputs, by name or not, and targets: see `HybridModule`."""
        inputs, targets = super().unpack(batch)
        return self.packed(inputs), targets

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return predictions for a batch: inputs alone, or a pair whose targets are ignored."""
        return super().predict_step(self.packed(batch), batch_idx, dataloader_idx)

    def usable_rows(self, x: Tensor) -> Tensor:
        """Say which rows of prepared inputs, (batch,), there can be predictions for."""
        if isinstance(self.front, NamedInputs):
            if list(x.shape[1:]) != self._input_shape:
                raise ValueError(
                    f"rows must be arrays of the names {list(self.front.shapes)}, or all of them "
                    f"side by side, (rows, {self._input_shape[0]}), got shape {tuple(x.shape)}"
                )
            return self.front.present(x)
        return super().usable_rows(x)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; a frozen front stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _fronts(self) -> dict[str, nn.Module]:
        """The front as `""`, or of inputs by name those that have one."""
        if not isinstance(self.front, NamedInputs):
            return {} if self.front is None else {"": self.front}
        named = zip(self.front.shapes, self.front.fronts, strict=True)
        return {name: front for name, front in named if not isinstance(front, nn.Flatten)}

    def _front_width(self, front: nn.Module) -> int:
        """Run the front once, so that a wrong one is refused before training."""
        with undisturbed(front, evaluation=True), torch.no_grad():
            features = front(torch.zeros(2, *self._input_shape))
        wanted = self.hparams["front_dim"]
        wanted = None if isinstance(wanted, Mapping) else wanted
        if features.dim() != 2 or wanted not in (None, features.shape[1]):
            raise ValueError(
                f"build_front must give a module from (batch, "
                f"{', '.join(map(str, self._input_shape))}) to (batch, front_dim="
                f"{'any' if wanted is None else wanted}), got outputs of shape "
                f"{tuple(features.shape)} for 2 inputs"
            )
        return int(features.shape[1])


def _built(front: Any, shape: list[int], width: int | None) -> nn.Module | None:
    if isinstance(front, Mapping):
        return make_backbone(front, shape, width)
    return None if front is None else make_front(front, shape, width or 32)


def _check_names(given: Any, inputs: list[str] | None, argument: str, front: Any) -> None:
    """Refuse an argument about fronts that is not by name where inputs are, or the other way."""
    if given is None:
        return
    if inputs is None:
        if argument != "front" and isinstance(given, Mapping):
            raise ValueError(f"{argument} must be one for the only input, got {given!r}")
        return
    known = inputs if argument == "front" else list(front if isinstance(front, Mapping) else ())
    if not isinstance(given, Mapping) or set(given) - set(known):
        raise ValueError(
            f"{argument} must be given by the name of an input"
            + ("" if argument == "front" else " that has a front")
            + f", of {known}, got {given!r}"
        )


def _width(inputs: Mapping[str, Any], input_dim: Any, input_shape: Any) -> int:
    """Check inputs by name, and return how many values they have."""
    if not inputs:
        raise ValueError("inputs must name at least one input, got {}")
    if input_shape is not None:
        raise ValueError(
            f"input_shape must be None beside inputs, which have shapes, got {input_shape}"
        )
    sizes = []
    for name, shape in inputs.items():
        if isinstance(shape, (list, tuple)) and not 1 <= len(shape) <= 3:
            raise ValueError(
                f"inputs[{name!r}] must be a number of features, [steps, features] or [channels, "
                f"height, width], got {shape}"
            )
        each = shape if isinstance(shape, (list, tuple)) else [shape]
        sizes.append(math.prod(integer(size, f"inputs[{name!r}]", 1) for size in each))
    if input_dim is not None and integer(input_dim, "input_dim", 1) != sum(sizes):
        raise ValueError(
            f"input_dim must be {sum(sizes)}, the number of values of all inputs, or None, got "
            f"{input_dim}"
        )
    return sum(sizes)


def _input_shape(input_dim: Any, input_shape: list[int] | None) -> list[int]:
    if input_shape is None:
        if input_dim is None:
            raise ValueError("give input_dim or input_shape, got neither")
        return [integer(input_dim, "input_dim", 1)]
    if not isinstance(input_shape, (list, tuple)) or not 1 <= len(input_shape) <= 3:
        raise ValueError(
            "input_shape must be [features], [steps, features] or [channels, height, width], got "
            f"{input_shape!r}"
        )
    shape = [integer(size, "each entry of input_shape", 1) for size in input_shape]
    if channels_last(shape):
        height, width, channels = shape
        rank_zero_warn(
            f"input_shape={shape} is {height} channels of {width} x {channels} values: for images "
            f"with their channels last give input_shape={[channels, height, width]} and "
            "x.permute(0, 3, 1, 2)"
        )
    if input_dim is not None and integer(input_dim, "input_dim", 1) != math.prod(shape):
        raise ValueError(
            f"input_dim must be {math.prod(shape)}, the product of input_shape={shape}, or None, "
            f"got {input_dim}"
        )
    return shape
