"""Networks of others as fronts, by the class path of what builds them, and weights from files."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pickle import UnpicklingError
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from hybridlit.constructors import named
from hybridlit.undisturbed import undisturbed

__all__ = ["Backbone", "load_weights", "make_backbone"]


class Backbone(nn.Module):
    """A network of others, and a linear layer that brings its features to another width, or none.

    Attributes:
        network: The network.
        output: The linear layer, or an identity.
        output_size: Number of features that come out.
    """

    def __init__(self, network: nn.Module, features: int, output_size: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.output_size = features if output_size is None else output_size
        self.output = nn.Identity() if output_size is None else nn.Linear(features, output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (batch, ...) to features (batch, output_size)."""
        features: Tensor = self.output(self.network(x))
        return features


def make_backbone(
    given: Mapping[str, Any], shape: Sequence[int], output_size: int | None, argument: str = "front"
) -> Backbone:
    """Build the network that `{class_path: ..., init_args: ...}` describes.

    How many features it gives is found by running it once on zeros, in evaluation mode.

    Args:
        given: Class path and arguments: of a class that is an `nn.Module`, or of a function that is
            annotated to return one. Functions of hybridlit are none: one of them loads files.
        shape: Shape of one input.
        output_size: Width to which a linear layer brings the features, at least 1; None: no layer.
        argument: Name of the argument, for messages.
    """
    build, arguments = named(given, argument)
    path = given["class_path"]
    if not _builds_modules(build):
        raise TypeError(
            f"{argument} must name a class that is an nn.Module, or a function with the annotation "
            f"that it returns one (-> nn.Module), got class_path={path!r}"
        )
    network = build(**arguments)
    if not isinstance(network, nn.Module):
        raise TypeError(f"{argument}: {path} has given {type(network).__name__}, no nn.Module")
    try:
        with undisturbed(network, evaluation=True), torch.no_grad():
            features = network(torch.zeros(2, *shape))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{argument}: {path} takes no rows of shape {[*shape]}: {error}") from None
    if not isinstance(features, Tensor) or features.dim() != 2:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"{argument} must give features of shape (batch, front_dim), got {got} from {path} for "
            "2 rows: choose arguments that pool them, or a class of your own around it"
        )
    return Backbone(network, features.shape[1], output_size)


def load_weights(
    front: nn.Module, path: str | os.PathLike[str], argument: str = "front_weights"
) -> None:
    """Load the weights of a front from a file: a state dict, or a checkpoint with such a front.

    They are those of the network alone, without a linear layer behind it. Of a checkpoint of
    Lightning, `hybridlit fit` for instance, what is under `front.` is taken.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not load safely, or holds other weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, UnpicklingError, IsADirectoryError) as error:
        why = str(error).partition(".")[0]
        raise ValueError(
            f"{argument} must be a file that loads safely, got {path}: {why}"
        ) from None
    network = front.network if isinstance(front, Backbone) else front
    state = content if isinstance(content, Mapping) else {}
    if "state_dict" in state:
        prefix = "front.network." if isinstance(front, Backbone) else "front."
        weights = state["state_dict"].items()
        state = {n.removeprefix(prefix): value for n, value in weights if n.startswith(prefix)}
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        lines = " ".join(str(error).split())
        raise ValueError(
            f"{argument} must hold the weights of front, got {path}: {lines}"
        ) from None


def _builds_modules(build: Any) -> bool:
    if inspect.isclass(build):
        return issubclass(build, nn.Module)
    if not inspect.isfunction(build) or build.__module__.startswith("hybridlit."):
        return False
    try:
        returned = get_type_hints(build).get("return")
    except (NameError, TypeError):  # of names that are imported for type checkers only
        return False
    return inspect.isclass(returned) and issubclass(returned, nn.Module)
