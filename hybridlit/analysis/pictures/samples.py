"""The samples that a model is looked at with, their groups, and which row belongs to which."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from hybridlit.analysis.recording import Call, copied
from hybridlit.checks import integer
from hybridlit.photonics import PhotonicCircuit, QuantumLayerStack

__all__ = ["CallRows", "Probe", "SampleGroups", "group_samples", "rows_of_calls"]


class SampleGroups(NamedTuple):
    """Samples put into groups by their targets.

    Attributes:
        names: Name of each group.
        of_sample: Group of each sample, -1 for those in none, int64 of shape (samples,).
        kind: What the groups are, for axes and titles.
    """

    names: list[str]
    of_sample: Tensor
    kind: str

    def means(self, values: Tensor) -> Tensor:
        """Average real values of shape (samples, width) over each group: (groups, width)."""
        return self.sums(values) / self.counts().to(values.device)[:, None]

    def counts(self) -> Tensor:
        """Return the number of samples of each group."""
        return torch.bincount(self.of_sample + 1, minlength=len(self.names) + 1)[1:]

    def sums(self, values: Tensor, start: int = 0) -> Tensor:
        """Add up values of consecutive samples over each group, from the sample `start` on."""
        index = self.of_sample[start : start + len(values)].to(values.device)
        wanted = torch.arange(len(self.names), device=values.device)
        return (wanted[:, None] == index).to(values.dtype) @ values


def group_samples(targets: Tensor, most: int = 20, bins: int = 5) -> SampleGroups:
    """Put samples into groups: classes, or equally full bins of a real target.

    Args:
        targets: Shape (samples,) or (samples, outputs), of which the first counts. Integers, bools,
            and floats that are all 0 or 1, are classes.
        most: Classes kept at most, at least 1, the lowest first; the kind says if there are more.
        bins: Bins of real targets, at least 1; fewer if values repeat.

    Returns:
        The groups.

    Raises:
        ValueError: If there are no targets, or one is not finite.
    """
    integer(most, "most", 1)
    integer(bins, "bins", 1)
    if not targets.numel():
        raise ValueError(f"targets must hold at least one, got shape {tuple(targets.shape)}")
    first = targets.detach().cpu().reshape(len(targets), -1)[:, 0]
    if not first.is_floating_point() or bool(((first == 0) | (first == 1)).all()):
        classes = first.long().unique()
        kept = classes[:most]
        matches = first.long()[:, None] == kept
        index = torch.where(matches.any(1), matches.long().argmax(1), -1)
        kind = "class" if len(kept) == len(classes) else f"class ({len(kept)} of {len(classes)})"
        return SampleGroups([str(value) for value in kept.tolist()], index, kind)
    first = first.double()
    if not bool(torch.isfinite(first).all()):
        raise ValueError("targets must be finite to put samples into groups, got NaN or infinity")
    edges = torch.quantile(first, torch.linspace(0, 1, bins + 1, dtype=first.dtype)).unique()
    index = torch.bucketize(first, edges[1:-1], right=True)
    names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges.tolist())]
    return SampleGroups(names or [f"{edges[0]:.3g}"], index, "target")


class CallRows(NamedTuple):
    """What a module took and gave in several calls, in rows.

    Attributes:
        features: Shape (rows, ...), or (rows, circuits, ...) if `each`.
        outputs: Shape (rows, ...).
        groups: The group of each row.
        each: Whether every circuit of a stack took features of its own.
    """

    features: Tensor
    outputs: Tensor
    groups: SampleGroups
    each: bool

    def of_circuit(self, index: int) -> CallRows:
        """Return the rows of one circuit of a stack."""
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
    features, outputs, counts = [], [], []
    for call in calls:
        given, output = call.given, call.output
        if not isinstance(given, Tensor) or not isinstance(output, Tensor) or output.is_complex():
            return None
        kept = (2 if each else 1) if ours else given.dim() - 1  # the dimensions of one row
        before = given.shape[: given.dim() - kept]
        if not before or output.shape[: len(before)] != before:
            return None
        features.append(given.detach().reshape(-1, *given.shape[len(before) :]))
        outputs.append(output.detach().reshape(-1, *output.shape[len(before) :]))
        counts.append((before[0], len(features[-1]) // max(1, before[0])))
    if not calls or sum(samples for samples, _ in counts) != len(groups.of_sample):
        return None
    parts = groups.of_sample.split([samples for samples, _ in counts])
    of_row = torch.cat(
        [part.repeat_interleave(count) for part, (_, count) in zip(parts, counts, strict=True)]
    )
    return CallRows(
        torch.cat(features), torch.cat(outputs), groups._replace(of_sample=of_row), each
    )


class Probe:
    """The first samples of a run that pass by, copied.

    Args:
        name: What they are, for titles.

    Attributes:
        batches: Pairs of inputs and targets, on the CPU.
        size: Number of samples.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches: list[tuple[Any, Tensor]] = []
        self.size = 0

    def add(self, pl_module: LightningModule, batch: Any, most: int) -> None:
        """Copy a batch, split by the model's `unpack` if it has one, as far as there is room.

        The probe holds `most` samples at most; of inputs that are no tensor, the whole batch is
        kept.

        Raises:
            TypeError: If the batch is no pair and there is no `unpack`, or targets are no tensor.
        """
        room = most - self.size
        if room <= 0:
            return
        unpack = getattr(pl_module, "unpack", None)
        if unpack is None and (not isinstance(batch, (tuple, list)) or len(batch) != 2):
            raise TypeError(
                f"PhotonicInspector needs a batch that is a pair (inputs, targets), got "
                f"{type(batch).__name__}; define unpack(batch) on {type(pl_module).__name__}"
            )
        inputs, targets = batch if unpack is None else unpack(batch)
        if not isinstance(targets, Tensor):
            raise TypeError(
                f"targets must be a tensor, got {type(targets).__name__}; let unpack(batch) of "
                f"{type(pl_module).__name__} return the tensor that groups of samples go by"
            )
        if isinstance(inputs, Tensor):
            inputs, targets = inputs[:room], targets[:room]
        self.batches.append(copied((inputs, targets), "cpu"))
        self.size += len(targets)
