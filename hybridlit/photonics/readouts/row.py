"""What there is to say of a readout: the columns of the table of mapping strategies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.superposition import Superposition

__all__ = ["Readout", "outputs_of"]

_Expectation: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _probabilities_themselves(*_: object) -> nn.Module:
    return nn.Identity()


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Everything that depends on a mapping strategy; functions are called by position.

    Attributes:
        words: What is made of the outcomes, for drawings, texts and messages.
        only_size: From the outcomes to the one number of outputs; None if it can be chosen.
        refusal: From the outcomes, the input state (None: any) and the number of outputs to what
            is wrong with them, as a sentence without a subject; empty if nothing is. No output may
            be the same whatever the circuit, for then no feature reaches it.
        module: From the outcomes, the number of outputs, the number of circuits (None for a single
            one), device and dtype to a module. It maps probabilities (..., D), or (count, batch, D)
            of several circuits, to outputs in their place. What it draws or fills it does in
            `reset_parameters`.
        numbers: From the outcomes and the number of outputs to how many numbers the module of a
            circuit holds in training, gradients included.
        expectation: For what can be computed without amplitudes where no outcomes are dropped,
            instead of `module`: from the columns of each unitary at the occupied input modes, shape
            (modes, inputs, batch), complex, and the photons in each of these to outputs, shape
            (batch, outputs).
        distinguishable: The same for photons that do not interfere with one another, from the
            probabilities to get from each occupied input mode to each mode; None if there is no
            difference.
        transmitted: From the probability that a photon of each output mode is detected, shape
            (modes,) or one for all, to the factor of each expectation.
        of_means: Whether expectations are those of one photon at a time, so that second photons of
            a source only add to them.
        statistic: From the outcomes' photons in each mode, shape (D, modes), to what is averaged
            over them, shape (D, outputs): the same by probabilities, where there is no such form.
        equals: The strategy that this one is another name of.
    """

    words: str
    only_size: Callable[[Outcomes], int] | None
    refusal: Callable[[Outcomes, tuple[int, ...] | Superposition | None, int], str]
    module: Callable[
        [Outcomes, int, int | None, torch.device | None, torch.dtype | None], nn.Module
    ] = _probabilities_themselves
    numbers: Callable[[Outcomes, int], int] = lambda outcomes, size: 0
    expectation: _Expectation | None = None
    distinguishable: _Expectation | None = None
    transmitted: Callable[[Tensor], Tensor] | None = None
    of_means: bool = False
    statistic: Callable[[Tensor], Tensor] | None = None
    equals: str | None = None


def outputs_of(
    probabilities: Tensor,
    module: nn.Module,
    statistic: Callable[[Tensor], Tensor] | None,
    outcomes: Outcomes,
) -> Tensor:
    """Return what is read of the probabilities of outcomes.

    Args:
        probabilities: Shape (..., D).
        module: The readout's module.
        statistic: That of the readout, taken out of it: torch.compile cannot read a member's row.
        outcomes: Whose probabilities they are.

    Returns:
        Shape (..., outputs).
    """
    if statistic is not None:
        return probabilities @ statistic(outcomes.photons(probabilities))
    outputs: Tensor = module(probabilities)
    return outputs
