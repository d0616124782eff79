"""Time of each part of a network in real training steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit.analysis.evaluation import rows_in
from hybridlit.analysis.profiling.component_profile import ComponentProfile
from hybridlit.analysis.profiling.part_times import PartTimer, StepTimes
from hybridlit.analysis.profiling.profile import summarize
from hybridlit.callbacks.measuring.going_on import training_goes_on
from hybridlit.callbacks.measuring.loggers import boards
from hybridlit.checks import integer

__all__ = ["ComponentProfiler"]


class ComponentProfiler(Callback):
    """Measure how long each part of a network takes in training steps, at chosen times of a run.

    A measurement skips some batches, then measures steps with hooks on the parts and steps without
    any in turn, so that what the hooks cost is known; they are removed after each step. A step is
    the forward pass of `training_step` and the backward pass. What belongs to no part, such as
    the loss, metrics and other callbacks, is `other`, and all shares sum to 1; see `PartTimer`.
    Training is bit for bit the same with and without this callback.

    Logged at the end of an epoch, as means over its measurements and all processes:

    - `profile/<part>_forward_ms`, `profile/<part>_backward_ms`: medians in milliseconds;
    - `profile/<part>_share`: share of the sum of all of these;
    - `profile/classical_share`, `profile/photonic_share`, `profile/other_share`: sums of them;
    - `profile/step_ms`: median of the steps without hooks.

    A TensorBoard logger gets the table as the text `profile`. A trace of one step, which
    chrome://tracing and Perfetto open, goes to `profile/` of the log directory.

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

    def __init__(
        self,
        epochs: list[int] | None = None,
        every_n_steps: int | None = None,
        steps: int = 5,
        warmup: int = 3,
        trace: bool = True,
    ) -> None:
        if epochs is not None and every_n_steps is not None:
            raise ValueError(
                f"give epochs or every_n_steps, got both: {epochs!r} and {every_n_steps!r}"
            )
        if epochs is not None:
            if not isinstance(epochs, (list, tuple)):
                raise TypeError(f"epochs must be a list of integers, got {epochs!r}")
            epochs = [integer(epoch, "each of epochs", 0) for epoch in epochs]
        if every_n_steps is not None:
            every_n_steps = integer(every_n_steps, "every_n_steps", 1)
        if not isinstance(trace, bool):
            raise TypeError(f"trace must be a bool, got {trace!r}")
        self.epochs, self.every_n_steps, self.trace = epochs, every_n_steps, trace
        self.steps = integer(steps, "steps", 1)
        self.warmup = integer(warmup, "warmup", 0)
        self._timer: PartTimer | None = None
        self._measurement: _Measurement | None = None
        self._found: list[ComponentProfile] = []
        self._last_opened: int | None = None
        self._directory: Path | None = None

    def measures_epoch(self, epoch: int, max_epochs: int | None) -> bool:
        """Tell whether to measure at the beginning of an epoch.

        Args:
            epoch: The epoch, from 0.
            max_epochs: Number of epochs of the run; None or -1 if it is not known.

        Returns:
            Whether it is chosen; never with `every_n_steps`.
        """
        if self.every_n_steps is not None:
            return False
        if self.epochs is not None:
            return epoch in self.epochs
        return epoch == 0 or epoch + 1 == max_epochs

    # --- hooks ------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the parts, and where traces go."""
        self._timer = None if trainer.fast_dev_run else PartTimer(pl_module)  # type: ignore[attr-defined]
        self._measurement, self._last_opened, self._found = None, None, []
        directory = Path(trainer.log_dir or trainer.default_root_dir)  # asks all processes
        self._directory = directory / "profile" if self.trace and trainer.is_global_zero else None
        last = trainer.max_epochs
        missed = [epoch for epoch in self.epochs or [] if last not in (None, -1) and epoch >= last]
        if missed and self._timer is not None:
            rank_zero_warn(f"max_epochs={last} ends before epochs {missed} can be profiled")

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
        for name, several in values.items():
            mean = sum(several) / len(several)
            pl_module.log(name, mean, on_step=False, on_epoch=True, sync_dist=True)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave no hooks on the model."""
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave no hooks on the model, and do not hold it."""
        self._stop()
        self._timer = None

    # --- inside -----------------------------------------------------------------------------------

    def _is_due(self, trainer: Trainer) -> bool:
        if self.every_n_steps is None:
            place = trainer.current_epoch
            due = self.measures_epoch(place, trainer.max_epochs)
        else:
            place = trainer.global_step
            due = place % self.every_n_steps == 0
        due = due and place != self._last_opened
        if due:
            self._last_opened = place
        return due

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
        try:
            profile = measurement.profile(pl_module)
        except Exception as error:  # nothing to see is no reason to end a run
            rank_zero_warn(f"ComponentProfiler measures nothing: {error}")
            self._timer = None
            return
        self._found.append(profile)
        with training_goes_on("ComponentProfiler's table"):
            for board in boards(trainer):
                board.experiment.add_text("profile", profile.to_markdown(), trainer.global_step)
        if self._directory is not None:
            name = f"epoch_{trainer.current_epoch:04d}_step_{trainer.global_step}.trace.json"
            with training_goes_on(f"ComponentProfiler's trace {name}"):
                profile.save_trace(self._directory / name)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.detach()
        self._measurement = None


class _Measurement:
    """Some steps that are skipped, then steps with hooks and without in turn."""

    def __init__(self, timer: PartTimer, warmup: int, steps: int) -> None:
        self._timer, self._skipped, self._steps = timer, warmup, steps
        self._plain: list[float] = []
        self._hooked: list[StepTimes] = []
        self._batches = -1
        self._rows: int | None = None
        self._start = 0.0
        self._end: float | None = None

    @property
    def complete(self) -> bool:
        return self._batches + 1 >= self._skipped + 2 * self._steps

    @property
    def usable(self) -> bool:
        return bool(self._plain and self._hooked)

    @property
    def _is_hooked(self) -> bool:
        return self._batches >= self._skipped and (self._batches - self._skipped) % 2 == 0

    def begin_step(self, batch: Any) -> None:
        self._batches += 1
        self._end = None
        if self._rows is None:
            self._rows = rows_in(batch)
        if self._is_hooked:
            self._timer.attach()
            self._timer.start()
        self._start = self._timer.now()

    def begin_backward(self, loss: Tensor) -> None:
        if self._is_hooked:
            self._timer.begin_backward(loss)

    def end_backward(self) -> None:
        if self._is_hooked:
            self._timer.end_backward()
        self._end = self._timer.now()

    def end_step(self) -> None:
        if self._is_hooked:
            if self._end is not None:  # without a backward pass it was no training step
                self._hooked.append(self._timer.finish())
            self._timer.detach()
        elif self._batches >= self._skipped and self._end is not None:
            self._plain.append(self._end - self._start)

    def profile(self, model: LightningModule) -> ComponentProfile:
        return summarize(
            self._timer, model, self._plain, self._hooked, rows=self._rows, backward=True
        )


def _scalars(profile: ComponentProfile) -> dict[str, float]:
    values = {"profile/step_ms": profile.step.median}
    for part in profile.parts:
        values[f"profile/{part.name}_forward_ms"] = part.forward.median
        values[f"profile/{part.name}_backward_ms"] = part.backward.median
        values[f"profile/{part.name}_share"] = part.share
    for component, share in profile.shares.items():
        values[f"profile/{component}_share"] = share
    return values
