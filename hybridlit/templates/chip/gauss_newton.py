"""Steps of Gauss and Newton for all parameters of a chip and its heaters at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.fitted import Fitted
from hybridlit.templates.chip.linearized import Linearized
from hybridlit.templates.chip.preconditioner import Preconditioner
from hybridlit.templates.chip.priors import Prior, prior_vectors, priors_of

__all__ = ["GaussNewton", "GaussNewtonStep", "conjugate_gradients", "weighted"]

_TRIALS = 5
_SLOWER, _FASTER = 3.0, 0.3
_LEAST_DAMPING = 1e-9
_SMALL = 2**22
"""Numbers of a Jacobian that float64 is no matter for."""
_ROWS = 2048
"""Whose light is computed together."""


class GaussNewtonStep(NamedTuple):
    """What a step has done.

    Attributes:
        cost_before: Half of the squares of weighted residuals, and of distances from the priors.
        cost_after: The same with the new parameters; equal if no step lowers it.
        iterations: Of conjugate gradients; 0 for a small chip.
        misfit: Root mean square of the new residuals in units of the `sigma` given: 1 at the noise.
    """

    cost_before: float
    cost_after: float
    iterations: int
    misfit: float


class GaussNewton:
    r"""Fits light to what was measured, near the optimum: Levenberg's steps with priors.

    It minimises :math:`\frac12 \sum (y - f)^2 / \sigma^2 + \frac12 \sum (\theta - \mu)^2 / s^2`.
    Each step solves its normal equations: those of small chips as they are, others by conjugate
    gradients, in blocks by phase. It finds no way through far valleys: offsets must be about right
    before. Parameters that require no gradients stay.

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.
        priors: By the name of a parameter; None: those of `priors_of`.
        iterations: Of conjugate gradients in a step, at most.
        tolerance: They end where the right side is solved to this part, in the block's norm.
        exact_up_to: Number of parameters of small chips.
        damping: Of the first step, as a part of the normal matrix's diagonal; later ones follow.
        dtype: In which steps are computed: errors there cost steps, but no accuracy. None: float64,
            but float32 where the Jacobian would take long.

    Attributes:
        damping: Of the next step.

    Example:
        >>> heaters, layer = HeaterResponse(12), ChipLayer(chip)  # doctest: +SKIP
        >>> fit = GaussNewton(heaters, layer)  # doctest: +SKIP
        >>> fit.step(settings, light, measured, sigma=1e-3).misfit  # doctest: +SKIP
        0.98
    """

    def __init__(
        self,
        heaters: HeaterResponse,
        layer: ChipLayer,
        priors: Mapping[str, Prior] | None = None,
        *,
        iterations: int = 50,
        tolerance: float = 3e-3,
        exact_up_to: int = 1000,
        damping: float = 1e-2,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.heaters, self.layer = heaters, layer
        self.priors = priors_of(heaters, layer) if priors is None else priors
        self.iterations, self.tolerance = iterations, tolerance
        self.exact_up_to, self.damping, self.dtype = exact_up_to, damping, dtype

    @torch.no_grad()
    def step(
        self, settings: Tensor, light: Tensor, measured: Tensor, sigma: float | Tensor
    ) -> GaussNewtonStep:
        """Move all parameters, unless no step lowers the cost.

        As long as residuals are larger than `sigma`, their root mean square stands in for it: a
        model that is wrong elsewhere must not push parameters away from their priors.

        Args:
            settings: Voltages, shape (rows, heaters).
            light: What enters each mode, (rows, modes), as for `ChipLayer.forward`.
            measured: (rows, outputs), NaN where nothing was measured.
            sigma: Standard deviation of the noise, above 0: one, or of the shape of `measured`
                (for counts: the root of what is expected).

        Returns:
            Costs and misfit.

        Raises:
            ValueError: If nothing was measured, or `sigma` is not above 0.
        """
        fitted = Fitted(self.heaters, self.layer)
        mean, precision = prior_vectors(fitted, self.priors)
        weights, target = weighted(measured, sigma)
        count = int((weights > 0).sum())

        def residuals() -> Tensor:
            return target - weights * self._light(settings, light)

        def cost(left: Tensor, now: Tensor) -> float:
            far = (precision * (now - mean).square()).sum()
            return float(left.square().sum() / scale**2 + far) / 2

        left, start = residuals(), fitted.read()
        scale = max(1.0, float(left.square().sum() / count) ** 0.5)
        before = cost(left, start)
        numbers = measured.numel() * (self.layer.turned + self.layer.phases.numel())
        dtype = self.dtype or (torch.float64 if numbers <= _SMALL else torch.float32)
        linear = Linearized(self.heaters, self.layer, settings, light, weights / scale, dtype)
        extra = precision + self.damping * linear.diagonal().double()
        right = linear.backward((left / scale).to(dtype)[None])
        right = right + (precision * (mean - start)).to(dtype)
        found, iterations = self._solved(linear, extra, right)
        change = found[0].double()
        for trial in range(_TRIALS):
            fitted.write(start + change * 0.5**trial)
            left = residuals()
            after = cost(left, fitted.read())
            if after < before:
                break
        else:
            fitted.write(start)
            left, after = residuals(), before
        straight = after < before and not trial
        self.damping = max(_LEAST_DAMPING, self.damping * (_FASTER if straight else _SLOWER))
        return GaussNewtonStep(before, after, iterations, float(left.square().sum() / count) ** 0.5)

    def _solved(self, linear: Linearized, extra: Tensor, right: Tensor) -> tuple[Tensor, int]:
        """Solve the normal equations, with what is added to their diagonal."""
        if linear.fitted.size > self.exact_up_to:
            return conjugate_gradients(
                lambda x: linear.backward(linear.forward(x)) + extra.to(x.dtype) * x,
                Preconditioner(linear, extra), right, self.iterations, self.tolerance,
            )  # fmt: skip
        normal = linear.matrix() + torch.diag(extra)
        unseen = 1e-12 * normal.diagonal().max()
        factor = torch.linalg.cholesky(normal + unseen * torch.eye(len(normal)).to(normal))
        return torch.cholesky_solve(right.double().mT, factor).mT, 0

    def _light(self, settings: Tensor, light: Tensor) -> Tensor:
        """Light of the model, in float64."""
        found = [
            self.layer(torch.cat([self.heaters(some), lit], 1))
            for some, lit in zip(settings.split(_ROWS), light.split(_ROWS), strict=True)
        ]
        return torch.cat(found).double()


def weighted(measured: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return weights and weighted measurements, both 0 where nothing was measured, in float64.

    Args:
        measured: Shape (rows, outputs), NaN where nothing was measured.
        sigma: Standard deviations, one or of that shape.

    Raises:
        ValueError: If nothing was measured, or `sigma` is not above 0.
    """
    there = ~measured.isnan()
    if not bool(there.any()):
        raise ValueError("measured must have at least one number, got NaN only")
    spread = torch.as_tensor(sigma, dtype=torch.float64, device=measured.device)
    if not bool((spread > 0).all()):
        raise ValueError(f"sigma must be above 0, got {float(spread.min()):g}")
    weights = torch.where(there, 1 / spread, 0.0)
    return weights, measured.double().nan_to_num() * weights


def conjugate_gradients(
    times: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    right: Tensor,
    iterations: int,
    tolerance: float,
) -> tuple[Tensor, int]:
    """Solve symmetric equations for several right sides at once.

    Args:
        times: The matrix, on shape (vectors, size).
        precondition: Its approximate inverse, likewise.
        right: The right sides, (vectors, size).
        iterations: At most, at least 1.
        tolerance: Part of the first residual, in the preconditioner's norm, where it ends.

    Returns:
        The solutions, and how many iterations they took.
    """
    found = torch.zeros_like(right)
    left, towards = right, precondition(right)
    way = towards
    size = first = (left * towards).sum(1, keepdim=True)
    done = 0
    tiny = torch.finfo(right.dtype).tiny
    while done < iterations and bool((size > tolerance**2 * first).any()):
        pushed = times(way)
        step = size / (way * pushed).sum(1, keepdim=True).clamp_min(tiny)
        found = found + step * way
        left = left - step * pushed
        towards = precondition(left)
        size, before = (left * towards).sum(1, keepdim=True), size
        way = towards + size / before.clamp_min(tiny) * way
        done += 1
    return found, done
