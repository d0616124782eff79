"""Copies of a model that are trained again from an earlier point of its run, with parts frozen."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridlit.analysis.evaluation import LossFunction, loss_function, to_device_of
from hybridlit.analysis.loss_change.allocation import merged

__all__ = [
    "Origin",
    "TrainedCopy",
    "batches_in_turns",
    "copied_optimizer",
    "in_one",
    "seed_everything",
    "seed_torch",
    "training_loss",
]

_DRAW = 2**20  # more steps than a copy takes


@dataclass
class Origin:
    """A point of a training run from which it can be repeated.

    Attributes:
        step: Optimizer steps that the run had taken.
        values: Parameters and persistent buffers by qualified name.
        moments: What the optimizer knew of each parameter, by its number; nothing at the start.
        rates: Learning rates of the optimizer's groups at the steps since then, as far as known;
            later steps have the last ones.
    """

    step: int
    values: dict[str, Tensor]
    moments: dict[int, dict[str, Any]]
    rates: list[list[float]] = field(default_factory=list)


@dataclass
class TrainedCopy:
    """A copy of a model, and its training from an `Origin`; the model itself is never touched.

    Every step draws its random numbers (dropout, say) from generators seeded with its number, so
    that copies differ by what is frozen and by nothing else: callers restore the generators.

    Attributes:
        model: The copy. It is set to the values of the origin.
        optimizer: Its optimizer, from `copied_optimizer`.
        origin: Where it begins.
        batch: From a number, from 0 on, to a training batch; see `batches_in_turns`.
        frozen: Qualified names of the parameters that stay as they are: their gradients are taken
            away, so that neither weight decay nor moments move them. Running statistics of batch
            normalization go on.
        idle: From the number of a step of the run to names of parameters that rest at that step.
        modes: Which modules are in training mode, by qualified name; all that are not listed are.
        accumulated: Batches for each step, at least 1.
        clip: What is done with the gradients of an optimizer before it steps.
        draw: Which random numbers are drawn, from 0 on.
        steps: Steps taken since the origin.
    """

    model: nn.Module
    optimizer: Optimizer
    origin: Origin
    batch: Callable[[int], Any]
    frozen: Collection[str] = ()
    idle: Callable[[int], Collection[str]] = lambda step: ()
    modes: Mapping[str, bool] = field(default_factory=dict)
    accumulated: int = 1
    clip: Callable[[Optimizer], None] = lambda optimizer: None
    draw: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        self._loss = training_loss(self.model)
        tensors = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        with torch.no_grad():
            for name, value in self.origin.values.items():
                tensors[name].copy_(value)
        self.optimizer.load_state_dict(  # which knows what belongs on the device of a parameter
            self.optimizer.state_dict() | {"state": copy.deepcopy(self.origin.moments)}
        )

    def train(self, steps: int) -> None:
        """Take further optimizer steps."""
        for name, module in self.model.named_modules():
            module.training = self.modes.get(name, True)
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        rates, start = self.origin.rates, self.steps * self.accumulated
        for group, rate in zip(
            self.optimizer.param_groups, rates[min(self.steps, len(rates) - 1)], strict=True
        ):
            group["lr"] = rate
        seed_everything(self.draw * _DRAW + self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            for number in range(start, start + self.accumulated):
                batch = to_device_of(self.model, self.batch(number))
                (self._loss(self.model, batch) / self.accumulated).backward()
        parameters = dict(self.model.named_parameters())
        if all(parameter.grad is None for parameter in parameters.values()):
            raise RuntimeError("the loss of the copy does not depend on the copy's parameters")
        resting = {*self.frozen, *self.idle(self.origin.step + self.steps)}
        for name in resting & parameters.keys():
            parameters[name].grad = None
        self.clip(self.optimizer)
        self.optimizer.step()
        self.steps += 1


def batches_in_turns(batches: list[Any], shuffled: bool, draw: int = 0) -> Callable[[int], Any]:
    """Take a few batches again and again: from a number, from 0 on, to always the same batch.

    Args:
        batches: At least one batch.
        shuffled: Deal their rows out anew each time that all have been taken, as a data loader that
            shuffles does: with batch normalization it matters who is in a batch with whom. Batches
            that are no tuples of tensors with equal rows stay as they are.
        draw: Which order they are dealt out in, from 0 on.
    """
    together, rows = in_one(batches)
    if not shuffled or not rows:
        return lambda number: batches[number % len(batches)]

    def dealt(number: int) -> Any:
        turn, place = divmod(number, len(batches))
        generator = torch.Generator().manual_seed(draw * _DRAW + turn)
        chosen = torch.randperm(sum(rows), generator=generator).split(rows)[place]
        return tuple(column[chosen] for column in together[0])

    return dealt


def in_one(batches: list[Any]) -> tuple[list[Any], list[int]]:
    """Return `merged` batches, and how many rows each had; no numbers if they stay apart."""
    together = merged(batches)
    return together, [] if together is batches else [len(batch[0]) for batch in batches]


def copied_optimizer(optimizer: Optimizer, model: nn.Module, copied: nn.Module) -> Optimizer:
    """Copy the optimizer of a model for its copy: the same settings, and nothing learned."""
    memo: dict[int, Any] = {
        id(p): q for p, q in zip(model.parameters(), copied.parameters(), strict=True)
    }
    memo[id(optimizer.state)] = defaultdict(dict)  # moments are not copied only to be forgotten
    return copy.deepcopy(optimizer, memo)


def training_loss(model: nn.Module) -> LossFunction:
    """Return the mean of the model's `probe_losses`, or else the loss of a `HybridModule`."""
    if callable(getattr(model, "probe_losses", None)):
        return lambda model, batch: model.probe_losses(batch).mean()
    return loss_function(model)


def seed_everything(seed: int) -> None:
    """Seed the generators of `seed_torch`, numpy and Python."""
    random.seed(seed)
    np.random.seed(seed)
    seed_torch(seed)


def seed_torch(seed: int) -> None:
    """Seed the generators of torch (CPU and, once CUDA is in use, all its devices)."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # else a seed of the user's waits for its beginning
        torch.cuda.manual_seed_all(seed)
