"""How large the gradient of some parameters is, and the step that the optimizer makes of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridlit.internals.torch import norms, subtracted, takes_scaled_gradients

__all__ = ["StepSizes", "StepUnderWay", "gradient_scaler", "remaining_scale", "step_sizes"]


class StepSizes(NamedTuple):
    """Norms over some parameters: of their gradient, of their change, of their values before it."""

    gradient: float
    step: float
    weights: float


class StepUnderWay:
    """Parameters whose gradient is known and that are about to be updated.

    Args:
        parameters: Parameters with gradients, at least one; sparse gradients are fine.
        scale: What the gradients are to be divided by.
    """

    def __init__(self, parameters: list[nn.Parameter], scale: float = 1.0) -> None:
        self.count = sum(parameter.numel() for parameter in parameters)  # entries
        self.scale = scale
        self._parameters = [parameter.detach() for parameter in parameters]
        self._before = [parameter.clone() for parameter in self._parameters]
        self._gradient = _norms([p.grad for p in parameters if p.grad is not None])

    def norms(self) -> list[Tensor]:
        """Return the norms of each gradient, each change and each parameter, on their device."""
        changes = subtracted(self._parameters, self._before)
        return [*self._gradient, *_norms(changes), *_norms(self._before)]


def step_sizes(steps: Sequence[StepUnderWay]) -> list[StepSizes] | None:
    """Return the sizes of steps that were taken, or None if one of them is infinite or NaN.

    All that is on an accelerator is read from it at once.
    """
    found = [step.norms() for step in steps]
    device = found[0][0].device
    values = torch.stack([n.to(device, torch.float32) for one in found for n in one]).tolist()
    if not all(map(math.isfinite, values)):
        return None
    sizes, rest = [], iter(values)
    for step, own in zip(steps, found, strict=True):
        one = len(own) // 3
        gradient, change, weights = (
            math.hypot(*itertools.islice(rest, one)) for _ in StepSizes._fields
        )
        sizes.append(StepSizes(gradient / step.scale, change, weights))
    return sizes


def gradient_scaler(trainer: Trainer) -> Any:
    """Return the gradient scaler of mixed precision, or None."""
    return getattr(trainer.precision_plugin, "scaler", None)


def remaining_scale(trainer: Trainer, optimizer: Optimizer) -> float:
    """Return the factor of the gradients that an optimizer itself takes away when it steps.

    Optimizers that can do so (`fused=True`) get the gradients as the scaler made them; for all
    others Lightning has removed the factor by `on_before_optimizer_step`.
    """
    scaler = gradient_scaler(trainer)
    if scaler is None or not takes_scaled_gradients(optimizer):
        return 1.0
    return float(scaler.get_scale())


def _norms(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    dense = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    half = (torch.float16, torch.bfloat16)  # the norm would overflow, or vanish
    return norms([t.float() if t.dtype in half else t for t in dense])
