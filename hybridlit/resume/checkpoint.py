"""Checkpoints that are there when they are needed: best, last, every k steps, on interruption."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any, Literal
from weakref import proxy

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning_utilities.core.apply_func import apply_to_collection
from torch.utils.data import DataLoader

from hybridlit.checks import choice, integer, number
from hybridlit.internals.lightning import batch_index, fit_loop_of
from hybridlit.resume.boundaries import accumulating, validation_follows
from hybridlit.resume.checkpoint_io import DurableCheckpointIO
from hybridlit.resume.durable import remove_leftovers
from hybridlit.resume.folder import later_checkpoints, own_folder, remove_old_steps, step_name
from hybridlit.resume.lock import FolderLock
from hybridlit.resume.loop_counters import rewind
from hybridlit.resume.patience import Patience

__all__ = ["HybridCheckpoint"]


class HybridCheckpoint(ModelCheckpoint):
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
          the last save. Runs of a single process only, since the others could not take part.
          The first Ctrl-C waits for the end of the step, or of a batch of validation, so that
          nothing is lost; the second does not. If data come from worker processes, which it ends as
          well, Ctrl-C waits for nothing but a save. The file can be less exact than the others (see
          `ExactResume`), so `newest_checkpoint` takes it only where no other one has as many steps.
          Nothing is ever resumed unless `ckpt_path` says so.

    A new run never writes into a folder that holds checkpoints of another one, and no run into one
    that another run is writing into (`FolderLock`); one that goes back to an earlier step of its
    own is warned that files of later steps are there. If a file cannot be
    written, the run stops with an `OSError` and the files from before are as they were.

    One per Trainer: for the best by another value, add a `ModelCheckpoint` with another `dirpath`.

    `best_model_path`, `best_model_score`, `best_k_models`, `last_model_path` (the file written
    last), `Trainer.test(ckpt_path="best")` and loggers work as with `ModelCheckpoint`. Nothing is
    logged.

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
    """

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
        dirpath: str | None = None,
    ) -> None:
        choice(mode, "mode", ("min", "max"))
        integer(save_top_k, "save_top_k", 0)
        self.every_n_steps = (
            None if every_n_steps is None else integer(every_n_steps, "every_n_steps", 1)
        )
        self.keep = integer(keep, "keep", 1)
        self.last_share = last_share
        if last_share is not None:
            number(last_share, "last_share", minimum=0.0, below=1.0)
        for name, value in (("save_last", save_last), ("on_exception", on_exception)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be a bool, got {value!r}")
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a logged value, got {monitor!r}")
        if dirpath is not None and not isinstance(dirpath, (str, os.PathLike)):
            raise TypeError(f"dirpath must be the path of a folder or None, got {dirpath!r}")
        if not (save_top_k or save_last or every_n_steps or on_exception):
            raise ValueError(
                "save_top_k=0, save_last=False, every_n_steps=None and on_exception=False save "
                "nothing: leave the callback out, or switch one of them on"
            )
        super().__init__(
            dirpath=dirpath,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            save_last=save_last,
            save_on_exception=on_exception,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self._given_folder = dirpath is not None
        self._restored: dict[str, float] = {}
        self._wrote = False  # a second fit goes on in the folder of the first
        self._validated = False
        self._considered: float | None = None
        self._due = False
        self._first_step: int | None = None
        self._step = 0  # as of the previous batch
        self._batches = 0  # of this epoch, up to the last optimizer step
        self._settled = False  # while saving: everybody else has done with this validation or epoch
        self._interrupted = False
        self._patience = Patience()
        self._lock: FolderLock | None = None
        self._resumed_in: Path | None = None  # the folder that this fit has been resumed from
        self._has_saved = False  # in this fit
        self._saved: int | None = None  # the step of the last save with nothing half done
        self._began = 0.0
        self._last_seconds = 0.0  # spent on saving last.ckpt

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

    def state_dict(self) -> dict[str, Any]:
        """Return which checkpoints are best, by their paths from the folder."""
        return {
            "best": {self._relative(p): score.item() for p, score in self.best_k_models.items()},
            "considered": self._considered,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note where the run is resumed from; a finder loads what this fit has saved."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if fitting and not self._has_saved and trainer.ckpt_path is not None:
            self._resumed_in = Path(trainer.ckpt_path).resolve().parent

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember which checkpoints are best; `on_fit_start` looks for them."""
        self._restored = state_dict["best"]
        self._considered = state_dict["considered"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse or avoid a folder of another run; take over the best checkpoints of this one."""
        self._validated, self._due, self._saved, self._first_step = False, False, None, None
        self._interrupted = self._settled = False
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        resumed = self._resumed_in
        if resumed is None and trainer.global_step == 0:
            self._considered, self.best_k_models, self.last_model_path = None, {}, ""
            self._rank()
        self._take_folder(trainer, self._wrote or resumed == Path(self._folder).resolve())
        if trainer.is_global_zero:
            remove_leftovers(self._folder)
        if resumed is not None:
            found = {name: resumed / name for name in self._restored}
            gone = [name for name, path in found.items() if not path.is_file()]
            if gone:
                rank_zero_warn(f"Best checkpoints are no longer there: {', '.join(gone)}.")
            self.best_k_models = {
                str(found[name]): torch.tensor(score)
                for name, score in self._restored.items()
                if name not in gone
            }
            self._rank()
        self._restored = {}

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
        try:
            self._save_interrupted(trainer, exception)
        finally:
            self._release()

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
        self._release()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a checkpoint of an interrupted step begin with that step."""
        self._has_saved = True
        if self._interrupted:
            rewind(fit_loop_of(checkpoint), self._batches, trainer)

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _folder(self) -> str:
        return str(self.dirpath)

    def _take_folder(self, trainer: Trainer, resumed: bool) -> None:
        """Keep other runs out of the folder, or find another one."""
        self._release()
        found, refusal = self._folder, None
        if trainer.is_global_zero:
            try:
                found, self._lock = own_folder(self._folder, self._given_folder, resumed)
            except ValueError as error:
                refusal = str(error)
        found, refusal = trainer.strategy.broadcast((found, refusal))
        if refusal is not None:  # in all processes
            raise ValueError(refusal)
        if found != self._folder:
            rank_zero_info(f"{self._folder} is that of another run: saving to {found}")
            self.dirpath = found

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _is_active(self, trainer: Trainer) -> bool:
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        return fitting and not trainer.fast_dev_run  # type: ignore[attr-defined]

    def _save_all(self, trainer: Trainer) -> None:
        """Save what is due after a validation, or at the end of an epoch."""
        self._settled = True
        score = self._score(trainer)
        if score is not None:
            self._save_best(trainer, score)
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

    def _score(self, trainer: Trainer) -> float | None:
        """Return the monitored value if it is a new one that can be among the best."""
        value = trainer.callback_metrics.get(self.monitor or "") if self.save_top_k else None
        if value is None:
            return None
        score = float(trainer.strategy.broadcast(value.item()))
        fresh, self._validated = self._validated or score != self._considered, False
        self._considered = score
        if not fresh or score != score:
            return None
        if len(self.best_k_models) < self.save_top_k:
            return score
        worst = self.best_k_models[self.kth_best_model_path].item()
        return score if (score < worst if self.mode == "min" else score > worst) else None

    def _save_best(self, trainer: Trainer, score: float) -> None:
        name = f"best-epoch{trainer.current_epoch:03d}-step{trainer.global_step}.ckpt"
        path = os.path.join(self._folder, name)
        before = dict(self.best_k_models)
        outdone = self.kth_best_model_path if len(before) >= self.save_top_k else ""
        self.best_k_models.pop(outdone, None)
        self.best_k_models[path] = torch.tensor(score)
        self._rank()  # before saving: the file tells that it is among the best
        try:
            self._save(trainer, name)
        except BaseException:
            self.best_k_models = before
            self._rank()
            raise
        if outdone and outdone != path and Path(outdone).parent == Path(self._folder):
            trainer.strategy.remove_checkpoint(outdone)

    def _rank(self) -> None:
        """Find the best and the worst of the best."""
        scores = {path: score.item() for path, score in self.best_k_models.items()}
        ranked = sorted(scores, key=lambda path: scores[path], reverse=self.mode == "max")
        self.best_model_path = ranked[0] if ranked else ""
        self.best_model_score = self.best_k_models[ranked[0]] if ranked else None
        self.kth_best_model_path = ranked[-1] if ranked else ""
        self.current_score = None if self._considered is None else torch.tensor(self._considered)

    def _save_step(self, trainer: Trainer) -> None:
        self._due = False
        self._save(trainer, step_name(trainer.global_step))
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

    def _relative(self, path: str) -> str:
        inside = Path(path).parent == Path(self._folder)
        return Path(path).name if inside else path


def _worker_processes(trainer: Trainer) -> bool:
    """Tell whether data come from processes of their own, which Ctrl-C in a terminal ends too."""
    found: list[Any] = []
    loaders = (trainer.train_dataloader, trainer.val_dataloaders)
    apply_to_collection(loaders, DataLoader, found.append)
    return any(loader.num_workers for loader in found)
