"""The epochs that a callback is asked to look at."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from hybridlit.checks import integer

__all__ = ["checked_epochs", "say_missed"]


def checked_epochs(
    epochs: Iterable[int] | None, every: int | None, name: str
) -> tuple[list[int] | None, int | None]:
    """Check the arguments `epochs` and the one called `name`, of which one at most can be given."""
    if epochs is not None and every is not None:
        raise ValueError(f"give epochs or {name}, got both: {epochs!r} and {every!r}")
    if epochs is not None:
        epochs = [integer(epoch, "each of epochs", 0) for epoch in epochs]
    return epochs, None if every is None else integer(every, name, 1)


def say_missed(epochs: list[int] | None, trainer: Trainer, done: str) -> None:
    """Warn of epochs that a run ends before, so that they cannot be `done`."""
    last = trainer.max_epochs
    missed = [epoch for epoch in epochs or [] if last not in (None, -1) and epoch >= last]
    if missed:
        rank_zero_warn(f"max_epochs={last} ends before epochs {missed} can be {done}")
