"""Where in the training loop a run stands: between two optimizer steps nothing is half done."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import RunningStage

from hybridlit.internals.lightning import (
    batch_ended,
    batch_index,
    batches_until_validation,
    epoch_ended,
    stand_after,
    total_batch_index,
    validate_anew,
)

__all__ = ["accumulating", "behind_step", "rewind", "validation_follows"]


def accumulating(trainer: Trainer) -> bool:
    """Tell, after a training batch, whether its gradients still wait for those of further batches.

    The last batch of an epoch ends a window of `accumulate_grad_batches`.
    """
    done = batch_index(trainer) + 1
    return done % trainer.accumulate_grad_batches != 0 and not trainer.is_last_batch


def validation_follows(trainer: Trainer) -> bool:
    """Tell, after a training batch, whether the Trainer validates before the next one.

    Validation by wall-clock time cannot be foreseen and counts as False.
    """
    if not trainer.enable_validation or not any(trainer.num_val_batches):
        return False
    every = trainer.check_val_every_n_epoch
    if every is not None and (trainer.current_epoch + 1) % every:
        return False
    if trainer.should_stop:
        return True
    batches = batches_until_validation(trainer)
    if batches is None or math.isinf(batches):
        return trainer.is_last_batch and batches is not None
    done = (total_batch_index(trainer) if every is None else batch_index(trainer)) + 1
    return done % int(batches) == 0


def behind_step(loops: dict[str, Any], trainer: Trainer) -> bool:
    """Tell whether an interruption came where ordinary checkpoints are saved as well.

    Args:
        loops: Counters as saved after the interruption (`fit_loop_of`).
        trainer: The interrupted Trainer.

    Returns:
        True among the hooks that end an optimizer step or an epoch.
    """
    if trainer.state.stage == RunningStage.VALIDATING:
        return False
    return (batch_ended(loops) and not accumulating(trainer)) or epoch_ended(loops)


def rewind(loops: dict[str, Any], batches: int, trainer: Trainer) -> None:
    """Put the counters of an interrupted run back to the end of its last optimizer step.

    Args:
        loops: As of `behind_step`; changed in place. `loops["rewound"]`, which Lightning does not
            look at, becomes True unless the counters stood there already.
        batches: Number of batches of the epoch up to that step.
        trainer: The interrupted Trainer.
    """
    if behind_step(loops, trainer):
        return
    loops["rewound"] = True
    if trainer.state.stage == RunningStage.VALIDATING:
        validate_anew(loops)
    else:
        stand_after(loops, batches)
