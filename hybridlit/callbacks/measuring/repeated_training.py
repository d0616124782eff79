"""Copies of a model that are trained as its Trainer trains it, from an earlier point of the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from hybridlit.analysis.loss_change.retraining import Origin, TrainedCopy, copied_optimizer
from hybridlit.callbacks.measuring.copies import copy_of
from hybridlit.components import split_parameters
from hybridlit.optimizers import only_optimizer
from hybridlit.templates.training.stages import ComponentsInTurn

__all__ = ["adopt", "repeated_training"]


class _Moment(NamedTuple):
    """All of a Trainer that `ComponentsInTurn.trained` may look at."""

    global_step: int
    current_epoch: int


def repeated_training(
    trainer: Trainer,
    model: LightningModule,
    origin: Origin,
    batch: Callable[[int], Any],
    modes: Mapping[str, bool],
    frozen: Collection[str],
    draw: int = 0,
) -> TrainedCopy:
    """Copy a model and its optimizer, to train the copy again from an earlier point of the run.

    Repeated are the optimizer with its learning rates, accumulation and clipping of gradients, and
    what `StagedTraining` and `AlternatingTraining` leave alone. Not repeated is what a module of
    one's own does in `training_step` beside its loss, and what other callbacks do to gradients.

    All but the Trainer and the module that it trains is as for `TrainedCopy`.

    Raises:
        ValueError: If the Trainer does not optimize with one optimizer, once a step.
    """
    optimizer = only_optimizer(trainer, model, "repeating a stretch of training")
    copied = copy_of(model)

    def clip(optimizer: Optimizer) -> None:
        copied.configure_gradient_clipping(
            optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        )

    return TrainedCopy(
        copied,
        copied_optimizer(optimizer, model, copied),
        origin,
        batch,
        frozen=frozen,
        idle=_idle(trainer, model),
        modes=modes,
        accumulated=trainer.accumulate_grad_batches,
        clip=clip,
        draw=draw,
    )


def _idle(trainer: Trainer, model: LightningModule) -> Callable[[int], set[str]]:
    """Return which parameters rest at a step of the run, since only the others have their turn."""
    components = {name: list(own) for name, own in split_parameters(model).items()}
    others: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    turns = [callback for callback in others if isinstance(callback, ComponentsInTurn)]
    steps = float(trainer.num_training_batches) / trainer.accumulate_grad_batches  # an epoch

    def idle(step: int) -> set[str]:
        epoch = step // math.ceil(steps) if math.isfinite(steps) else trainer.current_epoch
        moment = cast("Trainer", _Moment(step, epoch))
        return {
            name
            for turn in turns
            for component in components.keys() - set(turn.trained(moment))
            for name in components[component]
        }

    return idle


def adopt(trainer: Trainer, model: nn.Module, copied: TrainedCopy) -> None:
    """Let a model go on from its copy: its values, and what the optimizer has learned.

    With several processes all go on from the copy of the first.
    """
    (optimizer,) = trainer.optimizers
    found = dict(copied.model.named_parameters()) | dict(copied.model.named_buffers())
    values, state = trainer.strategy.broadcast(
        (
            {name: found[name].detach() for name in copied.origin.values},
            copied.optimizer.state_dict()["state"],
        )
    )
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
