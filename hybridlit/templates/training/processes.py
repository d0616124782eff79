"""What a template needs of the processes that a strategy of Lightning trains it in."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)

from hybridlit.data.resumable import seed_generators
from hybridlit.internals.lightning import evaluate_rows_once

__all__ = ["SHARDING", "draw_apart", "prepare_processes"]

SHARDING: dict[str, type[Strategy]] = {
    "fsdp": FSDPStrategy,
    "deepspeed": DeepSpeedStrategy,
    "model_parallel": ModelParallelStrategy,
}
"""Strategies that give each process a part of every parameter, by Lightning's names."""


def prepare_processes(trainer: Trainer) -> None:
    """Refuse strategies that shard parameters, and let several processes evaluate each row once.

    Raises:
        ValueError: If the strategy is one of `SHARDING`.
    """
    for name, kind in SHARDING.items():
        if isinstance(trainer.strategy, kind):
            raise ValueError(
                f"strategy={name!r} gives each process a part of every parameter, and a hybrid "
                "model needs them whole: gradients are clipped and compared by component, phases "
                "make up one circuit, and checkpoints hold both. What is large here are states, "
                "which no strategy shards: choose strategy='ddp', and for memory "
                "checkpoint_quantum=True"
            )
    if trainer.world_size > 1:
        evaluate_rows_once(trainer)


def draw_apart(trainer: Trainer) -> None:
    """Give each process but the first random numbers of its own: all begin with the same seed.

    Dropout would drop the same of the first row of every process, of the second and so on.
    """
    if trainer.global_rank > 0:
        seed_generators(torch.initial_seed(), trainer.global_rank)
