"""Lightning's counters of epochs and batches as they stand in a checkpoint, and what they mean."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import RunningStage

from hybridlit.resume.boundaries import accumulating

__all__ = ["behind_step", "epoch_ended", "reopen_epoch", "rewind"]


def epoch_ended(loops: dict[str, Any]) -> bool:
    """Tell whether a checkpoint was saved at the end of an epoch.

    Args:
        loops: `checkpoint["loops"]["fit_loop"]`.

    Returns:
        True if it was; False before the first epoch.
    """
    epoch = loops["epoch_progress"]["current"]
    return bool(epoch["processed"] == epoch["started"] == epoch["ready"] > 0)


def behind_step(loops: dict[str, Any], trainer: Trainer) -> bool:
    """Tell whether an interruption came where ordinary checkpoints are saved as well.

    Args:
        loops: `checkpoint["loops"]["fit_loop"]`, as saved after the interruption.
        trainer: The interrupted Trainer.

    Returns:
        True among the hooks that end an optimizer step or an epoch.
    """
    if trainer.state.stage == RunningStage.VALIDATING:
        return False
    batches = loops["epoch_loop.batch_progress"]["current"]
    ended = batches["processed"] > batches["completed"] and not accumulating(trainer)
    return ended or epoch_ended(loops)


def reopen_epoch(loops: dict[str, Any]) -> None:
    """Undo the end of an epoch that a limit of steps cut short: it goes on.

    Args:
        loops: `checkpoint["loops"]["fit_loop"]`; changed in place.
    """
    for count in loops["epoch_progress"].values():
        count["processed"] = count["completed"] = count["started"] - 1
    _stand_after(loops, loops["epoch_loop.batch_progress"]["current"]["completed"])


def rewind(loops: dict[str, Any], batches: int, trainer: Trainer) -> None:
    """Put the counters of an interrupted run back to the end of its last optimizer step.

    Args:
        loops: `checkpoint["loops"]["fit_loop"]`; changed in place. `loops["rewound"]` becomes True,
            unless the counters stood there already.
        batches: Number of batches of the epoch up to that step.
        trainer: The interrupted Trainer.
    """
    if behind_step(loops, trainer):
        return
    loops["rewound"] = True  # Lightning does not look at it
    if trainer.state.stage == RunningStage.VALIDATING:
        # the step is complete: validate anew, from the first batch
        for count in loops["epoch_loop.val_loop.batch_progress"].values():
            if isinstance(count, dict):
                count.update(ready=1, started=1, processed=0, completed=0)
    else:
        _stand_after(loops, batches)


def _stand_after(loops: dict[str, Any], batches: int) -> None:
    """Make the counters those of a checkpoint that was saved after a batch of this epoch."""
    progress = loops["epoch_loop.batch_progress"]
    undone = progress["current"]["completed"] - batches
    total = progress["total"]["completed"] - undone
    for name, done in (("current", batches), ("total", total)):
        progress[name].update(ready=done, started=done, processed=done, completed=done - 1)
    progress["is_last_batch"] = False
    # Lightning counts this step once more when it resumes
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
    handed = loops["state_dict"].get("combined_loader", [])
    if len(handed) == 1 and "position" in handed[0]:
        handed[0]["position"] = batches
