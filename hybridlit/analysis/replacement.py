"""What a model does when a part of it says something else: its output is replaced on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["recorded_output", "replaced_output"]


@contextmanager
def replaced_output(module: nn.Module, replace: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let `replace` change what a module returns, until the block ends, by error or Ctrl-C as well.

    The module itself still runs, so its state changes as ever; shapes stay as they are, since
    whatever follows must fit.

    Args:
        module: A part of the model that returns a tensor.
        replace: From the output, of shape (batch, ...), to what takes its place, of the same shape.

    Yields:
        Nothing.

    Raises:
        TypeError: In the forward pass, if the module returns no tensor.
        ValueError: In the forward pass, if `replace` changes the shape.
    """

    def hook(_: nn.Module, __: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"{type(module).__name__} must return a tensor for its output to be replaced, got "
                f"{type(output).__name__}"
            )
        other = replace(output)
        if other.shape != output.shape:
            raise ValueError(
                f"replace must keep the shape {tuple(output.shape)}, got {tuple(other.shape)}"
            )
        return other

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def recorded_output(module: nn.Module) -> Iterator[list[Any]]:
    """Collect what a module returns until the block ends.

    Args:
        module: A part of the model.

    Yields:
        A list to which every call adds its output: a detached tensor of shape (batch, ...), or
        whatever else the module returns.
    """
    outputs: list[Any] = []

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        outputs.append(output.detach() if isinstance(output, Tensor) else output)

    handle = module.register_forward_hook(hook)
    try:
        yield outputs
    finally:
        handle.remove()
