"""Which settings to measure next: those that tell most about what a twin does not know yet."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.checks import integer, number
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.gauss_newton import conjugate_gradients
from hybridlit.templates.chip.linearized import Linearized
from hybridlit.templates.chip.preconditioner import Preconditioner
from hybridlit.templates.chip.priors import Prior, prior_vectors, priors_of

__all__ = ["most_informative"]

_ITERATIONS, _TOLERANCE = 100, 1e-3

_ANY_OFFSET = 2 * math.pi / math.sqrt(12)
"""Standard deviation of a phase of which nothing is known."""


@checked
@torch.no_grad()
def most_informative(
    heaters: HeaterResponse,
    layer: ChipLayer,
    settings: Tensor,
    light: Tensor,
    candidates: Tensor,
    candidate_light: Tensor,
    count: int,
    *,
    sigma: float = 1e-3,
    priors: Mapping[str, Prior] | None = None,
    samples: int = 64,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Choose settings to measure next, one after the other, by the information expected of each.

    What is known of the parameters is a normal distribution around the twin: its priors and the
    Jacobian of the settings measured so far. From that, twins are drawn. Where they disagree about
    the light of a candidate, beyond the noise, a measurement tells most; it is
    :math:`\frac12 \log\det(1 + C / \sigma^2)` with the covariance C of that light, given the
    candidates that were chosen before.

    Args:
        heaters: Voltages to phases; what requires no gradient counts as known.
        layer: Phases to light, likewise.
        settings: Voltages that were measured, shape (rows, heaters).
        light: What entered each mode, (rows, modes).
        candidates: Voltages to choose from, (candidates, heaters).
        candidate_light: What would enter each mode, (candidates, modes).
        count: How many to choose, from 1 to the number of candidates.
        sigma: Standard deviation of the noise, above 0.
        priors: By the name of a parameter; None: those of a fit, and none of offsets.
        samples: How many twins are drawn, at least 2: more tell more candidates apart.
        generator: What draws them; None: torch's global one.

    Returns:
        Rows of `candidates`, the most informative first, shape (count,).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of range.
    """
    number(sigma, "sigma", above=0.0)
    integer(count, "count", 1, len(candidates))
    integer(samples, "samples", 2)
    known = {"offset": Prior(heaters.offset.detach(), _ANY_OFFSET), **priors_of(heaters, layer)}
    known.update(priors or {})

    def around(voltages: Tensor, lit: Tensor) -> Linearized:
        weights = torch.full((len(voltages), layer.output_size), 1 / sigma, device=voltages.device)
        return Linearized(heaters, layer, voltages, lit, weights, torch.float64)

    measured = around(settings, light)
    precision = prior_vectors(measured.fitted, known)[1]

    def drawn(*shape: int) -> Tensor:
        found = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return found.to(precision.device)

    noise = measured.backward(drawn(samples, len(settings), layer.output_size))
    twins, _ = conjugate_gradients(
        lambda x: measured.backward(measured.forward(x)) + precision * x,
        Preconditioner(measured, precision),
        noise + precision.sqrt() * drawn(samples, len(precision)),
        _ITERATIONS,
        _TOLERANCE,
    )
    return _greedily(around(candidates, candidate_light).forward(twins), count)


def _greedily(told: Tensor, count: int) -> Tensor:
    """Choose candidates by the light that samples see, (samples, candidates, outputs)."""
    told = told / math.sqrt(len(told))
    known = torch.eye(len(told), dtype=told.dtype, device=told.device)
    one = torch.eye(told.shape[2], dtype=told.dtype, device=told.device)
    left = torch.zeros(told.shape[1], dtype=told.dtype, device=told.device)
    chosen = []
    for _ in range(count):
        factor = torch.linalg.cholesky(known)
        seen = torch.linalg.solve_triangular(factor, told.flatten(1), upper=False)
        seen = seen.view_as(told).transpose(0, 1)
        gains = torch.logdet(one + seen.mT @ seen) + left
        best = int(gains.argmax())
        chosen.append(best)
        left[best] = -math.inf
        known = known + told[:, best] @ told[:, best].mT
    return torch.tensor(chosen, device=told.device)
