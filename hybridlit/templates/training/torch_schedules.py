"""Schedules that a class path names: any scheduler of torch, for the learning rate of one group."""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from typing_extensions import Self

from hybridlit.checks import choice
from hybridlit.constructors import named
from hybridlit.templates.training.optimizer_choice import OptimizerChoice
from hybridlit.templates.training.run_length import RunLength

__all__ = ["CYCLED", "INTERVALS", "TorchSchedule"]

CYCLED = ("momentum", "betas")
"""What a scheduler of torch may set in a group besides the learning rate."""

INTERVALS = ("epoch", "step")
"""When a scheduler of torch is stepped."""

_RATE = ("max_lr",)
_LENGTH = ("total_steps", "T_max")


class _Named(NamedTuple):
    """A class of schedulers, what its constructor is given, and when it is stepped."""

    kind: type[LRScheduler]
    arguments: dict[str, Any]
    interval: str

    @classmethod
    def of(cls, given: Mapping[str, Any], argument: str) -> Self:
        """Return what an argument of a template names."""
        rest = {name: value for name, value in given.items() if name != "interval"}
        kind, arguments = named(rest, argument)
        if not (isinstance(kind, type) and issubclass(kind, LRScheduler)):
            raise ValueError(
                f"{argument} must name a class of schedulers, such as "
                f"torch.optim.lr_scheduler.OneCycleLR, got {kind!r}"
            )
        if issubclass(kind, ReduceLROnPlateau):
            raise ValueError(
                f"{argument} must be 'plateau' for what ReduceLROnPlateau does, with "
                "plateau_patience and plateau_factor, got its class_path"
            )
        for name in arguments.keys() & _RATE:
            raise ValueError(
                f"{argument} must leave {name} out of its init_args, got {arguments[name]!r}: it "
                "is classical_lr of the one group and quantum_lr of the other"
            )
        by_step = issubclass(kind, (OneCycleLR, CyclicLR))
        interval = given.get("interval", "step" if by_step else "epoch")
        choice(interval, f"interval of {argument}", INTERVALS)
        return cls(kind, arguments, interval)

    def filled(self, rate: float, last: int) -> dict[str, Any]:
        """Return the arguments with those of the run: the group's rate, and the last step."""
        known = dict.fromkeys(_RATE, rate)
        if "epochs" not in self.arguments:  # the other way to say it
            known |= dict.fromkeys(_LENGTH, max(last, 1))
        takes = inspect.signature(self.kind).parameters
        return {n: value for n, value in known.items() if n in takes} | self.arguments


class TorchSchedule:
    """The learning rate of a group as a scheduler of torch sets it, as a factor by optimizer step.

    The scheduler runs ahead on a group of its own, with the same optimizer and the same rate, so
    that the factor depends on the step alone: a resumed run needs no state of it. `max_lr` is the
    group's learning rate, and `total_steps` and `T_max` are those of the run, unless given.

    Args:
        given: `class_path`, `init_args`, and `interval`, one of `INTERVALS`; without it, a step
            for `OneCycleLR` and `CyclicLR`, and an epoch for all others.
        argument: Name of the argument of a template, for messages.
        optimizer: The optimizer of the group.
        rate: The learning rate of the group, above 0.
        length: The length of the run.
        warmup: Optimizer steps of a linear warm-up, which multiplies the factor.

    Raises:
        TypeError: If `given` has another form.
        ValueError: If it names no scheduler, or one that refuses its arguments.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        argument: str,
        optimizer: OptimizerChoice,
        rate: float,
        length: RunLength,
        warmup: float = 0.0,
    ) -> None:
        chosen = _Named.of(given, argument)
        base = chosen.arguments.get("base_lr", 0.0)
        if isinstance(base, (int, float)) and not base < rate:  # it would fall where it should rise
            raise ValueError(
                f"{argument} must rise from base_lr to the learning rate of its group, got "
                f"base_lr={base} and the rate {rate:g}: lower base_lr, or give schedule and "
                "quantum_schedule one each"
            )
        self._argument, self._rate = argument, rate
        self._length, self._warmup = length, warmup
        self._by_epoch = chosen.interval == "epoch"
        self._ends: list[float] = []  # steps at which epochs are over
        self._last = self._position(int(length.total))
        trial = nn.Parameter(torch.zeros(1, 1))
        self._group: dict[str, Any] = {"params": [trial], "weight_decay": 0.0, "lr": rate}
        shadow = optimizer.make([self._group])
        try:
            self._scheduler = chosen.kind(shadow, **chosen.filled(rate, self._last))
        except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{argument} must be given init_args that {chosen.kind.__name__} takes, got "
                f"{chosen.arguments}: {error}"
            ) from None
        self._cycles = bool(getattr(self._scheduler, "cycle_momentum", False))
        shadow.step(lambda: 0.0)  # or torch warns of schedulers that step first
        self._table = [self._now()]

    def check_end(self) -> None:
        """Refuse a scheduler that cannot be stepped to the end of the run."""
        ends = getattr(self._scheduler, "total_steps", self._last)
        if ends < self._last:
            name = type(self._scheduler).__name__
            raise ValueError(
                f"{self._argument} must not end before the run, got {name} with {ends} steps where "
                f"the run has {self._last}: leave its length out of init_args"
            )

    def __call__(self, step: int) -> float:
        """Return the factor of the learning rate at an optimizer step, from 0."""
        warm = min(1.0, (step + 1) / self._warmup) if self._warmup else 1.0
        return warm * self._at(step)[0]

    def options(self, step: int) -> dict[str, Any]:
        """Return what else of the group it sets at a step: momentum or betas, if it cycles them."""
        return self._at(step)[1]

    def _at(self, step: int) -> tuple[float, dict[str, Any]]:
        position = min(self._position(step), self._last)
        while len(self._table) <= position:
            self._scheduler.step()
            self._table.append(self._now())
        return self._table[position]

    def _now(self) -> tuple[float, dict[str, Any]]:
        names = CYCLED if self._cycles else ()
        return self._group["lr"] / self._rate, {
            n: self._group[n] for n in names if n in self._group
        }

    def _position(self, step: int) -> int:
        """Return how often the scheduler has been stepped before an optimizer step."""
        if not self._by_epoch:
            return step
        while not self._ends or self._ends[-1] <= step:
            self._ends.append(round(self._length.step_at(len(self._ends) + 1), 6))
        return bisect_right(self._ends, step)
