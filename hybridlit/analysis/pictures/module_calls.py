"""Which row of what a module took and gave belongs to which sample."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hybridlit.analysis.pictures.photon_statistics import SampleGroups
from hybridlit.analysis.recording import Call
from hybridlit.photonics import PhotonicCircuit, QuantumLayerStack

__all__ = ["CallRows", "rows_of_calls"]


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
    ours, stack = isinstance(module, PhotonicCircuit), isinstance(module, QuantumLayerStack)
    each = stack and bool(calls) and bool(calls[0].argument(1, "each", False))
    features, outputs, rows = [], [], []
    for call in calls:
        given, output = call.given, call.output
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
        [part.repeat_interleave(count) for part, (_, count) in zip(parts, rows, strict=True)]
    )
    return CallRows(
        torch.cat(features), torch.cat(outputs), groups._replace(of_sample=of_row), each
    )
