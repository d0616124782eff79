"""Where the photons go: outcome probabilities and mean photon numbers of groups of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hybridlit.checks import integer
from hybridlit.photonics import QuantumLayer
from hybridlit.words import in_digits

__all__ = ["PhotonStatistics", "SampleGroups", "group_samples", "photon_statistics"]

_ROWS = 2**22
"""Numbers held for a part of the samples at a time."""

_LARGEST = 2**24
"""Mean probabilities beyond which they are not kept."""


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
        """Average over each group.

        Args:
            values: Shape (samples, width), real.

        Returns:
            Shape (groups, width).
        """
        return self.sums(values) / self.counts().to(values.device)[:, None]

    def counts(self) -> Tensor:
        """Return the number of samples of each group."""
        return torch.bincount(self.of_sample + 1, minlength=len(self.names) + 1)[1:]

    def sums(self, values: Tensor, start: int = 0) -> Tensor:
        """Add up over each group.

        Args:
            values: Of consecutive samples, shape (some samples, width), real.
            start: The first of these samples.

        Returns:
            Shape (groups, width).
        """
        index = self.of_sample[start : start + len(values)].to(values.device)
        wanted = torch.arange(len(self.names), device=values.device)
        return (wanted[:, None] == index).to(values.dtype) @ values


class PhotonStatistics(NamedTuple):
    """Means over the samples of each group.

    Attributes:
        outcomes: Probability of each outcome, shape (groups, D); None if there is no such thing.
        modes: Photons in each output mode, shape (groups, modes); None if there is no such thing.
        missing: Why something is None; empty if nothing is.
    """

    outcomes: Tensor | None
    modes: Tensor | None
    missing: str


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
    first = targets.detach().cpu().flatten(1)[:, 0] if targets.dim() > 1 else targets.detach().cpu()
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
    if len(edges) < 2:
        return SampleGroups(
            [f"{edges[0]:.3g}"], torch.zeros(len(first), dtype=torch.long), "target"
        )
    index = torch.bucketize(first, edges[1:-1], right=True)
    names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges.tolist())]
    return SampleGroups(names, index, "target")


def photon_statistics(
    layer: QuantumLayer, features: Tensor, groups: SampleGroups
) -> PhotonStatistics:
    """Average what a layer's photons do over groups of samples.

    Args:
        layer: The layer; its readout plays no part.
        features: What it is given, shape (samples, input_size).
        groups: Groups of these samples.

    Returns:
        The means, on the CPU. Circuits that are read out by expectations have no outcomes, since
        simulating them may be out of reach.
    """
    space, count = layer.fock_space, len(groups.names)
    photons = torch.tensor(layer.input_state)
    expectations = layer.ansatz.readout.expectation is not None
    too_many = space.size * count > _LARGEST
    outcomes = modes = None
    missing = ""
    with torch.no_grad():
        if not expectations and not too_many:
            outcomes = _mean(groups, layer.probabilities, features, space.size)
            states = torch.from_numpy(space.states.astype(np.float64))
            modes = (outcomes.double() @ states).to(outcomes.dtype)
        elif not space.unbunched:

            def occupation(rows: Tensor) -> Tensor:
                light = layer.unitary(rows).abs().square()
                return light @ photons.to(light)

            modes = _mean(groups, occupation, features, space.modes**2)
            missing = (
                "expectations are simulated without outcomes"
                if expectations
                else f"{in_digits(space.size)} outcomes are too many to show"
            )
        else:
            missing = f"{in_digits(space.size)} unbunched outcomes are too many to show"
    return PhotonStatistics(outcomes, modes, missing)


def _mean(
    groups: SampleGroups, run: Callable[[Tensor], Tensor], features: Tensor, width: int
) -> Tensor:
    sums = [groups.sums(run(rows), start) for start, rows in _parts(features, width)]
    return torch.stack(sums).sum(0).cpu() / groups.counts()[:, None]


def _parts(features: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
    """Yield parts of the samples, few enough that `width` numbers for each fit well."""
    rows = max(1, _ROWS // width)
    for start in range(0, len(features), rows):
        yield start, features[start : start + rows]
