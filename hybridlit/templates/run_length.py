"""How many optimizer steps a run takes, and at which step an epoch begins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from typing_extensions import Self

from hybridlit.internals.lightning import batch_index, epochs_done

__all__ = ["RunLength", "accumulated_batches"]


class RunLength(NamedTuple):
    """The optimizer steps of a run, of which some may have been taken already.

    Steps that a run has taken count as they were taken, also if it goes on with other batches.

    Attributes:
        total: Steps of the whole run; infinite if nobody needs to know.
        step_at: The step at which a number of epochs, fractions allowed, is over.
    """

    total: float
    step_at: Callable[[float], float]

    @classmethod
    def unknown(cls) -> Self:
        """Return the length of a run that may go on for ever."""
        return cls(math.inf, lambda epochs: math.inf)

    @classmethod
    def of(cls, trainer: Trainer) -> Self:
        """Return the length of the run of a Trainer, from where it stands.

        Args:
            trainer: The Trainer, with its training data.

        Raises:
            ValueError: If the run or an epoch has no end.
        """
        total = float(trainer.estimated_stepping_batches)  # makes the loaders if there are none
        batches = trainer.num_training_batches
        if not (0 < total < math.inf and batches < math.inf):
            raise ValueError(
                "warm-up and schedule='cosine' need a run of known length: set "
                "Trainer(max_epochs=...), and Trainer(limit_train_batches=...) for a data loader "
                "without a length"
            )
        accumulated = accumulated_batches(trainer)
        epoch, amid = epochs_done(trainer)
        done = batch_index(trainer) + 1 if amid else 0
        here: float = epoch + done / batches
        taken: int = trainer.global_step

        def steps(epoch: int) -> int:
            return math.ceil(batches / accumulated(epoch))

        next_one = taken if not amid else taken + steps(epoch) - done // accumulated(epoch)

        def step_at(epochs: float) -> float:
            if epochs <= here:
                return float(taken * epochs / here) if here else 0.0
            if amid and epochs <= epoch + 1:
                return float(taken + (next_one - taken) * (epochs - here) / (epoch + 1 - here))
            whole = math.floor(epochs)
            first = epoch + 1 if amid else epoch
            between = sum(map(steps, range(first, whole)))
            return float(next_one + between + (epochs - whole) * steps(whole))

        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            total = max(float(taken), step_at(max(trainer.max_epochs, 1)))
        if trainer.max_steps >= 0:
            total = min(total, trainer.max_steps)
        return cls(total, step_at)


def accumulated_batches(trainer: Trainer) -> Callable[[int], int]:
    """Tell how many batches make an optimizer step in an epoch.

    Args:
        trainer: The Trainer; a `GradientAccumulationScheduler` decides if it has one.

    Returns:
        The number by epoch, from 0.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            return callback.get_accumulate_grad_batches
    return lambda epoch: trainer.accumulate_grad_batches
