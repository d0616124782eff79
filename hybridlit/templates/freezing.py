"""What callbacks that freeze and unfreeze parts of a model have made of it, for a resumed run.

Lightning's `BaseFinetuning` freezes parts before a run and remembers which groups it has added to
the optimizer, but not which parts it has unfrozen: after a resume, they would stay as they are.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning

__all__ = ["frozen_parts", "restore_frozen"]


def frozen_parts(trainer: Trainer, pl_module: LightningModule) -> dict[str, list[str]] | None:
    """Return what is frozen now.

    Args:
        trainer: The Trainer.
        pl_module: Its model.

    Returns:
        Names of the parameters that require no gradient, and of the modules that track no running
        statistics; None if no callback unfreezes anything.
    """
    if not any(isinstance(c, BaseFinetuning) for c in trainer.callbacks):  # type: ignore[attr-defined]
        return None
    return {
        "parameters": [name for name, p in pl_module.named_parameters() if not p.requires_grad],
        "statistics": [name for name, m in _tracking(pl_module) if not m.track_running_stats],
    }


def restore_frozen(
    trainer: Trainer, pl_module: LightningModule, frozen: dict[str, list[str]] | None
) -> None:
    """Freeze and unfreeze parts as they were when a checkpoint was saved.

    Args:
        trainer: The Trainer.
        pl_module: Its model.
        frozen: What `frozen_parts` returned then.
    """
    if frozen is None or frozen_parts(trainer, pl_module) is None:
        return
    for name, parameter in pl_module.named_parameters():
        parameter.requires_grad_(name not in frozen["parameters"])
    for name, module in _tracking(pl_module):
        module.track_running_stats = name not in frozen["statistics"]


def _tracking(pl_module: LightningModule) -> list[tuple[str, Any]]:
    return [(n, m) for n, m in pl_module.named_modules() if hasattr(m, "track_running_stats")]
