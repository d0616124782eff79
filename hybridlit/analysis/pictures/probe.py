"""The first samples of a run, kept to look at a model with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

__all__ = ["Probe"]


class Probe:
    """The first samples that pass by, copied.

    Args:
        name: What they are, for titles.

    Attributes:
        batches: Pairs of inputs and targets, on the CPU.
        size: Number of samples.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches: list[tuple[Any, Tensor]] = []
        self.size = 0

    def add(self, pl_module: LightningModule, batch: Any, most: int) -> None:
        """Copy a batch to the CPU, as far as there is room for it.

        Args:
            pl_module: The model, whose method `unpack` splits a batch, if it has one.
            batch: The batch.
            most: Samples that the probe holds at most. Of inputs that are no tensor, the whole
                batch is kept.

        Raises:
            TypeError: If the batch is no pair and there is no `unpack`, or targets are no tensor.
        """
        room = most - self.size
        if room <= 0:
            return
        unpack: Callable[[Any], Any] | None = getattr(pl_module, "unpack", None)
        if unpack is None and (not isinstance(batch, (tuple, list)) or len(batch) != 2):
            raise TypeError(
                f"PhotonicInspector needs a batch that is a pair (inputs, targets), got "
                f"{type(batch).__name__}; define unpack(batch) on {type(pl_module).__name__}"
            )
        inputs, targets = unpack(batch) if unpack is not None else batch
        if not isinstance(targets, Tensor):
            raise TypeError(
                f"targets must be a tensor, got {type(targets).__name__}; let unpack(batch) of "
                f"{type(pl_module).__name__} return the tensor that groups of samples go by"
            )
        if isinstance(inputs, Tensor):
            inputs, targets = inputs[:room], targets[:room]
        kept = apply_to_collection(
            (inputs, targets), Tensor, lambda tensor: tensor.detach().to("cpu", copy=True)
        )
        self.batches.append(kept)
        self.size += len(targets)
