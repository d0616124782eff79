"""What a model does when a part of it says something else: its output is replaced on the way."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hybridlit.analysis.recording import Call, recorded, with_hooks

__all__ = ["losses_without", "mean_outputs", "replaced"]

Key = TypeVar("Key", bound=Hashable)


@contextmanager
def replaced(module: nn.Module, by: Tensor | Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace what a module returns, until the block ends, by error or Ctrl-C as well.

    The module itself still runs, so its state changes as ever; shapes stay as they are, since
    whatever follows must fit. Compiled models run as they were written meanwhile.

    Args:
        module: A part of the model that returns a tensor.
        by: The same output for every row, of shape (...), such as `mean_outputs` finds; or a
            function of the output, of shape (batch, ...), to what takes its place, of the same
            shape.

    Yields:
        Nothing.

    Raises:
        TypeError: In the forward pass, if the module returns no tensor.
        ValueError: In the forward pass, if the shape would be another one.
    """

    def hook(_: nn.Module, __: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"{type(module).__name__} must return a tensor for its output to be replaced, got "
                f"{type(output).__name__}"
            )
        if isinstance(by, Tensor):  # a copy: what follows may write into its rows
            other = by.to(output).expand(len(output), *by.shape).clone()
        else:
            other = by(output)
        if other.shape != output.shape:
            raise ValueError(
                f"by must keep the shape {tuple(output.shape)}, got {tuple(other.shape)}"
            )
        return other

    with with_hooks() as hooks:
        hooks.callback(module.register_forward_hook(hook).remove)
        yield


def mean_outputs(
    modules: Mapping[Key, nn.Module], run: Callable[[], Sequence[int] | None]
) -> tuple[dict[Key, Tensor], dict[Key, str]]:
    """Return the mean output of modules over all rows that a model runs on.

    Args:
        modules: Parts of the model.
        run: Runs the model, and returns the number of rows of each batch if a module must be called
            once for each of them and return as many rows; None if it may be called as it likes.

    Returns:
        Means of shape (...) on the CPU, in float64, and the reasons of those modules that have no
        mean.
    """
    with recorded(modules, _sum_of_rows) as calls:
        batches = run()
    means, reasons = {}, {}
    for key, found in calls.items():
        sums = [each for each in found if not isinstance(each, str)]
        counts = [rows for rows, _ in sums]
        if not found:
            reasons[key] = "it is not called in the forward pass"
        elif batches is not None and len(found) != len(batches):
            reasons[key] = f"it is called {len(found) / len(batches):g} times for each batch"
        elif len(sums) < len(found):
            reasons[key] = next(each for each in found if isinstance(each, str))
        elif batches is not None and counts != list(batches):
            reasons[key] = _OTHER_ROWS
        elif len({total.shape for _, total in sums}) > 1 or not sum(counts):
            reasons[key] = _OTHER_ROWS
        else:
            means[key] = torch.stack([total for _, total in sums]).sum(0) / sum(counts)
    return means, reasons


def losses_without(
    parts: Mapping[str, Sequence[nn.Module]],
    reference: Callable[[], object],
    losses: Callable[[], Tensor],
) -> dict[str, Tensor]:
    """Evaluate a model with one part at a time, all of its modules, replaced by its mean output.

    The mean is taken while `reference` runs the model. Left out are parts with a module that the
    model does not call, or that returns anything but tensors of shape (rows, ...) with equal rows.
    """

    def run() -> None:
        reference()

    means, _ = mean_outputs({m: m for modules in parts.values() for m in modules}, run)
    found: dict[str, Tensor] = {}
    for name, modules in parts.items():
        if modules and all(module in means for module in modules):
            with ExitStack() as replacing:
                for module in modules:
                    replacing.enter_context(replaced(module, means[module]))
                found[name] = losses()
    return found


_OTHER_ROWS = "its output has not one row for each row of the batch"


def _sum_of_rows(call: Call) -> tuple[int, Tensor] | str:
    """The rows of an output and their sum, or why it has no rows."""
    output = call.output
    if not isinstance(output, Tensor):
        return f"it returns a {type(output).__name__}, not a tensor"
    # not every device knows float64
    return (len(output), output.detach().cpu().double().sum(0)) if output.dim() else _OTHER_ROWS
