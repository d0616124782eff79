"""Settings that differ between a checkpoint and the run that goes on from it.

The rule: **what the present run is given is used, and every difference is said**, in a line each.
Lightning alone takes learning rates, weight decays and the state of schedules from the checkpoint,
whatever the model was constructed with. For templates that means, after a resume:

- Where a learning rate or its schedule differs, it begins anew with the rate given, without the
  reductions at plateaus so far and the momenta of a cycle. Where neither differs, they stay.
- A schedule stands where the steps of the run so far put it. A cosine whose run has become longer
  or shorter ends at zero at its new end, as if the run had been of that length from the beginning:
  a run that had ended, its rate at zero, goes on at the rate that the longer cosine has there.
- Weight decay, stages, plateaus, warm-up and gradient clipping are those given. So are the batch
  size, the data, and what the Trainer was given. Other batches amid an epoch are refused by
  `ResumableLoader`.
- Another optimizer, or another setting of it, is refused: what the checkpoint's has learned would
  mean something else to it, or lack what it needs.

The same holds for `model.hparams` that are changed after construction: the settings of training are
taken up at the start of a fit and of an epoch, and a checkpoint keeps what is used.

A module with a `configure_optimizers` of its own keeps the learning rates and weight decays of the
checkpoint, as always in Lightning, and that is said.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning, GradientAccumulationScheduler
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from lightning_utilities.core.apply_func import apply_to_collection
from torch.utils.data import DataLoader

from hybridlit.constructors import plain
from hybridlit.templates.training.optimizer_choice import OptimizerChoice, optimizers_by_group
from hybridlit.templates.training.run_length import RunLength
from hybridlit.templates.training.schedule import group_schedules, schedules_by_group
from hybridlit.templates.training.torch_schedules import CYCLED

__all__ = ["SETTINGS_KEY", "SettingsWatch", "training_settings"]

_CHOICES = {"optimizer": "classical", "quantum_optimizer": "photonic"}
_OPTIMIZER = (
    "classical_lr",
    "quantum_lr",
    "weight_decay",
    "quantum_weight_decay",
    "schedule",
    "warmup_epochs",
    "quantum_schedule",
    "quantum_warmup_epochs",
    "plateau_patience",
    "plateau_factor",
    "gradient_clip",
    *_CHOICES,
)
_TRAINER = (
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
    "limit_train_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
)
_COMPONENTS = {"classical": "classical_lr", "photonic": "quantum_lr"}  # with their rates
SETTINGS_KEY = "hybridlit_settings"
_DROPPED = object()


def training_settings(hparams: Mapping[str, Any]) -> Any:
    """Return those hyperparameters of a template that may be changed until training starts."""
    return _plain({n: plain(hparams[n]) for n in (*_OPTIMIZER, "stages") if n in hparams})


class SettingsWatch(Callback):
    """Takes up settings that have changed since a checkpoint, or since the start, and says so.

    Templates attach it themselves; `ExactResume` lends it to other modules. It refuses a resumed
    run whose checkpoint has been discarded by a finder of learning rates or batch sizes, and lets
    parts that `BaseFinetuning` had unfrozen be so again.

    Args:
        of_template: Whether the optimizer is the one that `HybridModule.configure_optimizers`
            makes, whose settings can be taken up.
    """

    def __init__(self, of_template: bool = False) -> None:
        self.of_template = of_template
        self._in_use: dict[str, Any] = {}
        self._saved: dict[str, Any] | None = None
        self._step: int | None = None
        self._has_saved = False
        self._configured: list[dict[str, float]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run; note the settings that the optimizer is going to be made with."""
        if stage == "fit":
            self._in_use = training_settings(pl_module.hparams)
            self._saved, self._step, self._has_saved = None, None, False

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the settings of this run."""
        self._has_saved = True
        checkpoint[SETTINGS_KEY] = {
            **_settings(trainer, pl_module),
            "frozen": _frozen_parts(trainer, pl_module),
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the settings of the run that is resumed."""
        # what is loaded after a save is a finder that puts back what it has saved
        if trainer.state.fn != TrainerFn.FITTING or self._has_saved:
            return
        self._step = checkpoint["global_step"]
        old = {"model": _plain(checkpoint.get("hyper_parameters", {}))}  # written by 0.1
        states = checkpoint.get("optimizer_states", [])
        groups = [group for state in states for group in state["param_groups"]]
        self._saved = {**checkpoint.get(SETTINGS_KEY, old), "groups": _rates(groups)}
        if self.of_template:
            _refuse_another(
                self._saved["model"], pl_module.hparams, "the checkpoint was saved with"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what `configure_optimizers` has made, before a checkpoint takes its place."""
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._configured = _rates(groups)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up what differs from the checkpoint, or has been changed since `setup`."""
        if self._step is not None and self._step != trainer.global_step:
            raise ValueError(
                f"the checkpoint is of step {self._step} and this run begins with step "
                f"{trainer.global_step}: LearningRateFinder and BatchSizeFinder put the state of a "
                "new run in its place. Leave them out of a run that is resumed, and give it what "
                "they have found"
            )
        saved, self._saved = self._saved, None
        if saved is not None:
            _restore_frozen(trainer, pl_module, saved.get("frozen"))
        now = _settings(trainer, pl_module)
        schedules = group_schedules(trainer)
        if schedules is not None and math.isfinite(schedules.total):
            now["steps"] = RunLength.of(trainer).total
        before = self._in_use if saved is None else training_settings(saved["model"])
        self._in_use = training_settings(pl_module.hparams)
        changed = {name for name, value in before.items() if self._in_use.get(name) != value}
        if self.of_template:
            _refuse_another(before, self._in_use, "this run has made")
        if self.of_template and (
            changed
            or (schedules is not None and schedules.last_epoch != trainer.global_step)
            or (schedules is not None and now["steps"] not in (None, schedules.total))
            or (saved is not None and saved.get("steps", now["steps"]) != now["steps"])
        ):
            found = saved is None and changed  # by a finder, which writes one rate into all groups
            anew = set(_COMPONENTS) if found else _to_begin_anew(before, self._in_use)
            _take_up(trainer, pl_module, anew)
        for line in [] if saved is None else self._differences(saved, now, trainer):
            rank_zero_warn(f"Resumed with another {line}.")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up what has been changed meanwhile."""
        now = training_settings(pl_module.hparams)
        if self.of_template and now != self._in_use:
            _refuse_another(self._in_use, now, "this run has")
            # without schedules every rate is constant, whatever a finder has made of it
            scheduled = group_schedules(trainer) is not None
            anew = _to_begin_anew(self._in_use, now) if scheduled else set(_COMPONENTS)
            _take_up(trainer, pl_module, anew)
        self._in_use = now

    def _differences(
        self, saved: dict[str, Any], now: dict[str, Any], trainer: Trainer
    ) -> Iterable[str]:
        """Say what was saved, what is given, and which of the two is used."""
        for part in ("model", "trainer", "data"):
            for name, before in saved.get(part, {}).items():
                given = now[part].get(name, before)
                if given != before:
                    used = f"{given!r} is used"
                    if not self.of_template and name in _OPTIMIZER:
                        used = "the optimizer is that of the checkpoint"
                    yield f"{name}: {before!r} in the checkpoint, {given!r} now; {used}"
        if not self.of_template and len(saved["groups"]) == len(self._configured):
            pairs = enumerate(zip(saved["groups"], self._configured, strict=True))
            for number, (group, given_group) in pairs:
                for name in group:
                    scheduled = name == "lr" and trainer.lr_scheduler_configs
                    if group[name] != given_group.get(name, group[name]) and not scheduled:
                        yield (
                            f"{name} of optimizer group {number}: {group[name]!r} in the "
                            f"checkpoint, {given_group[name]!r} now; {group[name]!r} is used, "
                            "since Lightning restores optimizers"
                        )
        end, given = saved.get("steps"), now["steps"]
        if self.of_template and None not in (end, given) and end != given:
            names = [str(s) for s in schedules_by_group(self._in_use).values() if s.rule.needs_end]
            if names:
                rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
                yield (
                    f"length of the run: the {names[0]} was to end at step {end:g} and ends at "
                    f"step {given:g} now; it goes on at step {trainer.global_step} with the "
                    f"learning rates {rates}"
                )


# --- taking up ------------------------------------------------------------------------------------


def _to_begin_anew(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the components whose learning rate or schedule differs."""
    if not before:
        return set()
    was, schedules = schedules_by_group({**now, **before}), schedules_by_group(now)
    return {
        component
        for component, rate in _COMPONENTS.items()
        if before.get(rate, now[rate]) != now[rate]
        or was[component].name != schedules[component].name
    }


def _refuse_another(before: Mapping[str, Any], now: Mapping[str, Any], having: str) -> None:
    """Refuse to go on with another optimizer; checkpoints from before there was a choice: AdamW."""
    chosen = training_settings(now)
    for name, component in _CHOICES.items():
        was, given = before.get(name), chosen.get(name)
        if was != given and _choice(before, component) != _choice(chosen, component):
            raise ValueError(
                f"{name} must stay as it was in a run that goes on, got {given!r} where {having} "
                f"{was!r}: begin a new run, with the weights of this one (hybridlit.load, or "
                "WarmStart) if they are wanted"
            )


def _choice(arguments: Mapping[str, Any], component: str) -> OptimizerChoice | None:
    """Return the choice for a component, whatever its form; None if the class is gone."""
    try:
        return optimizers_by_group({name: arguments.get(name) for name in _CHOICES})[component]
    except ValueError:  # of a class that is elsewhere now
        return None


def _take_up(trainer: Trainer, pl_module: LightningModule, anew: Collection[str | None]) -> None:
    """Give optimizer and schedules the settings that they would have in a new run."""
    made: Any = pl_module.configure_optimizers()
    optimizer = made["optimizer"] if isinstance(made, dict) else made
    fresh = {group["name"]: group for group in optimizer.param_groups}
    groups = trainer.optimizers[0].param_groups
    for group in groups:
        own = fresh.get(group.get("name"))
        if own is not None:
            if "weight_decay" in own:
                group["weight_decay"] = own["weight_decay"]
            if group["name"] in anew:
                group["lr"] = own.get("initial_lr", own["lr"])
                # a scheduler of torch may have moved the momenta, and the next one may leave them
                group.update({n: own[n] for n in ("initial_lr", *CYCLED) if n in own})
    schedules = group_schedules(trainer)
    if schedules is not None and isinstance(made, dict):
        begin = [position for position, g in enumerate(groups) if g.get("name") in anew]
        schedules.go_on(made["lr_scheduler"]["scheduler"], trainer.global_step, begin)


# --- what there is to compare ---------------------------------------------------------------------


def _settings(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
    schedules = group_schedules(trainer)
    total = math.inf if schedules is None else schedules.total
    accumulated: Any = trainer.accumulate_grad_batches
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            accumulated = callback.scheduling
    of_trainer = {name: getattr(trainer, name) for name in _TRAINER}
    return {
        "model": _plain(pl_module.hparams),
        "trainer": _plain({"accumulate_grad_batches": accumulated, **of_trainer}),
        "data": _plain(_data(trainer)),
        "steps": total if math.isfinite(total) else None,
    }


def _data(trainer: Trainer) -> dict[str, Any]:
    loaders: list[Any] = []
    apply_to_collection(trainer.train_dataloader, DataLoader, loaders.append)
    found = {}
    for number, loader in enumerate(loaders, 1):
        of = f" of training loader {number}" if len(loaders) > 1 else ""
        order = loader.batch_sampler
        found[f"batch_size{of}"] = getattr(order, "batch_size", loader.batch_size)
        found[f"drop_last{of}"] = getattr(order, "drop_last", False)
        found[f"seed of the data{of}"] = getattr(loader, "seed", None)
        if hasattr(loader.dataset, "__len__"):
            found[f"number of training rows{of}"] = len(loader.dataset)
    return found


def _rates(groups: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return what a group began with; its learning rate may have changed since."""
    found = []
    for group in groups:
        of_group = {"lr": group.get("initial_lr", group["lr"])}
        of_group["weight_decay"] = group.get("weight_decay", 0.0)
        found.append({name: float(value) for name, value in of_group.items()})
    return found


def _plain(values: Any) -> Any:
    """Leave out what no checkpoint can hold, and Lightning's own entries."""
    if isinstance(values, Mapping):
        kept = {name: _plain(value) for name, value in values.items()}
        return {n: v for n, v in kept.items() if v is not _DROPPED and not str(n).startswith("_")}
    if isinstance(values, (list, tuple)):
        listed = [_plain(value) for value in values]
        return _DROPPED if any(value is _DROPPED for value in listed) else listed
    return values if values is None or type(values) in (bool, int, float, str) else _DROPPED


# --- what callbacks have frozen and unfrozen ------------------------------------------------------
# Lightning's `BaseFinetuning` freezes parts before a run and remembers which groups it has added to
# the optimizer, but not which parts it has unfrozen: after a resume, they would stay as they are.


def _frozen_parts(trainer: Trainer, pl_module: LightningModule) -> dict[str, list[str]] | None:
    """Return the names of parameters without gradient and of modules without running statistics.

    None if no callback unfreezes anything.
    """
    if not any(isinstance(c, BaseFinetuning) for c in trainer.callbacks):  # type: ignore[attr-defined]
        return None
    return {
        "parameters": [name for name, p in pl_module.named_parameters() if not p.requires_grad],
        "statistics": [name for name, m in _tracking(pl_module) if not m.track_running_stats],
    }


def _restore_frozen(
    trainer: Trainer, pl_module: LightningModule, frozen: dict[str, list[str]] | None
) -> None:
    """Freeze and unfreeze parts as they were when `_frozen_parts` looked at them."""
    if frozen is None or _frozen_parts(trainer, pl_module) is None:
        return
    for name, parameter in pl_module.named_parameters():
        parameter.requires_grad_(name not in frozen["parameters"])
    for name, module in _tracking(pl_module):
        module.track_running_stats = name not in frozen["statistics"]


def _tracking(pl_module: LightningModule) -> list[tuple[str, Any]]:
    return [(n, m) for n, m in pl_module.named_modules() if hasattr(m, "track_running_stats")]
