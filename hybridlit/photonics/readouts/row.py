"""What there is to say of a readout: the columns of the table of mapping strategies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hybridlit.photonics.fock import FockSpace

__all__ = ["Readout"]

_Expectation: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _probabilities_themselves(*_: object) -> nn.Module:
    return nn.Identity()


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Everything that depends on a mapping strategy; functions are called by position.

    Attributes:
        words: What is made of the outcomes, for drawings, texts and messages.
        only_size: From the outcomes to the one number of outputs; None if it can be chosen.
        refusal: From the outcomes, the input occupation and the number of outputs to what is wrong
            with them, as a sentence without a subject; empty if nothing is. No output may be the
            same whatever the circuit, for then no feature reaches it.
        module: From the outcomes, the number of outputs, the number of circuits (None for a single
            one), device and dtype to a module. It maps probabilities (..., D), or (count, batch, D)
            of several circuits, to outputs in their place. What it draws or fills it does in
            `reset_parameters`.
        numbers: From the outcomes and the number of outputs to how many numbers the module of a
            circuit holds in training, gradients included.
        expectation: For what can be computed without amplitudes, instead of `module`: from the
            columns of each unitary at the occupied input modes, shape (modes, inputs, batch),
            complex, and the photons in each of these to outputs, shape (batch, outputs).
        distinguishable: The same for photons that do not interfere with one another, from the
            probabilities to get from each occupied input mode to each mode; None if there is no
            difference.
        equals: The strategy that this one is another name of.
    """

    words: str
    only_size: Callable[[FockSpace], int] | None
    refusal: Callable[[FockSpace, tuple[int, ...], int], str]
    module: Callable[
        [FockSpace, int, int | None, torch.device | None, torch.dtype | None], nn.Module
    ] = _probabilities_themselves
    numbers: Callable[[FockSpace, int], int] = lambda space, size: 0
    expectation: _Expectation | None = None
    distinguishable: _Expectation | None = None
    equals: str | None = None
