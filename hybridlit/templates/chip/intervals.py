"""How well a fit knows the parameters of a chip: Fisher's information at the solution."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.fitted import Fitted
from hybridlit.templates.chip.gauss_newton import conjugate_gradients, weighted
from hybridlit.templates.chip.linearized import Linearized
from hybridlit.templates.chip.preconditioner import Preconditioner
from hybridlit.templates.chip.priors import Prior, prior_vectors, priors_of

__all__ = ["RELATIVE", "standard_errors", "unseen_offsets"]

RELATIVE = ("mode_loss", "output_loss")
"""Losses of which only differences from their mean have an effect."""

_UNSEEN = 1e-9
"""Information about a direction of phases, as a part of the most, that rounding leaves."""
_TOGETHER = 64
_ITERATIONS, _TOLERANCE = 300, 1e-4


@torch.no_grad()
def unseen_offsets(
    heaters: HeaterResponse, layer: ChipLayer, settings: Tensor, light: Tensor
) -> Tensor:
    """Return directions of phase offsets that change nothing that was measured.

    Phases behind the last splitters and, for light at one input at a time, before the first, are
    among them; so are phases on both arms of a cell that others behind it take back. In which of
    these gauges a chip is, no measurement says: compare offsets `o` as `o - n @ (n.mT @ o)`.

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.
        settings: Voltages, shape (rows, heaters).
        light: What enters each mode, (rows, modes).

    Returns:
        Orthonormal, shape (phases, directions), float64.
    """
    weights = torch.ones(len(settings), layer.output_size, device=settings.device)
    linear = Linearized(heaters, layer, settings, light, weights, torch.float64)
    return _unseen(linear)


def _unseen(linear: Linearized) -> Tensor:
    turned = linear.turned.flatten(0, 1)
    values, vectors = torch.linalg.eigh(turned.mT @ turned)
    return vectors[:, values <= _UNSEEN * values[-1]]


@torch.no_grad()
def standard_errors(
    heaters: HeaterResponse,
    layer: ChipLayer,
    settings: Tensor,
    light: Tensor,
    measured: Tensor,
    sigma: float | Tensor,
    priors: Mapping[str, Prior] | None = None,
    *,
    exact_up_to: int = 4000,
    probes: int = 48,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Return the standard error of each fitted parameter, where a fit has converged.

    They come from the normal matrix with its priors. Gauges are fixed: losses of modes and outputs
    are relative to their mean, and offsets, unless they have a prior, are without the directions
    of `unseen_offsets`. What is known by its prior alone has the prior's standard deviation. Where
    residuals are larger than `sigma`, errors are by as much.

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.
        settings: Voltages, shape (rows, heaters).
        light: What enters each mode, (rows, modes).
        measured: (rows, outputs), NaN where nothing was measured.
        sigma: Standard deviation of the noise, as for `GaussNewton.step`.
        priors: By the name of a parameter; None: those of `priors_of`.
        exact_up_to: Number of parameters up to which the matrix is inverted.
        probes: Random vectors that errors of more parameters are estimated by, each error to a
            part of 1 / sqrt(2 probes).
        generator: For those; None: torch's own.

    Returns:
        By the name of a parameter, of its shape, float64; infinite for offsets that light does not
        see.

    Raises:
        ValueError: As `GaussNewton.step`.
    """
    priors = priors_of(heaters, layer) if priors is None else priors
    fitted = Fitted(heaters, layer)
    precision = prior_vectors(fitted, priors)[1]
    weights, target = weighted(measured, sigma)
    model = torch.cat([heaters(settings), light.to(settings.dtype)], 1)
    left = target - weights * layer(model).double()
    scale = max(1.0, float(left.square().sum() / (weights > 0).sum()) ** 0.5)
    exact = fitted.size <= exact_up_to
    linear = Linearized(
        heaters, layer, settings, light, weights / scale,
        torch.float64 if exact else torch.float32,
    )  # fmt: skip
    unseen = precision.new_zeros(heaters.phases, 0)
    if "offset" in fitted.tensors and not bool(fitted.parts(precision)["offset"].any()):
        unseen = _unseen(linear)
    if exact:
        spread = _exactly(linear, precision, unseen)
    else:
        spread = _by_probes(linear, precision, unseen, probes, generator)
    errors = fitted.parts(spread.sqrt())
    if "offset" in errors:
        blind = unseen.square().sum(1) > 1 - 1e-6
        errors["offset"] = errors["offset"].masked_fill(blind, math.inf)
    return errors


def _exactly(linear: Linearized, precision: Tensor, unseen: Tensor) -> Tensor:
    """Variances by the inverse of the normal matrix, (size,)."""
    every = torch.eye(linear.fitted.size, dtype=torch.float64, device=precision.device)
    normal = torch.cat(
        [linear.backward(linear.forward(some)) for some in every.split(_TOGETHER)]
    ) + torch.diag(precision)
    level = normal.diagonal().mean()
    directions = normal.new_zeros(len(normal), unseen.shape[1])
    if unseen.shape[1]:
        directions[linear.fitted.places()["offset"]] = unseen
    factor = torch.linalg.cholesky(normal + level * directions @ directions.mT)
    covariance = torch.cholesky_inverse(factor) - directions @ directions.mT / level
    return _in_gauge(linear.fitted, _in_gauge(linear.fitted, covariance).mT).diagonal()


def _by_probes(
    linear: Linearized,
    precision: Tensor,
    unseen: Tensor,
    probes: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Variances of solutions for random measurements and priors, (size,)."""
    like = linear.turned
    extra = precision.to(like.dtype)
    drawn = torch.randn(
        probes, *like.shape[:2], generator=generator, dtype=like.dtype, device=like.device
    )
    right = linear.backward(drawn) + extra.sqrt() * torch.randn(
        probes, len(extra), generator=generator, dtype=like.dtype, device=like.device
    )
    found, _ = conjugate_gradients(
        lambda x: linear.backward(linear.forward(x)) + extra * x,
        Preconditioner(linear, precision), right, _ITERATIONS, _TOLERANCE,
    )  # fmt: skip
    found = found.double()
    if unseen.shape[1]:
        places = linear.fitted.places()["offset"]
        found[:, places] -= found[:, places] @ unseen.double() @ unseen.double().mT
    return _in_gauge(linear.fitted, found).square().mean(0)


def _in_gauge(fitted: Fitted, vectors: Tensor) -> Tensor:
    """Vectors with relative losses relative to their mean, shape (vectors, size)."""
    parts = {
        name: part - part.mean(-1, keepdim=True) if name in RELATIVE else part
        for name, part in fitted.parts(vectors).items()
    }
    return fitted.joined(parts, tuple(vectors.shape[:1]))
