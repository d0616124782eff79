"""Where in the training loop a run stands between two optimizer steps, with nothing half done."""

from __future__ import annotations

import math

from lightning.pytorch import Trainer

from hybridlit.internals.lightning import batch_index, batches_until_validation, total_batch_index

__all__ = ["accumulating", "validation_follows"]


def accumulating(trainer: Trainer) -> bool:
    """Tell, after a training batch, whether its gradients still wait for those of further batches.

    Args:
        trainer: The Trainer in a training epoch.

    Returns:
        True in the middle of a window of `accumulate_grad_batches`; the last batch ends a window.
    """
    done = batch_index(trainer) + 1
    return done % trainer.accumulate_grad_batches != 0 and not trainer.is_last_batch


def validation_follows(trainer: Trainer) -> bool:
    """Tell, after a training batch, whether the Trainer validates before the next one.

    Args:
        trainer: The Trainer in a training epoch.

    Returns:
        True if it does. Validation by wall-clock time cannot be foreseen and counts as False.
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
