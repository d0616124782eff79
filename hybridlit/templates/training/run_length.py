"""How long a run is, in optimizer steps and in epochs, for what is scheduled over it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    GradientAccumulationScheduler,
    StochasticWeightAveraging,
)
from typing_extensions import Self

from hybridlit.internals.lightning import batch_index, epochs_done, load_training_data

__all__ = ["RunLength", "accumulated_batches"]


class RunLength(NamedTuple):
    """The optimizer steps of a run; those taken count as they were, also with other batches now.

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
        """Return the length of the run of a Trainer, from where it stands; both have an end."""
        if trainer.train_dataloader is None:
            load_training_data(trainer)
        total = float(trainer.estimated_stepping_batches)
        batches = trainer.num_training_batches
        if not (0 < total < math.inf and batches < math.inf):
            raise ValueError(
                "warm-up, schedule='cosine' and those of torch need a run of known length: set "
                "max_epochs or max_steps of the Trainer, and limit_train_batches for a data loader "
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
            total = max(float(taken), step_at(max(_stepping_epochs(trainer), 1)))
        if trainer.max_steps >= 0:
            total = min(total, trainer.max_steps)
        return cls(total, step_at)


def _stepping_epochs(trainer: Trainer) -> int:
    """Return `max_epochs` without what `StochasticWeightAveraging` adds for batch statistics."""
    epochs: int = trainer.max_epochs  # type: ignore[assignment]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StochasticWeightAveraging):
            # which has an end from its `on_fit_start` on
            epochs = min(epochs, getattr(callback, "swa_end", epochs - 1) + 1)
    return epochs


def accumulated_batches(trainer: Trainer) -> Callable[[int], int]:
    """Tell how many batches make an optimizer step, by epoch, from 0."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            return callback.get_accumulate_grad_batches
    return lambda epoch: trainer.accumulate_grad_batches
