"""Makes a resumed run go on as if it had never been interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.utils.data import DataLoader

from hybridlit.internals.lightning import (
    batch_index,
    begin_epoch_anew,
    begin_run_anew,
    complete_epoch,
    count_scheduler_step,
    end_restart,
    epoch_ended,
    fit_loop_of,
    has_begun,
    loader_states,
    reopen_epoch,
    resumed_behind_batch,
)
from hybridlit.ranks import every_rank
from hybridlit.resume.boundaries import accumulating, behind_step
from hybridlit.resume.random_state import RandomState
from hybridlit.resume.running_results import RunningResults
from hybridlit.templates.training.settings import SettingsWatch

__all__ = ["ExactResume"]


class ExactResume(Callback):
    """Resume a run so that it equals the uninterrupted one bit for bit.

    Lightning's checkpoints hold weights, optimizers, schedules and counters. This callback adds
    what else the rest of a run depends on, for each process: the random number generators of torch
    (CPU and accelerators), numpy and Python; the position in the training data; what the epoch has
    logged so far, for means over all of it; and the latest metrics, for schedulers that wait for
    one. It also corrects what Lightning would count differently after a resume: the end of an epoch
    in runs with `max_steps`, epochs that a limit cut short, steps of `ReduceLROnPlateau` that come
    after a checkpoint is saved, and a run that `EarlyStopping` ended, which stays ended.

    A run that is resumed with other settings uses those, and says each difference in a line; for
    the rule see `hybridlit.templates.training.settings`. After `LearningRateFinder`,
    `BatchSizeFinder` or a `Tuner`, a run is the one that it would have been with what they have
    found; beside a `ckpt_path`, which they would discard, they are refused.
    `GradientAccumulationScheduler`, and callbacks that draw random numbers in `on_train_start`,
    must stand before this one.

    Exact from checkpoints that `HybridCheckpoint` saves, at any step, with any number of workers,
    for models whose computation is itself deterministic, on the same device and with the same
    number of processes. The training data must come from a `hybridlit.data.ResumableLoader`, as
    they do from hybridlit's DataModules; a warning says if they do not. Nothing is logged.

    Not exact are:
        - `interrupted.ckpt` of a run that was stopped amid a step, as by an error or by a second
          Ctrl-C: it begins anew with that step, with its random numbers and data, but buffers such
          as those of batch normalization may already have seen its data, and the means that its
          epoch logs count that data twice.
        - a checkpoint of the best model that was saved between two batches of one accumulated step.
        - validation by wall-clock time.
        - an epoch whose first step was interrupted, if a plain DataLoader gives the validation
          data: it draws a random number when Lightning makes it anew. A `ResumableLoader` does not.
        - what a model does in its own `on_train_batch_end`, from a periodic checkpoint: that hook
          comes after the callbacks'.
        - training loaders in a `CombinedLoader(mode="max_size")`: one that is through before the
          others begins again.
        - Lightning's `StochasticWeightAveraging`, whose counters it does not save.
        - a finished run that is resumed for no further step: its weights stay, but Lightning's
          count of epochs, where `max_steps` ended it amid one, and the last step of a
          `ReduceLROnPlateau` may differ.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from hybridlit import HybridCheckpoint
        >>> trainer = Trainer(accelerator="cpu", callbacks=[ExactResume(), HybridCheckpoint()])
        >>> type(trainer.checkpoint_callback).__name__
        'HybridCheckpoint'
    """

    def __init__(self) -> None:
        self._watch: Callback = SettingsWatch()
        self._forget()

    def _forget(self) -> None:
        self._loaded: dict[str, Any] | None = None
        self._resumed = False  # until the first batch is done
        self._running = RunningResults()
        self._interrupted = False
        self._random: RandomState | None = None  # at the last end of an optimizer step
        self._has_saved = False  # in this fit

    # --- saving -----------------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state of this process and of all others."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        loops = fit_loop_of(checkpoint)
        now = RandomState.now(self._random)
        if self._interrupted and self._random is not None and not behind_step(loops, trainer):
            now = self._random
        whole = trainer.is_last_batch or not epoch_ended(loops)
        self._has_saved = True
        self._watch.on_save_checkpoint(trainer, pl_module, checkpoint)
        state: dict[str, Any] = {
            "random": every_rank(now.plain()),
            "whole_epoch": whole,
            "metrics": _packed(trainer.callback_metrics),
            "running": None,
        }
        if not (epoch_ended(loops) and whole):
            state["running"] = every_rank(RunningResults.of(trainer, pl_module))
        checkpoint["callbacks"][self.state_key] = state

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the state of the generators at the beginning of the epoch."""
        self._random = RandomState.now(self._random)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Go on with what the epoch had logged; note the state of the generators."""
        self._running.go_on(trainer)
        if self._resumed:
            self._resumed = False
            # from here on nothing is special: otherwise this epoch's ReduceLROnPlateau is left out
            end_restart(trainer)
        if not accumulating(trainer):
            self._random = RandomState.now(self._random)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the state of the generators, which a validation may have moved."""
        if not trainer.sanity_checking and self._random and not accumulating(trainer):
            self._random = RandomState.now(self._random)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what has been logged before the interruption only, at the beginning of the epoch."""
        self._running.log_rest(pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let a checkpoint of the interrupted step begin with that step."""
        self._interrupted = True

    # --- loading ----------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run."""
        if stage == "fit":
            self._forget()
            own = any(isinstance(c, SettingsWatch) for c in trainer.callbacks)  # type: ignore[attr-defined]
            self._watch = Callback() if own else SettingsWatch()
            self._watch.setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the settings of modules that are no templates."""
        self._watch.on_fit_start(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Prepare what `on_train_start` restores, and correct Lightning's counters."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if self._has_saved:  # a finder puts back what it has saved, and nothing is resumed
            if state is not None:
                RandomState.of(_of_this_process(trainer, state["random"])).restore()
            return
        self._watch.on_load_checkpoint(trainer, pl_module, checkpoint)
        if state is None:
            rank_zero_warn(
                "The checkpoint was saved without ExactResume: the order of the data and random "
                "numbers will differ from those of an uninterrupted run."
            )
            return
        loops = fit_loop_of(checkpoint)
        if not state["whole_epoch"]:
            reopen_epoch(loops)
        between_epochs = epoch_ended(loops)
        if between_epochs and trainer.max_steps != -1:
            complete_epoch(loops)
        self._loaded = {
            **state,
            "begun": has_begun(loops),
            "between_epochs": between_epochs,
            "rewound": loops.pop("rewound", False),
            "loaders": [] if between_epochs else loader_states(loops),
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state, after everything that Lightning does before the first batch."""
        loaders = _stateful_loaders(trainer)
        self._watch.on_train_start(trainer, pl_module)
        self._random = RandomState.now(self._random)
        state, self._loaded = self._loaded, None
        if state is None:
            return
        if not state["begun"]:  # else Lightning looks for a step to be completed
            begin_run_anew(trainer)
            self._restore(trainer, pl_module, state)
            return
        self._resumed = True
        if not state["between_epochs"]:
            _accumulate(trainer)
        if any(
            stop.stopping_reason != EarlyStoppingReason.NOT_STOPPED
            for stop in trainer.early_stopping_callbacks
        ):
            trainer.should_stop = True
            rank_zero_info("EarlyStopping had ended this run: to go on, resume it without.")
        # Lightning leaves this out if the loaders exist already, as they do for a cosine schedule
        # after the last batch of an epoch that a limit cuts short, the next one begins anew
        over = batch_index(trainer) + 1 >= trainer.num_training_batches
        for loader, position in zip(loaders, state["loaders"], strict=False):
            begun = over and "position" in position
            loader.load_state_dict(position | {"position": 0} if begun else position)
        self._restore(trainer, pl_module, state)
        if state["between_epochs"]:
            if trainer.max_steps != -1:
                begin_epoch_anew(trainer)
            _step_plateaus(trainer, pl_module, "epoch", trainer.current_epoch)
        elif resumed_behind_batch(trainer) and not state["rewound"]:
            # after a validation amid the epoch, Lightning does it itself
            _step_plateaus(trainer, pl_module, "step", batch_index(trainer) + 1)
        if state["running"] is not None:
            running = _of_this_process(trainer, state["running"])
            self._running = RunningResults(running, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state of a run that had nothing left to do, and so has not started."""
        if self._loaded is not None:
            self._restore(trainer, pl_module, self._loaded)

    def _restore(self, trainer: Trainer, pl_module: LightningModule, state: dict[str, Any]) -> None:
        for names, values in state["metrics"]:
            of_each = values.to(pl_module.device).unbind()
            trainer.callback_metrics.update(zip(names, of_each, strict=True))
        self._random = RandomState.of(_of_this_process(trainer, state["random"]))
        self._random.restore()


def _packed(metrics: Mapping[str, Tensor]) -> list[tuple[list[str], Tensor]]:
    """Names and values of one dtype each: dozens of tiny tensors would take long to save."""
    names: dict[str, list[str]] = {}
    for name in sorted(metrics):
        names.setdefault(str(metrics[name].dtype), []).append(name)
    return [(own, torch.stack([metrics[n].cpu() for n in own])) for _, own in sorted(names.items())]


def _accumulate(trainer: Trainer) -> None:
    """Accumulate as in the rest of the epoch, which a scheduler sees to at its beginning only."""
    position = -1
    for number, callback in enumerate(trainer.callbacks):  # type: ignore[attr-defined]
        if isinstance(callback, ExactResume):
            position = number
        if isinstance(callback, GradientAccumulationScheduler):
            if position >= 0:  # it would refuse what is set here
                raise ValueError(
                    "GradientAccumulationScheduler stands behind ExactResume, which then cannot "
                    "resume amid an epoch: put it before ExactResume in the list of callbacks"
                )
            epoch = trainer.current_epoch
            trainer.accumulate_grad_batches = callback.get_accumulate_grad_batches(epoch)


def _step_plateaus(trainer: Trainer, pl_module: LightningModule, interval: str, done: int) -> None:
    """Step each `ReduceLROnPlateau` for the epoch or batch after which the checkpoint was saved."""
    for config in trainer.lr_scheduler_configs:
        value = trainer.callback_metrics.get(config.monitor or "")
        due = config.interval == interval and done % config.frequency == 0
        if config.reduce_on_plateau and due and value is not None:
            pl_module.lr_scheduler_step(config.scheduler, value)
            count_scheduler_step(trainer)


# --- loaders and processes ------------------------------------------------------------------------


def _stateful_loaders(trainer: Trainer) -> list[Any]:
    """Return the training loaders that keep their position; warn if one does not."""
    loaders: list[Any] = []
    apply_to_collection(trainer.train_dataloader, DataLoader, loaders.append)
    stateful = [loader for loader in loaders if hasattr(loader, "load_state_dict")]
    if not loaders or len(stateful) < len(loaders):
        rank_zero_warn(
            "ExactResume cannot keep the position in the training data, and a resumed run will "
            "see other batches: use hybridlit.data.ResumableLoader(dataset, batch_size=..., "
            "shuffle=True) in place of DataLoader, or a loader with state_dict and load_state_dict."
        )
    return stateful


def _of_this_process(trainer: Trainer, states: list[Any]) -> Any:
    if len(states) != trainer.world_size:
        rank_zero_warn(
            f"The checkpoint was saved by {len(states)} processes and is resumed by "
            f"{trainer.world_size}: data and random numbers will differ from those of an "
            "uninterrupted run."
        )
    return states[trainer.global_rank % len(states)]
