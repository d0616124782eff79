"""Training steps with any number of rows, which leave no trace on a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridlit.analysis.batch_size.step_memory import (
    Bytes,
    StepMemory,
    bytes_in_use,
    called_circuits,
    held_bytes,
    nothing_kept,
)
from hybridlit.analysis.evaluation import LossFunction, loss_function, tensors_in, to_device_of
from hybridlit.checks import choice
from hybridlit.undisturbed import undisturbed

__all__ = ["OptimizerFactory", "TrialSteps", "trial_steps"]

OptimizerFactory = Callable[[list[nn.Parameter]], Optimizer]
"""From parameters to their optimizer."""

_OPTIMIZERS: dict[str, OptimizerFactory] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
}

_CALIBRATION_ROWS = 64  # with fewer, libraries may take other paths


@dataclass(frozen=True)
class TrialSteps:
    """Training steps of a model, in the order of Lightning's: gradients go after the forward pass.

    Attributes:
        model: The model.
        sample: A batch, on the model's device.
        optimizer: Its optimizer.
        loss: From (model, batch) to the mean loss.
        device: Where the model is.
    """

    model: nn.Module
    sample: Any
    optimizer: Optimizer
    loss: LossFunction
    device: torch.device

    def step(self, rows: int) -> None:
        """Make a step with a number of rows, which repeat those of the sample.

        Raises:
            ValueError: If it is one row, and the model needs more, as batch normalization does.
        """
        batch = self._batch(rows)
        try:
            value = self.loss(self.model, batch)
        except ValueError as error:
            if rows > 1:
                raise
            raise ValueError(
                f"the model cannot train on one row ({error}): raise max_batch or budget, so that "
                "2 are allowed, or take a normalization that needs no other rows, such as LayerNorm"
            ) from error
        self.optimizer.zero_grad()
        value.backward()
        self.optimizer.step()

    def memory(self, usable: int) -> StepMemory:
        """Measure the memory of small steps: up to 64 and 128 rows, if `usable` / 8 bytes allow."""
        found, rows = self._memory(2), 2
        while rows < _CALIBRATION_ROWS and found.peak(4 * rows) - found.held <= usable / 8:
            rows *= 2
        return found if rows == 2 else self._memory(rows)

    def peak(self, memory: StepMemory, rows: int) -> int:
        """Measure the peak of a step in bytes, as `memory.peak` predicts them.

        What the recorded allocations do not hold comes from `memory`.
        """
        return memory.held + int(self._in_use(rows).max()) + memory.working

    def seconds(self, rows: int) -> float:
        """Measure the seconds of a step: the median of three, after one that is not counted."""
        taken = []
        for _ in range(4):
            start = self._now()
            self.step(rows)
            taken.append(self._now() - start)
        return float(np.median(taken[1:]))

    def _memory(self, rows: int) -> StepMemory:
        """Measure steps with so many rows, and twice as many."""
        # alone: activation checkpoints call layers in the backward pass again
        circuits = called_circuits(
            self.model, lambda: self.loss(self.model, self._batch(rows)), rows
        )
        with nothing_kept(self.model):
            in_use = self._in_use(rows), self._in_use(2 * rows)
        tables: dict[Hashable, int] = {}
        for circuit in circuits:
            tables |= circuit.step.tables
        held = held_bytes(self.model, self.optimizer) + sum(tables.values())
        return StepMemory(held, (rows, 2 * rows), in_use, circuits, torch.get_num_threads())

    def _in_use(self, rows: int) -> Bytes:
        self.optimizer.zero_grad()
        return bytes_in_use(partial(self.step, rows), self.device)

    def _batch(self, rows: int) -> Any:
        return apply_to_collection(self.sample, Tensor, _repeated, rows)

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()


def _repeated(tensor: Tensor, rows: int) -> Tensor:
    if not tensor.dim():
        return tensor
    return tensor[torch.arange(rows, device=tensor.device) % len(tensor)]


@contextmanager
def trial_steps(
    model: nn.Module, sample: Any, optimizer: str | OptimizerFactory, loss: LossFunction | None
) -> Iterator[TrialSteps]:
    """Make a model ready for training steps that leave no trace on it.

    Arguments and errors are those of `find_batch_size`.
    """
    function = loss_function(model, loss)
    if isinstance(optimizer, str):
        choice(optimizer, "optimizer", _OPTIMIZERS)
        optimizer = _OPTIMIZERS[optimizer]
    elif not callable(optimizer):
        raise TypeError(
            f"optimizer must be one of {list(_OPTIMIZERS)} or a function from a list of parameters "
            f"to an optimizer, got {optimizer!r}"
        )
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("the model has no trainable parameters: unfreeze some first")
    _check(sample)
    with (
        undisturbed(model, silent=isinstance(model, LightningModule), whole=True),
        torch.enable_grad(),
    ):
        model.train()
        model.zero_grad()
        given = to_device_of(model, sample)
        device = parameters[0].device
        yield TrialSteps(model, given, optimizer(parameters), function, device)


def _check(sample: Any) -> None:
    counts = {len(tensor) for tensor in tensors_in(sample) if tensor.dim()}
    if len(counts) != 1 or min(counts) < 2:
        raise ValueError(
            "sample must be a batch whose tensors all have the same number of rows, at least 2 "
            f"(batch normalization needs two), got {sorted(counts) or 'no tensors'}"
        )
