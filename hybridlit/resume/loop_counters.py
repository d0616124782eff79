"""The counters of an interrupted run, put back to the end of its last optimizer step."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import RunningStage

from hybridlit.internals.lightning import batch_ended, epoch_ended, stand_after, validate_anew
from hybridlit.resume.boundaries import accumulating

__all__ = ["behind_step", "rewind"]


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
    return (batch_ended(loops) and not accumulating(trainer)) or epoch_ended(loops)


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
        validate_anew(loops)
    else:
        stand_after(loops, batches)
