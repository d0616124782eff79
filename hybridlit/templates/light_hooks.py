"""Hooks at the cost of a call: what Lightning does around each of them, without its ceremony."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from hybridlit.internals.lightning import HOOK_NAME

__all__ = ["LightHooks", "NoProfiler", "profile_nothing"]

_NOTHING: AbstractContextManager[None] = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Profiles nothing, as Lightning's `PassThroughProfiler`, and makes no context to do so.

    A Trainer asks its profiler for 140 contexts a step.
    """

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Return a context that does nothing."""
        return _NOTHING


def profile_nothing(trainer: Trainer) -> None:
    """Let a Trainer whose profiler does nothing do so faster."""
    if type(trainer.profiler) is PassThroughProfiler:  # type: ignore[attr-defined]
        trainer.profiler = NoProfiler()  # type: ignore[attr-defined]


class LightHooks(LightningModule):
    """A module whose hooks Lightning can note without a search for parameters of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, as any module does."""
        if name == HOOK_NAME:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)
