r"""The gradient of frequencies by the shift rule, phase by phase, as a device can give it.

The probabilities :math:`q_t = P_t / S` of what is kept are no trigonometric polynomials where
something is dropped, but those before that and their sum S are. With the weights :math:`w_\mu` of
`shift_rule`, and what is measured at the shifted phases,

.. math:: \partial q_t = \sum_\mu w_\mu \frac{S_\mu}{S} (q_{t,\mu} - q_t)

of which frequencies in the place of :math:`q_{t,\mu}` are an unbiased estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hybridlit.photonics.noise.phases import Off
from hybridlit.photonics.shift_rule import shifts

__all__ = ["ShiftRule", "Shifted"]

_MOST_NUMBERS = 2**20
"""Probabilities of shifted circuits that are simulated as one."""


class ShiftRule(NamedTuple):
    """How circuits are measured at other phases.

    Attributes:
        measured: From shifts to frequencies less the probabilities here, shape (..., batch, D), and
            how many times as much is kept there, shape (..., batch). A single circuit takes several
            shifts at once, which come first.
        off: By how much phases are off here.
        photons: The most that pass the circuit together.
        circuits: How many there are, or None for a single one.
        dimensions: Those of the settings of one circuit.
        settings: The numbers of the settings in question.
        data: Those of the data phases.
        splitters: Which settings are the angles of beam splitters.
    """

    measured: Callable[[Off], tuple[Tensor, Tensor]]
    off: Off
    photons: int
    circuits: int | None
    dimensions: int
    settings: npt.NDArray[np.int64]
    data: npt.NDArray[np.int64]
    splitters: frozenset[int]

    def derivatives(
        self, kind: str, shape: tuple[int, ...], chosen: npt.NDArray[np.int64], gradient: Tensor
    ) -> Tensor:
        """Return the derivatives of a loss in the phases of each circuit, for each sample.

        Args:
            kind: `"shifts"` of settings, or `"data_shifts"`.
            shape: Of the phases of one circuit.
            chosen: The numbers of those in question.
            gradient: Of the loss in frequencies, shape (..., batch, D).

        Returns:
            Shape (phases, ..., batch).
        """
        number = int(np.prod(shape))
        found = gradient.new_zeros(number, *gradient.shape[:-1])
        width = (
            1 if self.circuits is not None else max(1, _MOST_NUMBERS // max(1, gradient.numel()))
        )
        terms = [
            (phase, *term)
            for phase in chosen
            for term in self._terms(kind == "shifts" and phase in self.splitters)
        ]
        for start in range(0, len(terms), width):
            which, angles, weights = np.array(terms[start : start + width]).T
            which = which.astype(np.int64)
            turned = np.zeros((len(which), number))
            turned[np.arange(len(which)), which] = angles
            difference, ratio = self.measured(self._off(kind, turned.reshape(-1, *shape), gradient))
            slopes = ratio * (difference * gradient).sum(-1)
            factors = torch.tensor(weights).to(slopes).view(-1, *[1] * (gradient.dim() - 1))
            slopes = factors * slopes.view(len(which), *gradient.shape[:-1])
            found.index_add_(0, torch.tensor(which, device=found.device), slopes)
        return found

    def _terms(self, splitter: bool) -> list[tuple[float, float]]:
        """Shifts and weights of one phase.

        That of a beam splitter turns two by a half, and how many photons pass it may differ.
        """
        if not splitter:
            return list(zip(*shifts(self.photons), strict=True))
        angles, weights = shifts(2 * self.photons)
        return list(zip(2 * angles, weights / 2, strict=True))

    def _off(self, kind: str, turned: npt.NDArray[np.float64], like: Tensor) -> Off:
        """Phases off by shifts of a kind, all fields of as many leading dimensions."""
        found = torch.tensor(turned).to(like)
        several = () if self.circuits is not None else (len(turned),)
        found = found.view(*several, *turned.shape[1:])
        if kind == "data_shifts":
            # the shape of settings: a number for a stack, else (shifts, 1, ...)
            nothing = found.new_zeros((*several, *[1] * (self.dimensions if several else 0)))
            return self.off._replace(data_shifts=found, shifts=nothing)
        return self.off._replace(shifts=found, data_shifts=found.new_zeros((*several, 1, 1)))


class Shifted(torch.autograd.Function):
    """Frequencies, with the shift rule for their gradient."""

    @staticmethod
    def forward(
        ctx: Any, settings: Tensor, data: Tensor, frequencies: Tensor, rule: ShiftRule
    ) -> Tensor:
        ctx.rule, ctx.shapes = rule, (settings.shape, data.shape)
        return frequencies.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rule, (settings, data) = ctx.rule, ctx.shapes
        several = rule.circuits is not None
        of_settings = of_data = None
        if ctx.needs_input_grad[0]:
            shape = settings[1:] if several else settings
            found = rule.derivatives("shifts", shape, rule.settings, grad).sum(-1)
            of_settings = (found.T if several else found).reshape(settings)
        if ctx.needs_input_grad[1]:
            found = rule.derivatives("data_shifts", (data[-2], 1), rule.data, grad)
            of_data = found.movedim(0, -2) if several and len(data) == 3 else found
            if several and len(data) == 2:  # the same for all circuits
                of_data = found.sum(1)
        return of_settings, of_data, None, None
