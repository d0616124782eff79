"""The mean of clients' weights: plain, and on the circle for phases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.circuit.periods import periods

__all__ = ["averaged", "circular_mean", "phase_periods"]

_CANCELLED = 1e-9
"""Unit vectors whose mean is shorter than this point nowhere."""


def phase_periods(model: nn.Module) -> dict[str, Tensor]:
    """Return the period of each angle of circuits in radians, by name in the state dict.

    Shapes are those of one circuit, the dtype is float64; an angle without a period has infinity.
    Bandwidths and encodings are factors, and no angles.
    """
    circuits = (
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, PhotonicCircuit)
    )
    return {
        f"{name}.phases" if name else "phases": torch.from_numpy(periods(circuit.lowering))
        for name, circuit in circuits
    }


def circular_mean(angles: Tensor, weights: Tensor, near: Tensor, period: Tensor) -> Tensor:
    r"""Average angles that count modulo a period, here in units in which that is 2 pi.

    With weights :math:`w_i` of sum 1, :math:`c = \arg \sum_i w_i e^{i\theta_i}` is the direction of
    their sum, and the mean is :math:`c + \sum_i w_i\,\mathrm{wrap}(\theta_i - c)`, where `wrap`
    maps into (-pi, pi]: the plain mean of the angles, each taken in the turn that is nearest to
    :math:`c`. So it is the plain mean exactly where no angle has wrapped around. Where the unit
    vectors cancel, no direction is the mean, and `near` stays. Without a period it is the plain
    mean.

    Args:
        angles: In radians, shape (clients, ...), float64.
        weights: Of the clients, shape (clients,), of sum 1.
        near: Angles, shape (...): of the values that differ by whole turns, the nearest is taken.
        period: In radians, of a shape that broadcasts to theirs; infinity: none.

    Returns:
        Shape (...), float64.
    """
    weights = weights.reshape(-1, *[1] * near.dim())
    plain, turn = (weights * angles).sum(0), period / (2 * math.pi)
    angles, near = angles / turn, near / turn
    sine, cosine = (weights * angles.sin()).sum(0), (weights * angles.cos()).sum(0)
    centre = torch.atan2(sine, cosine)
    mean = centre + (weights * _wrapped(angles - centre)).sum(0)
    mean = mean + 2 * math.pi * ((near - mean) / (2 * math.pi)).round()
    mean = torch.where(torch.hypot(sine, cosine) > _CANCELLED, mean, near)
    return torch.where(turn.isinf(), plain, mean * turn)


def averaged(
    states: Sequence[Mapping[str, Tensor]],
    weights: Sequence[float],
    phases: Mapping[str, Tensor],
    before: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Average state dicts of the same names and shapes, in float64.

    Args:
        states: Of the clients, at least one.
        weights: Of the clients, above 0: their numbers of rows.
        phases: Periods of angles, which `circular_mean` averages, by name.
        before: What the clients began with: it says dtypes, and in which turn an angle is.

    Returns:
        The means, in the dtypes of `before`; of integers, such as counters, the nearest ones.
    """
    shares = torch.tensor(weights, dtype=torch.float64)
    shares = shares / shares.sum()
    means: dict[str, Tensor] = {}
    for name, value in before.items():
        stacked = torch.stack([state[name].double() for state in states])
        if name in phases:
            mean = circular_mean(stacked, shares, value.double(), phases[name])
        else:
            mean = (stacked * shares.reshape(-1, *[1] * value.dim())).sum(0)
        means[name] = (mean if value.is_floating_point() else mean.round()).to(value.dtype)
    return means


def _wrapped(angles: Tensor) -> Tensor:
    """Bring angles into (-pi, pi]."""
    return math.pi - torch.remainder(math.pi - angles, 2 * math.pi)
