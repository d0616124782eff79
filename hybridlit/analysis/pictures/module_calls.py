"""What modules get and give while a model runs, and which row of it belongs to which sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hybridlit.analysis.pictures.photon_statistics import SampleGroups
from hybridlit.photonics import PhotonicCircuit, QuantumLayerStack

__all__ = ["Call", "CallRows", "recorded_calls", "rows_of_calls"]


class Call(NamedTuple):
    """One call of a module.

    Attributes:
        given: Its first argument.
        output: What it returned.
        each: Whether every circuit of a stack got features of its own.
    """

    given: Any
    output: Any
    each: bool


class CallRows(NamedTuple):
    """What a module got and gave in several calls, in rows.

    Attributes:
        features: Shape (rows, ...), or (rows, circuits, ...) if `each`.
        outputs: Shape (rows, ...).
        groups: The group of each row.
        each: Whether every circuit of a stack got features of its own.
    """

    features: Tensor
    outputs: Tensor
    groups: SampleGroups
    each: bool

    def of_circuit(self, index: int) -> CallRows:
        """Return the rows of one circuit of a stack.

        Args:
            index: Which one.

        Returns:
            Its features and outputs.
        """
        features = self.features[:, index] if self.each else self.features
        return CallRows(features, self.outputs[:, index], self.groups, False)


@contextmanager
def recorded_calls(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Call]]]:
    """Record the calls of modules until the block ends.

    Args:
        modules: Modules by name.

    Yields:
        A list for each name, to which every call is added.
    """
    calls: dict[str, list[Call]] = {name: [] for name in modules}

    def recorder(name: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], output: Any
        ) -> None:
            given = args[0] if args else kwargs.get("x")
            each = isinstance(module, QuantumLayerStack) and (
                kwargs.get("each", args[1] if len(args) > 1 else False)
            )
            calls[name].append(Call(given, output, each))

        return hook

    handles = [
        module.register_forward_hook(recorder(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def rows_of_calls(module: nn.Module, calls: list[Call], groups: SampleGroups) -> CallRows | None:
    """Join the calls of a module for consecutive batches.

    Args:
        module: The module; the last dimension of what a photonic circuit of ours takes are its
            features, and dimensions before it count as rows. Of other modules the first dimension
            does.
        calls: Its calls in order, one a batch.
        groups: The groups of all samples in these batches.

    Returns:
        The rows, with the group of the sample that each belongs to; None if the calls do not tell
        which row is of which sample, or if outputs are no real tensors.
    """
    ours = isinstance(module, PhotonicCircuit)
    features, outputs, rows = [], [], []
    for given, output, each in calls:
        if not isinstance(given, Tensor) or not isinstance(output, Tensor):
            return None
        if output.is_complex():
            return None
        kept = (2 if each else 1) if ours else given.dim() - 1  # the dimensions of one row
        before = given.shape[: given.dim() - kept]
        if not before or output.shape[: len(before)] != before:
            return None
        features.append(given.detach().reshape(-1, *given.shape[len(before) :]))
        outputs.append(output.detach().reshape(-1, *output.shape[len(before) :]))
        rows.append((before[0], len(features[-1]) // max(1, before[0])))
    if not calls or sum(samples for samples, _ in rows) != len(groups.of_sample):
        return None
    parts = groups.of_sample.split([samples for samples, _ in rows])
    of_row = torch.cat(
        [part.repeat_interleave(each) for part, (_, each) in zip(parts, rows, strict=True)]
    )
    return CallRows(
        torch.cat(features), torch.cat(outputs), groups._replace(of_sample=of_row), calls[0].each
    )
