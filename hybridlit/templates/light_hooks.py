"""Hooks at the cost of a call: what Lightning does around each of them, without its ceremony."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from hybridlit.internals.lightning import call_again, pass_over

__all__ = ["NoProfiler", "call_all_again", "pass_over_idle", "profile_nothing"]

_NOTHING: AbstractContextManager[None] = nullcontext()

_KNOWN = ("hybridlit", "lightning")
"""Packages whose callbacks call no hook that is not theirs."""

_EACH_BATCH = (
    *(f"on_{s}_batch_{at}" for s in ("train", "validation", "test") for at in ("start", "end")),
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Hooks of callbacks that come with each batch."""


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


def pass_over_idle(trainer: Trainer) -> None:
    """Let a Trainer that profiles nothing pass over hooks of callbacks that are left empty.

    It calls a dozen callbacks seven times a batch, most of which have nothing to do there.
    """
    if isinstance(trainer.profiler, NoProfiler):  # type: ignore[attr-defined]
        for callback, hook in _idle(trainer):
            if hook not in vars(callback):
                pass_over(callback, hook)


def call_all_again(trainer: Trainer) -> None:
    """Undo `pass_over_idle`: whoever has a callback of a run that has ended may call its hooks."""
    for callback, hook in _idle(trainer):
        call_again(callback, hook)


def _idle(trainer: Trainer) -> Iterator[tuple[Callback, str]]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        kind = type(callback)
        if kind.__module__.partition(".")[0] in _KNOWN:
            for hook in _EACH_BATCH:
                if getattr(kind, hook) is getattr(Callback, hook):
                    yield callback, hook
