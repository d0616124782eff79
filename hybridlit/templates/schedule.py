"""Learning rates over a run: warm-up, then constant, a cosine to zero, or falling at plateaus."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hybridlit.photonics.validation import choice, integer, number

__all__ = [
    "SCHEDULES",
    "GroupSchedules",
    "PlateauWatch",
    "Schedule",
    "check_schedules",
    "learning_rate_factor",
    "schedule_groups",
    "schedules_by_group",
]

SCHEDULES = ("constant", "cosine", "plateau")

_MONITOR = "val/loss"


class Schedule(NamedTuple):
    """The schedule of one optimizer group.

    Attributes:
        name: One of `SCHEDULES`.
        warmup_epochs: Epochs of linear warm-up, at least 0.
    """

    name: str
    warmup_epochs: float


def check_schedules(arguments: Mapping[str, Any]) -> None:
    """Check the arguments of `HybridModule` that make schedules.

    Args:
        arguments: The arguments by name.

    Raises:
        TypeError: If a number is not a number.
        ValueError: If an argument is out of range or unknown.
    """
    for prefix in ("", "quantum_"):
        schedule, warmup = arguments[f"{prefix}schedule"], arguments[f"{prefix}warmup_epochs"]
        if schedule is not None or not prefix:
            choice(schedule, f"{prefix}schedule", SCHEDULES)
        if warmup is not None or not prefix:
            number(warmup, f"{prefix}warmup_epochs", minimum=0.0)
    integer(arguments["plateau_patience"], "plateau_patience", 0)
    number(arguments["plateau_factor"], "plateau_factor", above=0.0, below=1.0)


def schedules_by_group(arguments: Mapping[str, Any]) -> dict[str, Schedule]:
    """Read the schedule of each optimizer group from the arguments of `HybridModule`.

    Args:
        arguments: The arguments by name; those of the photonic group that are None are as the
            shared ones.

    Returns:
        The schedules by name of the group.
    """
    name, warmup = arguments["schedule"], arguments["warmup_epochs"]
    own_name, own_warmup = arguments["quantum_schedule"], arguments["quantum_warmup_epochs"]
    return {
        "classical": Schedule(name, warmup),
        "photonic": Schedule(own_name or name, warmup if own_warmup is None else own_warmup),
    }


def learning_rate_factor(
    schedule: str, step: int, warmup_steps: float, total_steps: float
) -> float:
    """Return the factor of a group's learning rate at an optimizer step.

    Args:
        schedule: One of `SCHEDULES`; reductions at plateaus come on top of the factor.
        step: The optimizer step, from 0.
        warmup_steps: Number of steps of linear warm-up, at least 0; the first step has factor
            `1 / warmup_steps`, not 0.
        total_steps: Number of steps of the run; only `"cosine"` looks at it.

    Returns:
        A factor in [0, 1].

    Example:
        >>> [round(learning_rate_factor("cosine", s, 2, 6), 2) for s in range(7)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    if schedule != "cosine":
        return 1.0
    if step >= total_steps:
        return 0.0
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return (1 + math.cos(math.pi * progress)) / 2


class GroupSchedules(LambdaLR):
    """A schedule for every optimizer group, to be stepped after every optimizer step.

    Unlike `ReduceLROnPlateau` beside another scheduler, which would overwrite its reductions, this
    lowers the base rates that the factors multiply, so that plateaus combine with warm-up and with
    other schedules of other groups. Everything needed to resume is in its `state_dict`.

    Args:
        optimizer: The optimizer.
        factors: For each group, the factor of its learning rate by optimizer step.
        on_plateau: For each group, whether `observe` lowers its rate.
        patience: Number of observations without improvement that are tolerated, at least 0.
        reduction: Factor of the rates at a plateau, in (0, 1).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factors: list[Callable[[int], float]],
        on_plateau: list[bool],
        patience: int,
        reduction: float,
    ) -> None:
        self.reductions = [reduction if reduce else 1.0 for reduce in on_plateau]
        self.patience = patience
        self.best = math.inf
        self.waited = 0
        super().__init__(optimizer, factors)

    def observe(self, loss: float) -> None:
        """Lower the rates if the loss has stopped falling.

        Args:
            loss: The monitored loss; lower by at least a part in 10,000 is an improvement, as for
                `ReduceLROnPlateau`.
        """
        if self.best - loss > 1e-4 * abs(loss):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.waited = 0
            for position, group in enumerate(self.optimizer.param_groups):
                self.base_lrs[position] *= self.reductions[position]
                group["lr"] *= self.reductions[position]


class PlateauWatch(Callback):
    """Shows the validation loss to the `GroupSchedules` of a run, after every validation.

    Lightning steps `ReduceLROnPlateau` only after it has written the checkpoint of an epoch, so
    that a resumed run has missed a loss; this callback comes first.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a run in which no rate would ever fall."""
        if not any(isinstance(c.scheduler, GroupSchedules) for c in trainer.lr_scheduler_configs):
            raise ValueError(
                "schedule='plateau' needs the schedules that configure_optimizers of the template "
                "makes, and this model overrides it: return your own scheduler there and leave "
                "schedule='constant'"
            )
        batches = trainer.num_val_batches
        if not trainer.enable_validation or (batches and not any(batches)):
            raise ValueError(
                "schedule='plateau' follows val/loss and this run has no validation: give "
                "validation data, or choose schedule='cosine' or 'constant'"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass the validation loss on."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if not fitting or _MONITOR not in trainer.callback_metrics:
            return
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, GroupSchedules):
                config.scheduler.observe(trainer.callback_metrics[_MONITOR].item())


def schedule_groups(
    optimizer: Optimizer,
    schedules: Mapping[str, Schedule],
    trainer: Trainer,
    plateau_patience: int,
    plateau_factor: float,
) -> GroupSchedules:
    """Give every parameter group of an optimizer its own schedule over the Trainer's run.

    Args:
        optimizer: The optimizer; its groups have names.
        schedules: Schedules by name of the group.
        trainer: The Trainer about to run.
        plateau_patience: Validations without improvement before rates on plateau fall.
        plateau_factor: Factor by which they fall.

    Returns:
        A scheduler to be stepped after every optimizer step.

    Raises:
        ValueError: If the length of the run or of an epoch is needed and not known.
    """
    mine = [schedules[group["name"]] for group in optimizer.param_groups]
    total = steps_per_epoch = math.inf
    if any(schedule.name == "cosine" or schedule.warmup_epochs for schedule in mine):
        total, steps_per_epoch = _length(trainer)

    def factor_of(schedule: Schedule) -> Callable[[int], float]:
        warmup = schedule.warmup_epochs and schedule.warmup_epochs * steps_per_epoch
        return lambda step: learning_rate_factor(schedule.name, step, warmup, total)

    return GroupSchedules(
        optimizer,
        [factor_of(schedule) for schedule in mine],
        [schedule.name == "plateau" for schedule in mine],
        plateau_patience,
        plateau_factor,
    )


def _length(trainer: Trainer) -> tuple[float, float]:
    """Return the optimizer steps of the run and of an epoch."""
    total = float(trainer.estimated_stepping_batches)
    batches = float(trainer.num_training_batches)
    if not (0 < total < math.inf and batches < math.inf):
        raise ValueError(
            "warm-up and schedule='cosine' need a run of known length: set "
            "Trainer(max_epochs=...), and Trainer(limit_train_batches=...) for a data loader "
            "without a length"
        )
    return total, math.ceil(batches / trainer.accumulate_grad_batches)
