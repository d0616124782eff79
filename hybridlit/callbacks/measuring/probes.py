"""Fixed batches that a model is looked at with in the middle of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from hybridlit.analysis.evaluation import unlogged
from hybridlit.analysis.untouched import random_state_kept

__all__ = ["evaluation", "full_precision", "keep_first", "merged"]


def keep_first(kept: list[Any], batch: Any, batch_idx: int, most: int) -> None:
    """Keep a batch if it is one of the first of the first epoch.

    Args:
        kept: Those kept so far; it grows.
        batch: The batch.
        batch_idx: Its number in its epoch.
        most: How many to keep.
    """
    # an epoch of fewer batches must not begin again in the next one
    if batch_idx == len(kept) < most:
        kept.append(apply_to_collection(batch, Tensor, lambda t: t.detach().cpu().clone()))


def merged(batches: list[Any]) -> list[Any]:
    """Put batches of tensors of equal rows into one, which is faster; leave others as they are.

    Args:
        batches: Batches as a data loader yields them.

    Returns:
        One batch, or the same batches.
    """
    kinds = set()
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or not all(isinstance(t, Tensor) for t in batch):
            return batches
        if len({t.shape[:1] for t in batch}) != 1 or batch[0].dim() == 0:
            return batches  # something in it does not belong to rows
        kinds.add(tuple((t.shape[1:], t.dtype) for t in batch))
    if len(kinds) > 1:
        return batches
    return [tuple(torch.cat(column) for column in zip(*batches, strict=True))]


@contextmanager
def full_precision(trainer: Trainer, model: LightningModule) -> Iterator[None]:
    """Compute in the dtype of a model's parameters, and leave the random generators as they were.

    Args:
        trainer: The Trainer, whose precision may autocast.
        model: The model.

    Yields:
        Nothing.
    """
    autocast = torch.autocast(model.device.type, enabled=False)
    with random_state_kept(), trainer.precision_plugin.forward_context(), autocast:
        yield


@contextmanager
def evaluation(trainer: Trainer, model: LightningModule) -> Iterator[None]:
    """Run a model in evaluation mode and full precision, and leave no trace.

    Args:
        trainer: The Trainer that trains it.
        model: The model.

    Yields:
        Nothing.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        with unlogged(model), full_precision(trainer, model):
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
