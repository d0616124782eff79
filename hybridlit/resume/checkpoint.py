"""Checkpoints that are there when they are needed: best, last, every k steps, on interruption."""

from __future__ import annotations

import os
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal
from weakref import proxy

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning_utilities.core.apply_func import apply_to_collection
from torch.utils.data import DataLoader

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer, number
from hybridlit.internals.lightning import batch_index, fit_loop_of
from hybridlit.resume.best import BestCheckpoints
from hybridlit.resume.boundaries import accumulating, rewind, validation_follows
from hybridlit.resume.checkpoint_io import DurableCheckpointIO
from hybridlit.resume.durable import remove_leftovers
from hybridlit.resume.folder import later_checkpoints, own_folder, remove_old_steps
from hybridlit.resume.patience import Patience

__all__ = ["HybridCheckpoint"]


class HybridCheckpoint(BestCheckpoints):
    """Keeps the best, the last and the newest periodic checkpoints, each safe against a kill.

    Files are written beside their place, brought to the disk, read back and renamed, with a
    checksum inside (`save_durably`); they remain ordinary Lightning checkpoints. A damaged
    `ckpt_path` is noticed when a run is resumed, and the newest undamaged checkpoint of its folder
    used instead, with a warning. Every save is at the end of an optimizer step: one that falls due
    where a validation or the end of the epoch follows waits for that, so that a resumed run repeats
    neither. With `ExactResume` beside it, a resumed run goes on as if it had not been interrupted.

    Files, in `dirpath`:

    - `best-epoch<epoch>-step<step>.ckpt`: the `save_top_k` best by `monitor`; NaN is never
      among them. Looked at after each validation; at the end of the epoch if the validation
      ends it, or if there is none. A warning tells at the end if there was no value at all.
    - `last.ckpt`: at the same occasions and at the end, unless saving it has taken more than
      `last_share` of the run so far: where epochs take milliseconds, not after each of them.
    - `step<step>.ckpt`: every `every_n_steps` optimizer steps, the newest `keep` of them.
    - `interrupted.ckpt`: what an error, Ctrl-C or SIGTERM interrupted, if anything is new since
      the last save; in runs of a single process. The first Ctrl-C waits for the end of the
      step, or of a batch of validation, so that nothing is lost; the second does not. If data
      come from worker processes, which it ends as well, Ctrl-C waits for nothing but a save.
      The file can be less exact than the others (see `ExactResume`), so `newest_checkpoint`
      takes it only where no other one has as many steps.

    Nothing is ever resumed unless `ckpt_path` says so. A new run never writes into a folder that
    holds checkpoints of another one, and no run into one that another run is writing into; one that
    goes back to an earlier step of its own is warned that files of later steps are there. If a file
    cannot be written, the run stops with an `OSError` and the files from before are as they were.

    `best_model_path`, `best_model_score`, `best_k_models`, `last_model_path` (the file written
    last), `Trainer.test(ckpt_path="best")` and loggers work as with `ModelCheckpoint`. One per
    Trainer: for the best by another value, add a `ModelCheckpoint` with another `dirpath`. Nothing
    is logged.

    Args:
        monitor: Logged value that decides which checkpoints are best.
        mode: `"min"` if smaller is better, `"max"` if larger is.
        save_top_k: How many of the best to keep, at least 0.
        save_last: Keep `last.ckpt`.
        last_share: Share of the time of the run that saving `last.ckpt` may take, in [0, 1); a kill
            loses `1 / last_share` times as long as a save takes. None saves it at every occasion.
        every_n_steps: Optimizer steps between periodic checkpoints, at least 1; None: none.
        keep: How many periodic checkpoints to keep, at least 1.
        on_exception: Keep `interrupted.ckpt`.
        dirpath: The folder; None: `checkpoints` in the folder of the first logger's run, or in
            `default_root_dir` without loggers, with a number behind it if that is another run's.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or nothing at all would be saved. At the start
            of a fit, if `dirpath` is another run's.

    Example:
        >>> kept = HybridCheckpoint("val/acc", mode="max", every_n_steps=500)
        >>> kept.monitor, kept.every_n_steps, kept.keep
        ('val/acc', 500, 3)
    """

    @checked
    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        save_top_k: int = 1,
        save_last: bool = True,
        last_share: float | None = 0.01,
        every_n_steps: int | None = None,
        keep: int = 3,
        on_exception: bool = True,
        dirpath: str | os.PathLike[str] | None = None,
    ) -> None:
        choice(mode, "mode", ("min", "max"))
        integer(save_top_k, "save_top_k", 0)
        if every_n_steps is not None:
            every_n_steps = integer(every_n_steps, "every_n_steps", 1)
        if last_share is not None:
            number(last_share, "last_share", minimum=0.0, below=1.0)
        if not (save_top_k or save_last or every_n_steps or on_exception):
            raise ValueError(
                "save_top_k=0, save_last=False, every_n_steps=None and on_exception=False save "
                "nothing: leave the callback out, or switch one of them on"
            )
        self.every_n_steps, self.last_share = every_n_steps, last_share
        self.keep = integer(keep, "keep", 1)
        super().__init__(
            dirpath=None if dirpath is None else os.fspath(dirpath),
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            save_last=save_last,
            save_on_exception=on_exception,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self._given_folder = dirpath is not None
        self._lock = ExitStack()  # of the folder
        self._wrote = False  # a second fit goes on in the folder of the first
        self._resumed_in: Path | None = None  # the folder that this fit has been resumed from
        self._has_saved = False  # in this fit
        self._patience = Patience()
        self._first_step: int | None = None
        self._step = 0  # as of the previous batch
        self._batches = 0  # of this epoch, up to the last optimizer step
        self._began, self._last_seconds = 0.0, 0.0  # spent on saving last.ckpt
        self._begin_fit()

    def _begin_fit(self) -> None:
        self._validated = self._due = False
        self._first_step = None
        self._saved: int | None = None  # the step of the last save with nothing half done
        self._settled = False  # while saving: everybody else has done with this validation or epoch
        self._interrupted = False

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint: the name of the class."""
        return type(self).__qualname__

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder, and put the durable writer in place."""
        if stage == "fit":
            self._resumed_in, self._has_saved = None, False
        if stage == "fit" and self._wrote and trainer.global_step == 0:  # of another Trainer
            self._wrote = False
            if not self._given_folder:
                self.dirpath = None
        with warnings.catch_warnings():  # `on_fit_start` knows whose files they are
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            super().setup(trainer, pl_module, stage)
        if "://" in self._folder:
            raise ValueError(
                f"HybridCheckpoint needs a local folder, got {self._folder!r}: set dirpath, or use "
                "ModelCheckpoint"
            )
        writer = trainer.strategy.checkpoint_io
        if type(writer) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = writer = DurableCheckpointIO()
        if isinstance(writer, DurableCheckpointIO):
            writer.fall_back = stage == "fit"  # a test is of the file it names, or of none
        elif stage == "fit":
            rank_zero_warn(
                f"Checkpoints are written by {type(writer).__name__}, so HybridCheckpoint cannot "
                "promise that they survive a kill: leave that plugin out of the Trainer."
            )

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note where the run is resumed from; a finder loads what this fit has saved."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if fitting and not self._has_saved and trainer.ckpt_path is not None:
            self._resumed_in = Path(trainer.ckpt_path).resolve().parent

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse or avoid a folder of another run; take over the best checkpoints of this one."""
        self._begin_fit()
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        resumed = self._resumed_in
        if resumed is None and trainer.global_step == 0:
            self.last_model_path = ""
            self._forget_best()
        self._take_folder(trainer, self._wrote or resumed == Path(self._folder).resolve())
        if trainer.is_global_zero:
            remove_leftovers(self._folder)
        self._find_best_again(resumed)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where the run begins; warn if the folder has been further already."""
        self._first_step = self._step = trainer.global_step
        self._batches = batch_index(trainer) + 1
        self._began, self._last_seconds = time.perf_counter(), 0.0
        if trainer.world_size == 1:  # processes would stop at different steps, and wait for ever
            self._patience.begin(waits=not _worker_processes(trainer))
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        later = later_checkpoints(self._folder, trainer.global_step)
        if later:
            rank_zero_warn(
                f"This run begins with step {trainer.global_step}, and {self._folder} holds "
                f"checkpoints of later ones: {', '.join(path.name for path in later)}. They will "
                "be taken for its newest until it has come as far: move them away, or set another "
                "dirpath."
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where the epoch begins."""
        self._batches = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let a Ctrl-C that waits have its way: the step before is done and logged."""
        if batch_idx == self._batches:
            self._patience.stop_if_asked()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save a periodic checkpoint if one is due and nothing else follows this step."""
        if not accumulating(trainer):
            self._batches = batch_index(trainer) + 1
        before, self._step = self._step, trainer.global_step
        if self.every_n_steps is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._due |= self._step // self.every_n_steps > before // self.every_n_steps
        between = accumulating(trainer) or trainer.is_last_batch or validation_follows(trainer)
        if self._due and not between:
            with self._patience.held():
                self._save_step(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Let a Ctrl-C that waits have its way: a validation can take long."""
        self._patience.stop_if_asked()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a validation amid the epoch."""
        if not self._is_active(trainer):
            return
        self._validated = True
        if not trainer.is_last_batch:
            with self._patience.held():
                self._save_all(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of the epoch."""
        if not self._is_active(trainer):
            return
        with self._patience.held():
            self._save_all(trainer)
        if self._validated and self.save_top_k and self.monitor not in trainer.callback_metrics:
            raise ValueError(
                f"monitor={self.monitor!r} was not logged, so no checkpoint can be the best: log "
                f"it, choose one of {sorted(trainer.callback_metrics)}, or set save_top_k=0"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save nothing, since the end of the epoch has been saved; warn if there is no best one."""
        if self._is_active(trainer) and self.save_top_k and not self.best_k_models:
            rank_zero_warn(f"No best checkpoint: {self.monitor!r} was never logged, or always NaN.")
        self._patience.stop_if_asked()
        self._patience.end()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save what was interrupted, without getting into the way of the error."""
        self._patience.end()
        with self._lock:
            self._save_interrupted(trainer, exception)

    def _save_interrupted(self, trainer: Trainer, exception: BaseException) -> None:
        if not self.save_on_exception or not self._is_active(trainer):
            return
        began = self._first_step is not None and trainer.global_step > self._first_step
        if not began or self._saved == trainer.global_step:
            return
        if trainer.world_size > 1:
            rank_zero_warn("Interrupted in several processes: only the checkpoints so far remain.")
            return
        self._interrupted = not self._settled
        try:
            path = self._save(trainer, "interrupted.ckpt")
        except Exception as failure:  # the interruption itself is what the user must see
            rank_zero_warn(f"The interrupted state could not be saved: {failure}")
        else:
            rank_zero_info(f"Interrupted by {type(exception).__name__}; saved {path}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give Ctrl-C back where a run ends without `on_train_end`, and the folder."""
        self._patience.end()
        self._lock.close()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a checkpoint of an interrupted step begin with that step."""
        self._has_saved = True
        if self._interrupted:
            rewind(fit_loop_of(checkpoint), self._batches, trainer)

    # --- inside -----------------------------------------------------------------------------------

    def _take_folder(self, trainer: Trainer, resumed: bool) -> None:
        """Keep other runs out of the folder, or find another one."""
        self._lock.close()
        found, refusal = self._folder, None
        if trainer.is_global_zero:
            try:
                found, lock = own_folder(self._folder, self._given_folder, resumed)
                self._lock.callback(lock.release)
            except ValueError as error:
                refusal = str(error)
        found, refusal = trainer.strategy.broadcast((found, refusal))
        if refusal is not None:  # in all processes
            raise ValueError(refusal)
        if found != self._folder:
            rank_zero_info(f"{self._folder} is that of another run: saving to {found}")
            self.dirpath = found

    def _is_active(self, trainer: Trainer) -> bool:
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        return fitting and not trainer.fast_dev_run  # type: ignore[attr-defined]

    def _save_all(self, trainer: Trainer) -> None:
        """Save what is due after a validation, or at the end of an epoch."""
        self._settled = True
        self._save_if_best(trainer)
        if accumulating(trainer):  # last and periodic ones can wait for the optimizer's step
            self._due |= self.every_n_steps is not None
        else:
            if self.save_last and self._last_is_due(trainer):
                start = time.perf_counter()
                self._save(trainer, "last.ckpt")
                self._last_seconds += time.perf_counter() - start
            if self._due:
                self._save_step(trainer)
        self._settled = False

    def _last_is_due(self, trainer: Trainer) -> bool:
        """Whether the run ends here, or saving has not taken too much of its time."""
        steps, epochs = trainer.max_steps, trainer.max_epochs
        ends = (
            trainer.should_stop
            or 0 <= steps <= trainer.global_step
            or (epochs is not None and 0 <= epochs <= trainer.current_epoch + 1)
        )
        share = self.last_share
        elapsed = time.perf_counter() - self._began
        due = ends or share is None or self._last_seconds <= share * elapsed
        return bool(trainer.strategy.broadcast(due))  # clocks of processes differ

    def _save_step(self, trainer: Trainer) -> None:
        self._due = False
        self._save(trainer, f"step{trainer.global_step:08d}.ckpt")
        if trainer.is_global_zero:
            remove_old_steps(self._folder, trainer.global_step, self.keep)

    def _save(self, trainer: Trainer, name: str) -> str:
        path = os.path.join(self._folder, name)
        trainer.save_checkpoint(path, weights_only=False)  # None would be announced each time
        self._wrote = True
        if not accumulating(trainer):
            self._saved = trainer.global_step
        self.last_model_path = path
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.after_save_checkpoint(proxy(self))
        return path


def _worker_processes(trainer: Trainer) -> bool:
    """Tell whether data come from processes of their own, which Ctrl-C in a terminal ends too."""
    found: list[Any] = []
    loaders = (trainer.train_dataloader, trainer.val_dataloaders)
    apply_to_collection(loaders, DataLoader, found.append)
    return any(loader.num_workers for loader in found)
