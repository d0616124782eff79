"""Turns of heaters that bring a chip's matrices to wanted ones, for many targets at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.photonics.chip_matrices import matrices_and_derivatives

__all__ = ["Steering", "amplitude_fidelity"]

_POWER = 1e-7
"""What a radian of turn costs beside half the squared distance of the matrices: decides ties."""

_GAIN, _NEAR = 1e-2, 1e-7
"""Another step is worth its time if one gained this part of the cost, above this for each mode."""


def amplitude_fidelity(found: Tensor, wanted: Tensor) -> Tensor:
    r"""Return how alike the moduli of matrices A and U are.

    .. math:: \sum_{ij} |A_{ij}| |U_{ij}| / \sqrt{\sum_{ij} |A_{ij}|^2 \sum_{ij} |U_{ij}|^2}

    Args:
        found: Matrices, shape (..., modes, modes).
        wanted: Of the same shape.

    Returns:
        From 0 to 1, shape (...).
    """
    return torch.cosine_similarity(found.abs().flatten(-2), wanted.abs().flatten(-2), dim=-1)


class Steering(NamedTuple):
    """Heaters and the chip that they turn: phases are `offset + mixing @ turns`, in radians.

    Attributes:
        layer: The chip.
        offset: Phases at no turn, (phases,).
        mixing: What each phase gets of each turn, (phases, heaters).
        least: The least turn of each heater, (heaters,); None: without limits.
        most: The largest.
    """

    layer: ChipLayer
    offset: Tensor
    mixing: Tensor
    least: Tensor | None = None
    most: Tensor | None = None

    def matrices(self, turns: Tensor) -> Tensor:
        """Return the chip's matrices, shape (targets, modes, modes)."""
        return self.layer.matrices(self.offset + turns @ self.mixing.mT)

    def solved(self, wanted: Tensor, turns: Tensor, steps: int) -> Tensor:
        """Return turns by damped Gauss-Newton steps (Levenberg and Marquardt), for each target.

        Phases at both ends, which detectors do not see, and the size of a matrix, which losses
        change, are free. A turn at a limit that it should pass stays there for the step. With
        limits, heat decides where nothing else does.

        Args:
            wanted: Unitaries, shape (targets, modes, modes), complex.
            turns: To begin with, (targets, heaters).
            steps: At most.

        Returns:
            Shape (targets, heaters), between the limits.
        """
        count = turns.shape[1]
        at = torch.cat([turns, _ends(self.matrices(turns), wanted)], 1)
        power = at.new_zeros(at.shape[1])
        power[:count] = 0.0 if self.least is None else _POWER
        damping = at.new_full((len(at), 1), 1e-3)
        going = torch.arange(len(at), device=at.device)
        for _ in range(steps):
            now, goal = at[going], wanted[going]
            rest, jacobian = self._linearised(now, goal)
            cost = rest.square().sum(1) / 2 + now @ power
            slope = (jacobian.mT @ rest[..., None])[..., 0] + power
            curve = jacobian.mT @ jacobian
            held = self._held(now, slope)
            curve = curve.masked_fill(held[:, :, None] | held[:, None, :], 0.0)
            lift = damping[going] * curve.diagonal(dim1=1, dim2=2) + held + 1e-9
            factor = torch.linalg.cholesky(curve + torch.diag_embed(lift))
            step = torch.cholesky_solve(slope.masked_fill(held, 0.0)[..., None], factor)
            new = now - step[..., 0]
            if self.least is not None:
                new[:, :count] = new[:, :count].clamp(self.least, self.most)
            left = _rest(self.matrices(new[:, :count]), new[:, count:], goal)
            after = left.square().sum(1) / 2 + new @ power
            better = after < cost
            at[going[better]] = new[better]
            damping[going] *= torch.where(better, 0.2, 5.0)[:, None]
            on = torch.where(better, cost - after > _GAIN * cost, damping[going, 0] < 1e6)
            going = going[on & (torch.minimum(cost, after) > _NEAR * goal.shape[-1])]
            if not len(going):
                break
        return at[:, :count]

    def _linearised(self, now: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of turns and phases at the ends, and its derivatives in both."""
        count, modes = self.mixing.shape[1], goal.shape[-1]
        turns, ends = now[:, :count], now[:, count:]
        phases = self.offset + turns @ self.mixing.mT
        matrices, derivatives = matrices_and_derivatives(self.layer, phases, self.mixing)
        seen = _turned(ends, modes)
        found = 1j * (seen * matrices)[..., None]
        one = torch.eye(modes, dtype=found.dtype, device=found.device)
        every = [seen[..., None] * derivatives, found * one[:, None, :], found * one]
        jacobian = torch.view_as_real(torch.cat(every, 3)).transpose(3, 4).flatten(1, 3)
        return _rest(matrices, ends, goal), jacobian

    def _held(self, now: Tensor, slope: Tensor) -> Tensor:
        """Which turns are at a limit that a step downhill would pass."""
        held = torch.zeros_like(now, dtype=torch.bool)
        if self.least is not None and self.most is not None:
            count = len(self.least)
            turns, downhill = now[:, :count], slope[:, :count]
            low, high = turns <= self.least, turns >= self.most
            held[:, :count] = (low & (downhill > 0)) | (high & (downhill < 0))
        return held


def _ends(matrices: Tensor, wanted: Tensor) -> Tensor:
    """Phases of outputs, then of inputs, that bring matrices near to wanted ones."""
    apart = wanted * matrices.conj()
    inputs = torch.ones_like(apart[:, 0])
    for _ in range(20):
        outputs = torch.sgn((apart @ inputs.conj()[..., None])[..., 0])
        inputs = torch.sgn((outputs.conj()[:, None] @ apart)[:, 0])
    return torch.cat([outputs, inputs], 1).angle()


def _turned(ends: Tensor, modes: int) -> Tensor:
    """Factors of matrices' entries by phases at their ends."""
    factors = torch.polar(torch.ones_like(ends), ends)
    return factors[:, :modes, None] * factors[:, None, modes:]


def _rest(matrices: Tensor, ends: Tensor, wanted: Tensor) -> Tensor:
    """What is left to wanted matrices of the best size, in real numbers, shape (targets, ...)."""
    found = _turned(ends, wanted.shape[-1]) * matrices
    size = (found.conj() * wanted).real.mean((1, 2)) / wanted.abs().square().mean((1, 2))
    return torch.view_as_real(found - size[:, None, None] * wanted).flatten(1)
