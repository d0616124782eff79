"""What hybridlit uses of Lightning that Lightning does not document. Seen in Lightning 2.6.6.

First the loops of a Trainer, then their counters in a checkpoint, then the rest. Lightning is
imported by whoever calls; here it is needed for types alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torch import Tensor

__all__ = [
    "CLASS_PATH",
    "HOOK_NAME",
    "INSTANTIATES",
    "INSTANTIATOR",
    "attached_data",
    "attached_trainer",
    "batch_ended",
    "batch_index",
    "batches_until_validation",
    "begin_epoch_anew",
    "begin_run_anew",
    "call_again",
    "complete_epoch",
    "count_scheduler_step",
    "end_restart",
    "epoch_ended",
    "epochs_done",
    "evaluate_rows_once",
    "fit_loop_of",
    "gets_weights_alone",
    "has_begun",
    "has_logged",
    "load_training_data",
    "loader_states",
    "log_now",
    "logged_results",
    "noted_arguments",
    "pass_over",
    "reopen_epoch",
    "resumed_behind_batch",
    "stand_after",
    "total_batch_index",
    "validate_anew",
]

# --- the loops of a Trainer -----------------------------------------------------------------------


def batch_index(trainer: Trainer) -> int:
    """Return the number of the present batch in its epoch, -1 before the first.

    If it goes: count in `on_train_batch_start`, from the checkpoint's `batch_progress` on.
    """
    return trainer.fit_loop.batch_idx


def total_batch_index(trainer: Trainer) -> int:
    """Return the number of the present batch in the run, -1 before the first. As `batch_index`."""
    return trainer.fit_loop.total_batch_idx


def epochs_done(trainer: Trainer) -> tuple[int, bool]:
    """Return how many epochs are through, and whether the next one is under way.

    If it goes: `trainer.current_epoch`, and `batch_index(trainer) >= 0`.
    """
    progress: Any = trainer.fit_loop.epoch_progress.current
    return progress.processed, progress.started > progress.processed


def batches_until_validation(trainer: Trainer) -> float | None:
    """Return after how many batches the Trainer validates; None by the clock, inf: never amid.

    If it goes: from `trainer.val_check_interval` and `trainer.num_training_batches`.
    """
    found: float | None = trainer.val_check_batch
    return found


def load_training_data(trainer: Trainer) -> None:
    """Let a Trainer make its training loader now: `on_fit_start` comes before it does.

    A second call returns at once. If it goes: `trainer.datamodule.train_dataloader()`, or that of
    the model.
    """
    trainer.fit_loop.setup_data()


def logged_results(trainer: Trainer) -> dict[str, Any]:
    """Return what the training epoch has logged so far, as sums, by Lightning's key.

    If it goes: means that `LightningModule.log` forms over an epoch begin anew after a resume.
    """
    return trainer.fit_loop.epoch_loop._results


def has_logged(model: LightningModule, name: str) -> bool:
    """Tell whether a model has logged a name in the present hook, in this epoch of its Trainer.

    If it goes: log with every batch, which costs as much as the rest of a step.
    """
    results = None if model._trainer is None else model._trainer._results
    found = None if results is None else results.get(f"{model._current_fx_name}.{name}")
    return found is not None and not found.has_reset


def begin_run_anew(trainer: Trainer) -> None:
    """Keep a resumed Trainer from looking for a step to complete, if it resumes before the first.

    If it goes, see whether a checkpoint of step 0 resumes without it.
    """
    trainer.fit_loop.restarting = False


def begin_epoch_anew(trainer: Trainer) -> None:
    """Let a Trainer that was resumed between two epochs begin the next one at its first batch.

    It would take it for a started one where `max_steps` limits the run. If it goes, see whether
    such a run resumes without it.
    """
    trainer.fit_loop.epoch_loop.restarting = False


def end_restart(trainer: Trainer) -> None:
    """Let a Trainer forget that it was resumed, once a batch is done, as it does after an epoch.

    If it goes, see whether the end of an epoch steps `ReduceLROnPlateau` without it.
    """
    trainer.fit_loop.on_iteration_done()


def resumed_behind_batch(trainer: Trainer) -> bool:
    """Tell whether a Trainer was resumed from a checkpoint that was saved in a batch's last hooks.

    If it goes: compare `processed` and `completed` of `batch_progress` in the checkpoint.
    """
    return trainer.fit_loop.epoch_loop.restarted_on_train_batch_end


def count_scheduler_step(trainer: Trainer) -> None:
    """Count a step of a scheduler that Lightning itself has not made. If it goes: leave it out."""
    progress = trainer.fit_loop.epoch_loop.scheduler_progress
    progress.increment_ready()
    progress.increment_completed()


# --- their counters in a checkpoint ---------------------------------------------------------------
#
# `ready`, `started`, `processed` and `completed`, each of the present run or epoch (`current`) and
# in all (`total`). If a key goes, resuming fails loudly: see `state_dict` in Lightning's `loops/`.


def fit_loop_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counters of `Trainer.fit` in a checkpoint, to be changed in place."""
    loops: dict[str, Any] = checkpoint["loops"]["fit_loop"]
    return loops


def epoch_ended(loops: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint was saved at the end of an epoch; False before the first."""
    epoch = loops["epoch_progress"]["current"]
    return bool(epoch["processed"] == epoch["started"] == epoch["ready"] > 0)


def batch_ended(loops: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint was saved in the last hooks of a batch."""
    batches = loops["epoch_loop.batch_progress"]["current"]
    return bool(batches["processed"] > batches["completed"])


def has_begun(loops: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint was saved after the first batch of a run."""
    return bool(loops["epoch_loop.batch_progress"]["total"]["ready"] > 0)


def loader_states(loops: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the states of the training loaders, of those that have one."""
    states: list[dict[str, Any]] = loops["state_dict"].get("combined_loader", [])
    return states


def complete_epoch(loops: dict[str, Any]) -> None:
    """Let an epoch that has ended be over: with `max_steps`, Lightning would end it once more."""
    for count in loops["epoch_progress"].values():
        count["completed"] = count["processed"]


def reopen_epoch(loops: dict[str, Any]) -> None:
    """Undo the end of an epoch that a limit of steps cut short: it goes on."""
    for count in loops["epoch_progress"].values():
        count["processed"] = count["completed"] = count["started"] - 1
    stand_after(loops, loops["epoch_loop.batch_progress"]["current"]["completed"])


def validate_anew(loops: dict[str, Any]) -> None:
    """Let a validation begin with its first batch: the step before it is complete."""
    for count in loops["epoch_loop.val_loop.batch_progress"].values():
        if isinstance(count, dict):
            count.update(ready=1, started=1, processed=0, completed=0)


def stand_after(loops: dict[str, Any], batches: int) -> None:
    """Make the counters those of a checkpoint that was saved after so many batches of its epoch."""
    progress = loops["epoch_loop.batch_progress"]
    undone = progress["current"]["completed"] - batches
    total = progress["total"]["completed"] - undone
    for name, done in (("current", batches), ("total", total)):
        progress[name].update(ready=done, started=done, processed=done, completed=done - 1)
    progress["is_last_batch"] = False
    # Lightning counts this step once more when it resumes
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
    handed = loader_states(loops)
    if len(handed) == 1 and "position" in handed[0]:
        handed[0]["position"] = batches


# --- models, loggers and the command line ---------------------------------------------------------

HOOK_NAME = "_current_fx_name"
"""Attribute of a module that notes which hook is called, 85 times a step. If it goes: no matter."""


def pass_over(callback: Callback, hook: str) -> None:
    """Let a Trainer pass over a hook of a callback, which it does if that cannot be called.

    If it goes: do nothing; the Trainer calls the hook.
    """
    vars(callback)[hook] = None


def call_again(callback: Callback, hook: str) -> None:
    """Undo `pass_over`, if it has been done."""
    if vars(callback).get(hook, callback) is None:
        del vars(callback)[hook]


def attached_trainer(model: LightningModule) -> Trainer | None:
    """Return the Trainer of a model, or None; the property `trainer` raises if there is none.

    If it goes: catch that `RuntimeError`.
    """
    return model._trainer


def attached_data(trainer: Trainer) -> Any:
    """Return what a Trainer was given as data, when it begins: a data module, loaders or the model.

    If it goes: `trainer.datamodule`, and whoever gives a loader calls `model.build` himself.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return trainer._active_loop._data_source.instance if data is None else data  # type: ignore[union-attr]


def evaluate_rows_once(trainer: Trainer) -> None:
    """Let the samplers with which several processes share rows of evaluation repeat none of them.

    Lightning pads those of validation and test until all processes have as many rows, so that some
    count twice; where there are fewer rows than processes, it stays so. If it goes: rows count
    twice again, unless a data module has samplers of its own.
    """
    from lightning.pytorch.trainer.states import RunningStage
    from torch.utils.data import DistributedSampler

    connector: Any = trainer._data_connector
    prepare = type(connector)._prepare_dataloader

    def prepared(dataloader: Any, shuffle: bool, mode: RunningStage) -> Any:
        evaluates = mode != RunningStage.TRAINING
        given: Any = getattr(dataloader, "sampler", None)
        if hasattr(given, "even"):  # one of hybridlit's; training hangs with uneven ones
            given.even = not evaluates or dataloader is trainer.train_dataloader
        found = prepare(connector, dataloader, shuffle, mode)
        sampler = getattr(found, "sampler", None)
        if not evaluates or sampler is given or not isinstance(sampler, DistributedSampler):
            return found
        rows: Any = sampler.dataset
        if len(rows) >= sampler.num_replicas:
            sampler.total_size = len(rows)
            sampler.num_samples = len(range(sampler.rank, len(rows), sampler.num_replicas))
        return found

    connector._prepare_dataloader = prepared


def gets_weights_alone(trainer: Trainer) -> bool:
    """Tell whether a fit runs in processes that hand nothing but weights back to their caller.

    If it goes: the names of `ddp_spawn`, `ddp_fork` and `ddp_notebook`.
    """
    from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def log_now(trainer: Trainer, metrics: Mapping[str, Tensor]) -> None:
    """Give loggers values of this moment, with the epoch, at the number of batches that stepped.

    No public way brings loggers what a killed run must have written. If it goes:
    `logger.log_metrics` of each of `trainer.loggers`, with a step of one's own.
    """
    trainer._logger_connector.log_metrics(dict(metrics))


CLASS_PATH = "_class_path"
"""Hyperparameter in which `LightningCLI` notes the class of a model. If it goes: `--template`."""

INSTANTIATOR = "_instantiator"
"""Hyperparameter that only a model made by `LightningCLI` has; see `CLASS_PATH`."""

INSTANTIATES = "lightning.pytorch.cli.instantiate_module"
"""What `LightningCLI` writes there: Lightning's own function, which imports nothing foreign."""


def noted_arguments() -> ContextVar[dict[str, Any] | None]:
    """Return where `LightningCLI` notes the arguments of the object that it is constructing.

    `save_hyperparameters` reads it. If it goes: a model that is constructed later has no
    `CLASS_PATH`, so that `hybridlit test` of its checkpoint needs its config as well.
    """
    from lightning.pytorch.core.mixins import hparams_mixin

    return hparams_mixin._given_hyperparameters
