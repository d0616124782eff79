"""Learning rates over a run: warm-up, then constant, a cosine to zero, or falling at plateaus."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hybridlit.checks import choice, integer, number
from hybridlit.components import split_parameters
from hybridlit.internals.torch import PROGRESS_OF_SCHEDULERS, set_rates
from hybridlit.templates.training.optimizer_choice import optimizers_by_group
from hybridlit.templates.training.run_length import RunLength
from hybridlit.templates.training.torch_schedules import TorchSchedule

__all__ = [
    "SCHEDULES",
    "GroupSchedules",
    "PlateauWatch",
    "Schedule",
    "ScheduleName",
    "check_schedules",
    "group_schedules",
    "learning_rate_factor",
    "schedule_groups",
    "schedules_by_group",
]

_MONITOR = "val/loss"

_PROGRESS = ("base_lrs", "last_epoch", *PROGRESS_OF_SCHEDULERS, "best", "waited")


class Rule(NamedTuple):
    """How learning rates go on after the warm-up.

    Attributes:
        factor: Their factor by the part of the run that is over, from 0 to 1.
        needs_end: Whether the factor changes, so that the length of the run must be known.
        on_plateau: Whether they fall when the validation loss stops falling.
    """

    factor: Callable[[float], float] = lambda progress: 1.0
    needs_end: bool = False
    on_plateau: bool = False


SCHEDULES = {
    "constant": Rule(),
    "cosine": Rule(lambda progress: (1 + math.cos(math.pi * progress)) / 2, needs_end=True),
    "plateau": Rule(on_plateau=True),
}
"""Schedules by name."""

_OF_TORCH = Rule(needs_end=True)
"""What a schedule is that a class path names, apart from its factor."""

if TYPE_CHECKING:
    ScheduleName: TypeAlias = str
else:
    ScheduleName = Literal[tuple(SCHEDULES)]


class Schedule(NamedTuple):
    """The schedule of one optimizer group: a name of `SCHEDULES`, and epochs of warm-up.

    Instead of a name there may be a scheduler of torch, as `TorchSchedule` takes it.
    """

    name: str | dict[str, Any]
    warmup_epochs: float

    @property
    def rule(self) -> Rule:
        """What its name means."""
        return SCHEDULES[self.name] if isinstance(self.name, str) else _OF_TORCH

    def __str__(self) -> str:
        """Return its name, or that of the class of schedulers."""
        name = self.name if isinstance(self.name, str) else self.name["class_path"]
        return str(name).rpartition(".")[2]

    @property
    def changes(self) -> bool:
        """Whether the learning rate ever changes."""
        return bool(self.warmup_epochs) or self.rule.needs_end or self.rule.on_plateau


def check_schedules(arguments: Mapping[str, Any]) -> None:
    """Check the arguments of `HybridModule` that make schedules."""
    for prefix in ("", "quantum_"):
        schedule, warmup = arguments[f"{prefix}schedule"], arguments[f"{prefix}warmup_epochs"]
        if isinstance(schedule, Mapping):
            component = "photonic" if prefix else "classical"
            _of_torch(schedule, component, arguments, RunLength(1000.0, lambda epochs: epochs))
        elif schedule is not None or not prefix:
            choice(schedule, f"{prefix}schedule", SCHEDULES)
        if warmup is not None or not prefix:
            number(warmup, f"{prefix}warmup_epochs", minimum=0.0)
    integer(arguments["plateau_patience"], "plateau_patience", 0)
    number(arguments["plateau_factor"], "plateau_factor", above=0.0, below=1.0)


def schedules_by_group(arguments: Mapping[str, Any]) -> dict[str, Schedule]:
    """Return the schedule of each optimizer group by the arguments of `HybridModule`.

    Arguments of the photonic group that are None are as the shared ones.
    """
    name, warmup = arguments["schedule"], arguments["warmup_epochs"]
    own_name, own_warmup = arguments["quantum_schedule"], arguments["quantum_warmup_epochs"]
    return {
        "classical": Schedule(name, warmup),
        "photonic": Schedule(own_name or name, warmup if own_warmup is None else own_warmup),
    }


def _of_torch(
    given: Mapping[str, Any],
    component: str,
    arguments: Mapping[str, Any],
    length: RunLength,
    warmup: float = 0.0,
) -> TorchSchedule:
    """Make the schedule of an optimizer group that a class path names."""
    argument = "schedule"
    if component == "photonic" and arguments["quantum_schedule"] is not None:
        argument = "quantum_schedule"
    rate = arguments["classical_lr" if component == "classical" else "quantum_lr"]
    optimizer = optimizers_by_group(arguments)[component]
    return TorchSchedule(given, argument, optimizer, rate, length, warmup)


def learning_rate_factor(
    schedule: str, step: int, warmup_steps: float, total_steps: float
) -> float:
    """Return the factor of a group's learning rate at an optimizer step, from 0, in [0, 1].

    The first step of a warm-up has the factor `1 / warmup_steps`, not 0. Reductions at plateaus
    come on top of the factor.

    Example:
        >>> [round(learning_rate_factor("cosine", s, 2, 6), 2) for s in range(7)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    rule = SCHEDULES[schedule]
    if not rule.needs_end:
        return rule.factor(0.0)
    if step >= total_steps:
        return rule.factor(1.0)
    return rule.factor((step - warmup_steps) / (total_steps - warmup_steps))


class GroupSchedules(LambdaLR):
    """A schedule for every optimizer group, to be stepped after every optimizer step.

    Unlike `ReduceLROnPlateau` beside another scheduler, which would overwrite its reductions, this
    lowers the base rates that the factors multiply, so that plateaus combine with warm-up and with
    other schedules of other groups. Its `state_dict` holds how far it has come, and no settings:
    those are the ones that the present run was given.

    A group that is added to the optimizer later, as `BaseFinetuning` does when it unfreezes a
    part, keeps the rate that it is given, and from there on rises and falls in proportion.

    Args:
        optimizer: The optimizer.
        factors: For each group, the factor of its learning rate by optimizer step.
        on_plateau: For each group, whether `observe` lowers its rate.
        patience: Number of observations without improvement that are tolerated, at least 0.
        reduction: Factor of the rates at a plateau, in (0, 1).
        added: The factor and the reduction that a group added later follows; None: the first's.
        total: Number of steps of the run; infinite if the factors do not depend on it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factors: list[Callable[[int], float]],
        on_plateau: list[bool],
        patience: int,
        reduction: float,
        added: Callable[[Mapping[str, Any]], tuple[Callable[[int], float], float]] | None = None,
        total: float = math.inf,
    ) -> None:
        self.reductions = [reduction if reduce else 1.0 for reduce in on_plateau]
        self.patience = patience
        self.total = total
        self.best = math.inf
        self.waited = 0
        self._added = added or (lambda group: (factors[0], self.reductions[0]))
        super().__init__(optimizer, factors)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rates of all groups at the present step."""
        first = zip(self.base_lrs, self.lr_lambdas, strict=True)
        rates = [base * factor(self.last_epoch) for base, factor in first]
        for group in self.optimizer.param_groups[len(rates) :]:
            factor, _ = self._added(group)
            before = factor(self.last_epoch - 1)
            rates.append(group["lr"] * factor(self.last_epoch) / before if before else 0.0)
        return rates

    def step(self, epoch: int | None = None) -> None:
        """Go on by an optimizer step; a scheduler of torch may set momenta as well."""
        super().step(epoch)
        self._set_options()

    def state_dict(self) -> dict[str, Any]:
        """Return how far the schedules have come."""
        return {name: getattr(self, name) for name in _PROGRESS}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where the schedules had come, with the present settings."""
        if not {"base_lrs", "last_epoch", "best", "waited"} <= state_dict.keys():
            raise ValueError(
                "the checkpoint was saved with another scheduler than the template's, such as the "
                "one of StochasticWeightAveraging: resume with the configure_optimizers and the "
                "callbacks that it was saved with, or from an earlier checkpoint"
            )
        self.__dict__.update({n: v for n, v in state_dict.items() if n in _PROGRESS})

    def go_on(self, settings: GroupSchedules, step: int, anew: Collection[int]) -> None:
        """Go on at an optimizer step with the settings of another scheduler.

        Groups at the positions `anew` begin anew with its rates.
        """
        self.total, self.last_epoch = settings.total, step
        self.patience, self._added = settings.patience, settings._added
        fresh = {group["name"]: n for n, group in enumerate(settings.optimizer.param_groups)}
        for position, base in enumerate(self.base_lrs):
            group = self.optimizer.param_groups[position]
            own = fresh.get(group["name"])
            if own is not None:
                self.lr_lambdas[position] = settings.lr_lambdas[own]
                self.reductions[position] = settings.reductions[own]
                if position in anew:
                    base = self.base_lrs[position] = settings.base_lrs[own]
            group["lr"] = base * self.lr_lambdas[position](step)
        set_rates(self)
        self._set_options()

    def _set_options(self) -> None:
        for group, factor in zip(self.optimizer.param_groups, self.lr_lambdas, strict=False):
            if isinstance(factor, TorchSchedule):
                group.update(factor.options(self.last_epoch))

    def observe(self, loss: float) -> None:
        """Lower the rates if the loss has stopped falling.

        Lower by at least a part in 10,000 is an improvement, as for `ReduceLROnPlateau`.
        """
        if self.best - loss > 1e-4 * abs(loss):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.waited = 0
            for position, group in enumerate(self.optimizer.param_groups):
                if position < len(self.base_lrs):
                    self.base_lrs[position] *= self.reductions[position]
                    group["lr"] *= self.reductions[position]
                else:
                    group["lr"] *= self._added(group)[1]


class PlateauWatch(Callback):
    """Shows the validation loss to the `GroupSchedules` of a run, after every validation.

    Lightning steps `ReduceLROnPlateau` only after it has written the checkpoint of an epoch, so
    that a resumed run has missed a loss; this callback comes first.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a run in which no rate would ever fall."""
        averaging = [c for c in trainer.callbacks if isinstance(c, StochasticWeightAveraging)]  # type: ignore[attr-defined]
        if averaging:
            raise ValueError(
                "schedule='plateau' and StochasticWeightAveraging both set the learning rates, and "
                "from its first epoch on no plateau would lower them: choose schedule='constant' "
                "or 'cosine', or leave StochasticWeightAveraging out"
            )
        if trainer.barebones:
            raise ValueError(
                "schedule='plateau' follows val/loss, and Trainer(barebones=True) logs nothing: "
                "leave barebones out, or choose schedule='cosine' or 'constant'"
            )
        self._schedules(trainer)
        batches = trainer.num_val_batches
        if not trainer.enable_validation or (batches and not any(batches)):
            raise ValueError(
                "schedule='plateau' follows val/loss and this run has no validation: give "
                "validation data, or choose schedule='cosine' or 'constant'"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass the validation loss on."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(_MONITOR)
        if value is None:
            raise ValueError(
                f"schedule='plateau' follows {_MONITOR!r}, which was not logged, so no rate would "
                f"ever fall: log it in validation_step, where there is only "
                f"{sorted(trainer.callback_metrics)}, or choose schedule='cosine' or 'constant'"
            )
        self._schedules(trainer).observe(value.item())

    def _schedules(self, trainer: Trainer) -> GroupSchedules:
        found = group_schedules(trainer)
        if found is None:
            raise ValueError(
                "schedule='plateau' needs the schedules that configure_optimizers of the template "
                "makes, and this model overrides it, or a callback has put others in their place: "
                "return your own scheduler there and leave schedule='constant'"
            )
        return found


def group_schedules(trainer: Trainer) -> GroupSchedules | None:
    """Return the schedules of a run, unless its model or a callback has put others there."""
    found = [config.scheduler for config in trainer.lr_scheduler_configs]
    return next((each for each in found if isinstance(each, GroupSchedules)), None)


def schedule_groups(
    optimizer: Optimizer, arguments: Mapping[str, Any], trainer: Trainer
) -> GroupSchedules:
    """Give every group of an optimizer, by its name, its own schedule over the Trainer's run.

    The scheduler is to be stepped after every optimizer step. It is a `ValueError` if the length of
    the run or of an epoch is needed and not known.
    """
    schedules = schedules_by_group(arguments)
    mine = [group["name"] for group in optimizer.param_groups]
    parts = split_parameters(trainer.lightning_module)
    photonic = {id(parameter) for parameter in parts["photonic"].values()}
    present = [schedules[name] for name, parameters in parts.items() if parameters]  # or frozen
    timed = any(schedule.rule.needs_end or schedule.warmup_epochs for schedule in present)
    length = RunLength.of(trainer) if timed else RunLength.unknown()

    def factor_of(component: str) -> Callable[[int], float]:
        name, warmup_epochs = schedules[component]
        warmup = warmup_epochs and length.step_at(warmup_epochs)
        if isinstance(name, str):
            return lambda step: learning_rate_factor(name, step, warmup, length.total)
        made = _of_torch(name, component, arguments, length, warmup)
        made.check_end()
        return made

    def reduction_of(component: str) -> float:
        return arguments["plateau_factor"] if schedules[component].rule.on_plateau else 1.0

    def added(group: Mapping[str, Any]) -> tuple[Callable[[int], float], float]:
        is_photonic = any(id(parameter) in photonic for parameter in group["params"])
        component = "photonic" if is_photonic else "classical"
        return factor_of(component), reduction_of(component)

    return GroupSchedules(
        optimizer,
        [factor_of(component) for component in mine],
        [schedules[component].rule.on_plateau for component in mine],
        arguments["plateau_patience"],
        arguments["plateau_factor"],
        added,
        length.total,
    )
