"""The LightningModule behind every template: task, metrics, optimizer groups and schedules."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import MetricCollection

from hybridlit.checks import integer, number, tensor
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.internals.lightning import attached_trainer
from hybridlit.optimizers import LARGEST_RATE, grouped_adamw, learning_rate
from hybridlit.photonics.finite import require_finite
from hybridlit.precisions import check_dtype
from hybridlit.templates.foreign_names import name_of
from hybridlit.templates.hyperparameters import PlainHyperparameters, unknown_argument
from hybridlit.templates.normalizers import fit_normalizers
from hybridlit.templates.prediction import Predicting
from hybridlit.templates.preparation import (
    PREPROCESSING_KEY,
    adopt_preprocessing,
    compare_preprocessing,
)
from hybridlit.templates.schedule import (
    PlateauWatch,
    ScheduleName,
    check_schedules,
    schedule_groups,
    schedules_by_group,
)
from hybridlit.templates.settings import SETTINGS_KEY, SettingsWatch, training_settings
from hybridlit.templates.sizes import check_fits, knows_sizes, sizes_of
from hybridlit.templates.stages import Component, StagedTraining, check_stages
from hybridlit.templates.tasks import FirstTargets, Task, TaskName, make_task
from hybridlit.templates.unbuilt import AutoInt, Buildable

__all__ = ["CLASS_KEY", "HybridModule"]

CLASS_KEY = "hybridlit_class"
"""Key of a checkpoint: the class of the model, with its module."""


class HybridModule(Buildable, Predicting, PlainHyperparameters):
    """Base class of the templates: everything about training except the network.

    A subclass builds its network in `__init__`, after `super().__init__()`, and defines `forward`
    from features to outputs of shape (batch, output_dim): logits for the classification tasks,
    values for regression. To change one thing, override one method: `loss`, `build_metrics`,
    `predictions`, `unpack` or `configure_optimizers`. Everything also works without a Trainer.

    All constructor arguments of a subclass are in `self.hparams` before its network is built, and
    in every checkpoint.

    Logged: `train/loss`, `val/loss`, `test/loss`, and the task's metrics under the same prefixes:
    `acc` (multiclass, binary), or `rmse` and `r2` (regression); all are means over the epoch.

    Args:
        output_dim: Number of outputs, at least 1: classes (multiclass), 1 (binary), or values.
            `"auto"`, as for an `input_dim`: what the data need, see `build`.
        task: `"multiclass"`, `"binary"` or `"regression"`.
        classical_lr: Learning rate of the classical parameters, above 0, below 1e30.
        quantum_lr: Learning rate of the photonic parameters, above 0, below 1e30.
        weight_decay: Decoupled weight decay of the classical parameters, at least 0.
        quantum_weight_decay: That of the photonic parameters; on phases it regularizes nothing.
        schedule: `"constant"`, `"cosine"` down to zero at the end of the run, or `"plateau"`: lower
            the learning rate whenever `val/loss` stops falling.
        warmup_epochs: Epochs of linear warm-up of the learning rates, at least 0, fractions
            allowed; it goes with every schedule.
        quantum_schedule: Schedule of the photonic parameters; None: as `schedule`.
        quantum_warmup_epochs: Warm-up of the photonic parameters; None: as `warmup_epochs`.
        plateau_patience: Number of validations without an improvement of `val/loss` after which
            the next one lowers the rates, at least 0. Groups on `"plateau"` watch the same loss
            and are lowered together; a group with another schedule is not.
        plateau_factor: Factor by which a plateau lowers the rates, in (0, 1).
        stages: Pairs of a component, `"classical"`, `"photonic"` or `"both"`, and its number of
            epochs, at least 1: what is trained in which part of the run, for instance
            `[["classical", 10], ["photonic", 5], ["both", 5]]`; see `StagedTraining`. The last
            stage goes on to the end of the run. None: both throughout.
    """

    def __init__(
        self,
        *,
        output_dim: AutoInt,
        task: TaskName = "multiclass",
        classical_lr: float = 3e-3,
        quantum_lr: float = 1e-2,
        weight_decay: float = 0.0,
        quantum_weight_decay: float = 0.0,
        schedule: ScheduleName = "constant",
        warmup_epochs: float = 0.0,
        quantum_schedule: ScheduleName | None = None,
        quantum_warmup_epochs: float | None = None,
        plateau_patience: int = 10,
        plateau_factor: float = 0.1,
        stages: list[tuple[Component, int]] | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_argument(type(self), unknown)
        super().__init__()
        self.keep_hyperparameters(inspect.currentframe())
        self._check_settings(self.hparams)
        if stages is not None:
            check_stages(stages)
        self.want_sizes(self.hparams)
        self._constructed_with = training_settings(self.hparams)
        self._first_targets: FirstTargets | None = None
        self.task: Task = make_task(task, integer(output_dim, "output_dim", 1))
        self.preprocessing: Preprocessing | None = None
        metrics = self.build_metrics()
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")

    # --- to override ------------------------------------------------------------------------------

    def unpack(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Split a batch of a data loader, a pair unless overridden, into inputs and targets.

        Weights of the rows may come behind them: see `weights`.
        """
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError(
                f"a batch must be a pair (inputs, targets), got {type(batch).__name__}; override "
                "unpack(batch) for other data"
            )
        return batch[0], batch[1]

    def weights(self, batch: Any) -> Tensor | None:
        """Return the weights of the rows of a batch, (batch,), its third entry; None: all equal."""
        return batch[2] if isinstance(batch, (tuple, list)) and len(batch) == 3 else None

    def prepare_targets(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Check targets against outputs and bring them into the form that `loss` takes.

        Args:
            outputs: What `forward` returned, of shape (batch, output_dim).
            targets: Multiclass: integer class indices of shape (batch,). Binary: 0 or 1 of shape
                (batch,) or (batch, 1), any real dtype. Regression: real values of shape
                (batch, output_dim), or (batch,) if output_dim is 1.

        Returns:
            Multiclass: int64 of shape (batch,). Otherwise floats of the shape of `outputs`, so that
            a loss never broadcasts (batch, 1) against (batch,).
        """
        return self.task.prepare(outputs, targets)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of outputs and prepared targets: mean cross entropy, or squared error.

        Args:
            outputs: What `forward` returned, of shape (batch, output_dim).
            targets: What `prepare_targets` returned.
            weights: Weights of the rows, (batch,), for a weighted mean; given only if a batch has
                some, so that `loss(outputs, targets)` is enough of an override.
        """
        return self.task.loss(outputs, targets, weights)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into predictions of the same shape, for `predict_step` and the metrics.

        Class probabilities (multiclass), the probability of class 1 (binary), or the values.
        """
        return self.task.predictions(outputs)

    def build_metrics(self) -> MetricCollection:
        """Return the metrics of (predictions, prepared targets), the main one first."""
        return MetricCollection(dict(self.task.metrics()))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build one AdamW with a group `"classical"` and a group `"photonic"`.

        A group without trainable parameters is left out. Unless all rates are constant, one
        scheduler with a schedule per group is stepped after every optimizer step. It is a
        `ValueError` if nothing is trainable, or if a cosine or warm-up has no known end.
        """
        given = self.hparams
        self._check_settings(given)  # which may have been changed
        optimizer = grouped_adamw(
            self,
            lr={"classical": given["classical_lr"], "photonic": given["quantum_lr"]},
            weight_decay={
                "classical": given["weight_decay"],
                "photonic": given["quantum_weight_decay"],
            },
        )
        schedules = schedules_by_group(given)
        if not any(schedule.changes for schedule in schedules.values()):
            return optimizer
        scheduler = schedule_groups(
            optimizer, schedules, self.trainer, given["plateau_patience"], given["plateau_factor"]
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that `schedule`, `stages` and a resume need in training."""
        callbacks: list[Callback] = []
        if self.trainer.state.fn != TrainerFn.FITTING:
            return callbacks  # Lightning would announce that they replace those of the fit
        own = type(self).configure_optimizers is HybridModule.configure_optimizers
        attached = [c for c in self.trainer.callbacks if isinstance(c, SettingsWatch)]  # type: ignore[attr-defined]
        for watch in attached:
            watch.of_template = own
        callbacks += [] if attached else [SettingsWatch(of_template=own)]
        if any(each.rule.on_plateau for each in schedules_by_group(self.hparams).values()):
            callbacks.append(PlateauWatch())
        if self.hparams["stages"] is not None:
            callbacks.append(StagedTraining(self.hparams["stages"]))
        return callbacks

    def check_features(self, x: Tensor) -> None:
        """Check dtype, shape (batch, input_dim) and, on the CPU, values of `forward`'s inputs."""
        tensor(x, "x")
        if not x.is_floating_point():
            raise TypeError(f"x must be a real floating tensor, got {x.dtype}; use x.float()")
        check_dtype(x, self, self.dtype)  # type: ignore[arg-type]
        if x.dim() != 2 or x.shape[1] != self.hparams["input_dim"]:
            raise ValueError(
                f"x must have shape (batch, input_dim={self.hparams['input_dim']}), got "
                f"{tuple(x.shape)}"
            )
        require_finite(x, "x")

    def loss_of(self, batch: Any, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch: of `loss`, with the weights of its rows if it has some."""
        weights = self.weights(batch)
        return self.loss(outputs, targets, *(() if weights is None else (weights,)))

    # --- Lightning --------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Take over what the data were prepared by, if they fit; fit the `NormalizationLayer`s."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if knows_sizes(data):
            check_fits(self, sizes_of(data))
        adopt_preprocessing(self, self.trainer)
        if self.trainer.current_epoch == 0:
            self._first_targets = FirstTargets(self.task)
        fit_normalizers(self, self.trainer, lambda batch: self(self.unpack(batch)[0]))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a training batch and log it."""
        loss = self._step(batch, "train", self.train_metrics)
        self.log("loss", loss, prog_bar=True, logger=False, on_step=True, on_epoch=False)
        # reading the loss stops an accelerator, so it is read only where logging reads it anyway
        interval = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if loss.device.type == "cpu" or (interval and batch_idx % interval == 0):
            self._check_finite(loss)
        return loss

    def on_validation_start(self) -> None:
        """Compare how the data were prepared with what the model was trained on."""
        compare_preprocessing(self, self.trainer)

    on_test_start = on_predict_start = on_validation_start

    def on_train_epoch_end(self) -> None:
        """Say after the first epoch which classes there are not, or which targets are far off."""
        seen, self._first_targets = self._first_targets, None
        advice = None if seen is None else seen.advice(self.trainer)
        if advice is not None:
            rank_zero_warn(advice)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and metrics of a validation batch."""
        self._step(batch, "val", self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and metrics of a test batch."""
        self._step(batch, "test", self.test_metrics)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return predictions for a batch: inputs alone, or a pair whose targets are ignored.

        Values of a regression are in their own units.
        """
        inputs = batch if isinstance(batch, Tensor) else self.unpack(batch)[0]
        predictions = self.predictions(self(inputs))
        return self.in_units(predictions).to(predictions.dtype)

    def in_units(self, values: Tensor) -> Tensor:
        """Bring predictions or prepared targets into the units of the data: see `Targets`.

        Only values of a regression whose targets a data module has scaled are changed.
        """
        if self.preprocessing is None or self.task.classifies:
            return values
        return self.preprocessing.targets.inverse(values)

    @property
    def hparams_initial(self) -> Any:
        """The hyperparameters for loggers; what was changed since construction as it is now."""
        return self._as_used(super().hparams_initial)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the class and its arguments; where they were changed since, as they are."""
        super().on_save_checkpoint(checkpoint)
        self._as_used(checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY])
        checkpoint[CLASS_KEY] = name_of(type(self))
        if self.preprocessing is not None:
            checkpoint[PREPROCESSING_KEY] = self.preprocessing.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over how rows were prepared, and settings that are no arguments of this class."""
        super().on_load_checkpoint(checkpoint)
        if PREPROCESSING_KEY in checkpoint:
            self.preprocessing = Preprocessing.from_state(checkpoint[PREPROCESSING_KEY])
        if attached_trainer(self) is None:
            arguments = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
            used = training_settings(checkpoint.get(SETTINGS_KEY, {}).get("model", {}))
            self.hparams.update({n: value for n, value in used.items() if n not in arguments})

    # --- inside -----------------------------------------------------------------------------------

    def _as_used(self, arguments: Any) -> Any:
        """Replace arguments by the settings of training that were changed after construction."""
        for name, value in training_settings(self.hparams).items():
            if name in arguments and value != self._constructed_with[name]:
                arguments[name] = value
        return arguments

    @staticmethod
    def _check_settings(given: Mapping[str, Any]) -> None:
        for name in ("classical_lr", "quantum_lr"):
            learning_rate(given[name], name)
        for name in ("weight_decay", "quantum_weight_decay"):
            number(given[name], name, minimum=0.0, below=LARGEST_RATE)
        check_schedules(given)

    def _step(self, batch: Any, stage: str, metrics: MetricCollection) -> Tensor:
        inputs, targets = self.unpack(batch)
        outputs = self._outputs(inputs)
        targets = self.prepare_targets(outputs, targets)
        if stage == "train" and self._first_targets is not None:
            self._first_targets.add(targets)
        loss = self.loss_of(batch, outputs, targets)
        predictions = self.predictions(outputs.detach())
        metrics.update(self.in_units(predictions), self.in_units(targets))
        shown = stage != "train"
        rows, weights = len(outputs), self.weights(batch)
        share: Any = rows  # what a batch counts for in the mean of an epoch
        if weights is not None:
            share = max(float(weights.sum()), torch.finfo(torch.float32).tiny)
        self.log(
            f"{stage}/loss",
            loss,
            prog_bar=shown,
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=share,
        )
        for position, (name, metric) in enumerate(metrics.items(copy_state=False)):
            main = shown and position == 0
            self.log(name, metric, prog_bar=main, on_step=False, on_epoch=True, batch_size=rows)
        return loss

    def _outputs(self, inputs: Any) -> Tensor:
        try:
            outputs: Tensor = self(inputs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "a training batch of one row has come to a BatchNorm1d, and one row has no "
                "variance: give drop_last=True to the data module or DataLoader, choose another "
                "batch_size, or use hybridlit.RowSafeBatchNorm1d"
            ) from error
        return outputs

    def _check_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"the training loss is {loss.item()} at step {self.global_step}: lower "
                f"classical_lr={self.hparams['classical_lr']} or "
                f"quantum_lr={self.hparams['quantum_lr']}, clip gradients with "
                "Trainer(gradient_clip_val=1.0), or look for bad rows in the data"
            )
