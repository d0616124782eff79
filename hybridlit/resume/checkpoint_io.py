"""How a Trainer writes and reads checkpoints so that neither a kill nor a damaged file hurts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from hybridlit.resume.durable import save_durably
from hybridlit.resume.folder import undamaged

__all__ = ["DurableCheckpointIO"]


class DurableCheckpointIO(TorchCheckpointIO):
    """Makes `Trainer.save_checkpoint` durable and `ckpt_path` safe against damaged files.

    `HybridCheckpoint` puts it in place; `Trainer(plugins=[DurableCheckpointIO()])` does for any
    other checkpoint callback. Remote paths are left to Lightning.

    Args:
        fall_back: Load the newest undamaged checkpoint of the folder if the one asked for is
            damaged, with a warning that names both; False: raise. To be true in `Trainer.fit` only.
    """

    def __init__(self, fall_back: bool = True) -> None:
        super().__init__()
        self.fall_back = fall_back

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint; see `save_durably`."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            save_durably(checkpoint, path)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Load a checkpoint after a look at its checksum.

        Raises:
            FileNotFoundError: If there is no such file.
            RuntimeError: If it is damaged and no other one is to be used.
        """
        if "://" not in str(path) and Path(path).is_file():
            path = undamaged(path, self.fall_back)
        loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
        return loaded
