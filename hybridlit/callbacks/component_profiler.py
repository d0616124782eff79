"""Time of each part of a network in real training steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit.analysis.evaluation import rows_in
from hybridlit.analysis.profiling.component_profile import ComponentProfile
from hybridlit.analysis.profiling.part_times import PartTimer, StepTimes
from hybridlit.analysis.profiling.profile import summarize
from hybridlit.argument_types import checked
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.epochs import checked_epochs, say_missed
from hybridlit.callbacks.measuring.reports import boards, training_goes_on
from hybridlit.callbacks.measuring.undoing import Undoing
from hybridlit.checks import integer

__all__ = ["ComponentProfiler"]


class ComponentProfiler(Undoing):
    """Measure how long each part of a network takes in training steps, at chosen times of a run.

    A measurement skips some batches, then measures steps with hooks on the parts and steps without
    any in turn, so that what the hooks cost is known; they are removed after each step. A step is
    the forward pass of `training_step` and the backward pass. What belongs to no part, such as
    the loss, metrics and other callbacks, is `other`, and all shares sum to 1; see `PartTimer`.
    Training is bit for bit the same with and without this callback.

    Logged at the end of an epoch, as means over its measurements and all processes:
    `profile/<part>_forward_ms`, `profile/<part>_backward_ms`, `profile/<part>_share`,
    `profile/<component>_share` and `profile/step_ms`. A TensorBoard logger gets the table as the
    text `profile`. A trace of one step, which chrome://tracing and Perfetto open, goes to
    `profile/` of the log directory.

    Args:
        epochs: The epochs in which to measure, from 0; None: the first and the last, or what
            `every_n_steps` says.
        every_n_steps: Measure whenever the number of optimizer steps is a multiple of this, at
            least 1.
        steps: Steps measured of each kind, at least 1.
        warmup: Batches skipped before, at least 0.
        trace: Write the trace.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or both `epochs` and `every_n_steps` are given.

    Example:
        >>> ComponentProfiler(epochs=[0, 10], steps=10).measures_epoch(10, max_epochs=20)
        True
    """

    @checked
    def __init__(
        self,
        epochs: list[int] | None = None,
        every_n_steps: int | None = None,
        steps: int = 5,
        warmup: int = 3,
        trace: bool = True,
    ) -> None:
        self.epochs, self.every_n_steps = checked_epochs(epochs, every_n_steps, "every_n_steps")
        self.trace = trace
        self.steps = integer(steps, "steps", 1)
        self.warmup = integer(warmup, "warmup", 0)
        self._timer: PartTimer | None = None
        self._measurement: _Measurement | None = None
        self._found: list[ComponentProfile] = []
        self._last_opened: int | None = None
        self._directory: Path | None = None

    def measures_epoch(self, epoch: int, max_epochs: int | None) -> bool:
        """Tell whether to measure at the beginning of an epoch; never with `every_n_steps`.

        Args:
            epoch: The epoch, from 0.
            max_epochs: Number of epochs of the run; None or -1 if it is not known.
        """
        if self.every_n_steps is not None:
            return False
        if self.epochs is not None:
            return epoch in self.epochs
        return epoch == 0 or epoch + 1 == max_epochs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the parts, and where traces go."""
        self._timer = None if trainer.fast_dev_run else PartTimer(pl_module)  # type: ignore[attr-defined]
        self._measurement, self._last_opened, self._found = None, None, []
        directory = Path(trainer.log_dir or trainer.default_root_dir)  # asks all processes
        self._directory = directory / "profile" if self.trace and trainer.is_global_zero else None
        if self._timer is not None:
            say_missed(self.epochs, trainer, "profiled")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin a step, and a measurement where one is due."""
        if self._timer is None:
            return
        if self._measurement is None and self._is_due(trainer):
            self._measurement = _Measurement(self._timer, self.warmup, self.steps)
        if self._measurement is not None:
            self._measurement.begin_step(batch)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """End the forward pass."""
        if self._measurement is not None:
            self._measurement.begin_backward(loss)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the backward pass."""
        if self._measurement is not None:
            self._measurement.end_backward()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End a step, and a measurement after its last one."""
        if self._measurement is not None:
            self._measurement.end_step()
            if self._measurement.complete:
                self._report(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a measurement that the epoch was too short for, and log those of this epoch."""
        if self._measurement is not None:
            self._report(trainer, pl_module)
        values: dict[str, list[float]] = {}
        for profile in self._found:
            for name, value in _scalars(profile).items():
                values.setdefault(name, []).append(value)
        self._found = []
        means = {name: sum(several) / len(several) for name, several in values.items()}
        pl_module.log_dict(means, on_step=False, on_epoch=True, sync_dist=True)

    def _is_due(self, trainer: Trainer) -> bool:
        if self.every_n_steps is None:
            place = trainer.current_epoch
            due = self.measures_epoch(place, trainer.max_epochs)
        else:
            place = trainer.global_step
            due = place % self.every_n_steps == 0
        if not due or place == self._last_opened:
            return False
        self._last_opened = place
        return True

    def _report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        measurement, self._measurement = self._measurement, None
        assert measurement is not None
        if not measurement.usable:
            rank_zero_warn(
                f"epoch {trainer.current_epoch} ended before ComponentProfiler measured a step of "
                f"each kind: it needs at least warmup + 2 = {self.warmup + 2} batches; lower "
                f"warmup={self.warmup}"
            )
            return
        profile: ComponentProfile | None = None
        with training_goes_on(lambda e: rank_zero_warn(f"ComponentProfiler measures nothing: {e}")):
            profile = measurement.profile(pl_module)
        if profile is None:
            self._timer = None
            return
        self._found.append(profile)
        with training_goes_on("ComponentProfiler's table"):
            table = profile.to_markdown()
            for board in boards(trainer):
                board.experiment.add_text(LogKey.TABLE(), table, trainer.global_step)
        if self._directory is not None:
            name = f"epoch_{trainer.current_epoch:04d}_step_{trainer.global_step}.trace.json"
            with training_goes_on(f"ComponentProfiler's trace {name}"):
                profile.save_trace(self._directory / name)

    def _undo(self) -> None:
        """Leave no hooks on the model, and do not hold it."""
        if self._timer is not None:
            self._timer.detach()
        self._measurement = self._timer = None


class _Measurement:
    """Some steps that are skipped, then steps with hooks and without in turn."""

    def __init__(self, timer: PartTimer, warmup: int, steps: int) -> None:
        self._timer = timer
        self._coming = [None] * warmup + [True, False] * steps  # whether with hooks
        self._hooks: bool | None = None
        self._plain: list[float] = []
        self._hooked: list[StepTimes] = []
        self._rows: int | None = None
        self._start, self._end = 0.0, math.nan

    @property
    def complete(self) -> bool:
        return not self._coming

    @property
    def usable(self) -> bool:
        return bool(self._plain and self._hooked)

    def begin_step(self, batch: Any) -> None:
        self._hooks, self._end = self._coming.pop(0), math.nan
        if self._rows is None:
            self._rows = rows_in(batch)
        if self._hooks:
            self._timer.attach()
            self._timer.start()
        self._start = self._timer.now()

    def begin_backward(self, loss: Tensor) -> None:
        if self._hooks:
            self._timer.begin_backward(loss)

    def end_backward(self) -> None:
        if self._hooks:
            self._timer.end_backward()
        self._end = self._timer.now()

    def end_step(self) -> None:
        trained = not math.isnan(self._end)  # without a backward pass it was no training step
        if self._hooks and trained:
            self._hooked.append(self._timer.finish())
        elif self._hooks is False and trained:
            self._plain.append(self._end - self._start)
        if self._hooks:
            self._timer.detach()

    def profile(self, model: LightningModule) -> ComponentProfile:
        return summarize(
            self._timer, model, self._plain, self._hooked, rows=self._rows, backward=True
        )


def _scalars(profile: ComponentProfile) -> dict[str, float]:
    values = {LogKey.STEP(): profile.step.median}
    for part in profile.parts:
        values[LogKey.FORWARD(part.name)] = part.forward.median
        values[LogKey.BACKWARD(part.name)] = part.backward.median
        values[LogKey.PART_SHARE(part.name)] = part.share
    return values | {LogKey.SHARE(component): share for component, share in profile.shares.items()}
