r"""A finite number of shots: counts in the place of probabilities, and their gradients.

With N shots the frequencies :math:`f = k / N` stand for the probabilities p of which
:math:`k \sim \mathrm{Multinomial}(N, p)` is drawn. A loss L has :math:`g = \partial L/\partial f`
there, and what a gradient kind gives is an estimate of :math:`g^T\,\partial p/\partial\theta`. What
it draws for that is independent of f, so that the mean of the product is the product of the means,
:math:`E[g]^T\,\partial p/\partial\theta`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hybridlit.photonics.finite import can_look_at

__all__ = ["SHOT_GRADIENTS", "ShotGradientName", "drawn_counts", "frequencies"]


def drawn_counts(
    probabilities: Tensor, shots: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw how often each outcome is found.

    Args:
        probabilities: Shape (..., D), of any positive sum.
        shots: Their number, at least 1.
        generator: Of the device of the probabilities; None: torch's own.

    Returns:
        Shape (..., D), int64; each row sums to `shots`.

    Raises:
        ValueError: On the CPU, if a row is nowhere positive, or not finite.
    """
    weights = probabilities.detach().double().clamp(min=0)
    if not weights.numel() or weights.is_meta:
        return torch.zeros_like(weights, dtype=torch.int64)
    if not can_look_at(probabilities):
        return _halved(weights, shots, generator)
    total = weights.sum(-1, keepdim=True)
    if not bool((torch.isfinite(total) & (total > 0)).all()):
        raise ValueError(
            "probabilities must be finite and have a positive sum to be sampled, got "
            f"{float(total.amin()):g}: a state that enters must have a norm above 0"
        )
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    rows = (weights / total).flatten(0, -2).numpy()
    # numpy leaves rounding errors to the last outcome: there they cannot make an impossible one.
    largest, all_rows = rows.argmax(-1), np.arange(len(rows))
    rows[all_rows, largest], rows[:, -1] = rows[:, -1].copy(), rows[all_rows, largest]
    counts = np.random.Generator(np.random.PCG64(seed)).multinomial(shots, rows)
    counts[all_rows, largest], counts[:, -1] = counts[:, -1].copy(), counts[all_rows, largest]
    return torch.from_numpy(counts).view(weights.shape)


def _halved(weights: Tensor, shots: int, generator: torch.Generator | None) -> Tensor:
    """The same by binomials alone: how many of the shots fall into which half, and so on."""
    outcomes = weights.shape[-1]
    sums = [pad(weights, (0, 2 ** (outcomes - 1).bit_length() - outcomes))]
    while sums[-1].shape[-1] > 1:
        sums.append(sums[-1].unflatten(-1, (-1, 2)).sum(-1))
    counts = torch.full_like(sums.pop(), shots)
    while sums:
        left, right = sums.pop().unflatten(-1, (-1, 2)).unbind(-1)
        share = left / (left + right)
        share = torch.where(left + right > 0, share, 0)  # of no shots
        first = torch.binomial(counts, share, generator=generator)
        counts = torch.stack([first, counts - first], -1).flatten(-2)
    return counts[..., :outcomes].to(torch.int64)


def frequencies(probabilities: Tensor, shots: int, kind: str) -> Tensor:
    """Return frequencies of outcomes in a number of shots, with a gradient of a kind.

    Args:
        probabilities: Shape (..., D), each row of sum 1.
        shots: Their number.
        kind: One of `SHOT_GRADIENTS`; that of `"shift"` is left to `shifted`.

    Returns:
        Shape (..., D).
    """
    found = drawn_counts(probabilities, shots).to(probabilities.dtype) / shots
    with_gradient = _KINDS[kind](probabilities, found, shots)
    # what has the gradient adds nothing but it
    return found + (with_gradient - with_gradient.detach())


def _exact(probabilities: Tensor, found: Tensor, shots: int) -> Tensor:
    return probabilities


def _score(probabilities: Tensor, found: Tensor, shots: int) -> Tensor:
    r"""What has the gradient of score functions, with the mean of the first shots as a baseline.

    Of second shots, with frequencies h, it is :math:`\sum_t h_t (g_t - f^T g)\,\nabla\log p_t`.
    """
    second = drawn_counts(probabilities, shots).to(probabilities.dtype) / shots
    given = probabilities.detach()
    weighted = torch.where(second > 0, second / given, 0) * probabilities
    return weighted - found * weighted.sum(-1, keepdim=True)


_KINDS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "exact": _exact,
    "score": _score,
}

SHOT_GRADIENTS: dict[str, str] = {
    "exact": "the gradient of the probabilities, straight through the draw",
    "score": "score functions of a second, independent draw",
    "shift": "frequencies of as many shots at shifted phases, as a device gives them",
}
"""What gradients of frequencies are, by name."""

if TYPE_CHECKING:
    ShotGradientName: TypeAlias = str
else:
    ShotGradientName = Literal[tuple(SHOT_GRADIENTS)]
