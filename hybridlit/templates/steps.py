"""Training, validation, test and prediction steps of every template, and what they log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MetricCollection

from hybridlit.data.preprocessing import Preprocessing
from hybridlit.internals.lightning import attached_trainer
from hybridlit.ranks import summed
from hybridlit.templates.class_weights import BALANCED, counted_weights
from hybridlit.templates.constant_answers import SayingConstant
from hybridlit.templates.epoch_logging import EpochLogging
from hybridlit.templates.metrics import make_metrics
from hybridlit.templates.predictions.calibration import Calibration
from hybridlit.templates.tasks import FirstTargets, Task

__all__ = ["Steps"]


class Steps(SayingConstant, EpochLogging):
    """What is done with a batch: the part of `HybridModule` that a task decides on.

    Attributes:
        task: The task.
        preprocessing: How raw rows are prepared, once data or a checkpoint have told.
        calibration: What `calibrate` has found of this model, or None.
        class_weights: What classes weigh in the loss, once given or counted; None: all the same.
    """

    task: Task
    preprocessing: Preprocessing | None
    calibration: Calibration | None
    class_weights: list[float] | None
    more_metrics: nn.ModuleDict
    _first_targets: FirstTargets | None
    _weights_in_use: Tensor | None
    _told_uncounted = False

    def begin_steps(self, task: Task) -> None:
        """Take the task and its class weights, and make a collection of metrics for each stage."""
        self.task = task
        self._first_targets = None
        self.preprocessing = None
        self.calibration = None
        given = self.hparams["class_weights"]
        if given is not None and given != BALANCED:
            task.weights_by_class(given)
        self.weigh_classes(None if given == BALANCED else given)
        self.begin_logging()
        metrics = self.build_metrics()
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.more_metrics = nn.ModuleDict()  # of further validation and test loaders

    def weigh_classes(self, weights: Sequence[float] | None) -> None:
        """Let targets weigh by their class in the loss: see `class_weights` of `HybridModule`."""
        self.class_weights = None if weights is None else [float(weight) for weight in weights]
        self._weights_in_use = None

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
                (batch,) or (batch, 1), any real dtype. Multilabel: the same of shape (batch,
                output_dim). Regression: real values of shape (batch, output_dim), or (batch,) if
                output_dim is 1.

        Returns:
            Multiclass: int64 of shape (batch,). Otherwise floats of the shape of `outputs`, so that
            a loss never broadcasts (batch, 1) against (batch,).
        """
        return self.task.prepare(outputs, targets)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of outputs and prepared targets: mean cross entropy, or squared error.

        With weights of classes or rows it is sum(w * l) / sum(w), where l is the loss of a target
        and w the weight of its class times that of its row.

        Args:
            outputs: What `forward` returned, of shape (batch, output_dim).
            targets: What `prepare_targets` returned.
            weights: Weights of the rows, (batch,), for a weighted mean; given only if a batch has
                some, so that `loss(outputs, targets)` is enough of an override.
        """
        return self.task.loss(outputs, targets, weights, self._weights_by_class(outputs))

    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into predictions of the same shape, for `predict_step` and the metrics.

        Class probabilities (multiclass), probabilities of 1 (binary, multilabel), or the values.
        """
        return self.task.predictions(outputs)

    def build_metrics(self) -> MetricCollection:
        """Return the metrics of (predictions, prepared targets), the main one first."""
        return make_metrics(self.task, self.hparams["metrics"])

    def loss_of(self, batch: Any, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch: of `loss`, with the weights of its rows if it has some."""
        weights = self.weights(batch)
        return self.loss(outputs, targets, *(() if weights is None else (weights,)))

    def total_weight(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor | int:
        """Return what a batch counts for in a mean over batches: rows, or the sum of weights.

        Args:
            outputs: What `forward` returned, of shape (batch, output_dim).
            targets: What `prepare_targets` returned.
            weights: Weights of the rows, (batch,), or None.
        """
        of_classes = self._weights_by_class(outputs)
        if weights is None and of_classes is None:
            return len(outputs)
        return self.task.total_weight(targets, weights, of_classes)

    # --- Lightning --------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a training batch and log it."""
        loss = self._step(batch, "train", self.train_metrics)["loss"]
        interval = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        due = bool(interval) and batch_idx % interval == 0
        if due:
            self.log("loss", loss, prog_bar=True, logger=False, on_step=True, on_epoch=False)
        # reading the loss stops an accelerator, so it is read only where logging reads it anyway
        if due or loss.device.type == "cpu":
            self._check_finite(loss)
        return loss

    def on_train_start(self) -> None:
        """Count the training rows of each class for `class_weights="balanced"`.

        A run that goes on keeps what the checkpoint holds.
        """
        known = self.class_weights is not None and self.global_step > 0
        if self.hparams["class_weights"] == BALANCED and not known:
            self.weigh_classes(counted_weights(self, self.trainer.train_dataloader))

    def on_train_epoch_end(self) -> None:
        """Say after the first epoch which classes there are not, or which targets are far off."""
        if self.trainer.world_size > 1:
            # the progress bar of the first process has put together, before this, what was logged:
            # the others must do so too, before any other sum or checkpoint
            _ = self.trainer.callback_metrics
        seen, self._first_targets = self._first_targets, None
        advice = None if seen is None else seen.advice(self.trainer)
        if advice is not None:
            rank_zero_warn(advice)

    def validation_step(
        self, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Log loss and metrics of a validation batch; of further loaders under names of their own.

        That of the first loader is `val/loss`; the others add their name in a dictionary of
        loaders, `val/loss/<name>`, or their number in a list, `val/loss/dataloader_idx_1`.

        Returns:
            For callbacks: `loss`, and what the metrics are given, `predictions` and `targets`.
        """
        return self._step(batch, "val", self.val_metrics, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Log loss and metrics of a test batch, and return what `validation_step` does."""
        return self._step(batch, "test", self.test_metrics, dataloader_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return predictions for a batch: inputs alone, or a pair whose targets are ignored.

        Probabilities are at the temperature of `calibration`, values in their own units.
        """
        inputs = batch if isinstance(batch, Tensor) else self.unpack(batch)[0]
        outputs = self(inputs)
        predictions = self.calibrated(outputs)
        if self.task.classifies:
            return predictions
        return predictions.to(torch.promote_types(outputs.dtype, torch.float32))

    def calibrated(self, outputs: Tensor) -> Tensor:
        """Turn outputs into predictions as `predict` gives them, of the same shape.

        Probabilities are at the temperature of `calibration`, if there is one; values are in their
        own units.
        """
        if self.calibration is not None:
            outputs = self.calibration.tempered(outputs)
        return self.in_units(self.predictions(outputs))

    def in_units(self, values: Tensor) -> Tensor:
        """Bring predictions or prepared targets into the units of the data: see `Targets`.

        Only values of a regression whose targets a data module has scaled are changed.
        """
        if self.preprocessing is None or self.task.classifies:
            return values
        return self.preprocessing.targets.inverse(values)

    # --- inside -----------------------------------------------------------------------------------

    def _weights_by_class(self, outputs: Tensor) -> Tensor | None:
        """Return the weights of classes as the task takes them, where the outputs are."""
        if self.class_weights is None:
            if self.hparams["class_weights"] == BALANCED and not self._told_uncounted:
                trainer = attached_trainer(self)
                self._told_uncounted = trainer is None or not trainer.sanity_checking
                if self._told_uncounted:
                    rank_zero_warn(
                        f"class_weights={BALANCED!r} are counted when Trainer.fit begins to train; "
                        "until then all classes weigh the same: give them as numbers"
                    )
            return None
        dtype = torch.promote_types(outputs.dtype, torch.float32)
        own = self._weights_in_use
        if own is None or own.device != outputs.device or own.dtype != dtype:
            with torch.inference_mode(False):  # training goes on with what a validation has made
                own = self.task.weights_by_class(self.class_weights).to(dtype).to(outputs.device)
            self._weights_in_use = own
        return own

    def _of_loader(
        self, stage: str, metrics: MetricCollection, index: int
    ) -> tuple[MetricCollection, str]:
        """Return the metrics of a validation or test loader, and what its keys end in."""
        if index == 0:
            return metrics, ""
        key = f"{stage}_{index}"
        if key not in self.more_metrics:
            fresh = metrics.clone()
            fresh.reset()
            self.more_metrics[key] = fresh
        of_loader = self.more_metrics[key]
        assert isinstance(of_loader, MetricCollection)
        loaders = getattr(self.trainer, f"{stage}_dataloaders")
        names = list(loaders) if isinstance(loaders, Mapping) else []
        name = names[index] if index < len(names) else f"dataloader_idx_{index}"
        return of_loader, f"/{name}"

    def _step(
        self, batch: Any, stage: str, metrics: MetricCollection, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        metrics, end = self._of_loader(stage, metrics, dataloader_idx)
        inputs, targets = self.unpack(batch)
        outputs = self._outputs(inputs)
        targets = self.prepare_targets(outputs, targets)
        if stage == "train" and self._first_targets is not None:
            self._first_targets.add(targets)
        if stage != "train" and self._answers is not None:
            self._answers.add(outputs.detach())
        loss = self.loss_of(batch, outputs, targets)
        predictions = self.calibrated(outputs.detach())
        targets = self.in_units(targets)
        metrics.update(predictions, targets)
        shown = stage != "train" and not end
        share: Any = self.total_weight(outputs, targets, self.weights(batch))
        of_loader = f"{stage}_{dataloader_idx}"
        self.log_mean(of_loader, loss, share, prog_bar=shown, logged_as=f"{stage}/loss{end}")
        # Lightning looks among those that it has found before
        attribute = f"more_metrics.{of_loader}" if end else None
        for position, (name, metric) in enumerate(metrics.items(copy_state=False)):
            main = shown and position == 0
            self.log_metric(f"{name}{end}", metric, prog_bar=main, attribute=attribute)
        if stage == "train" and self.trainer.world_size > 1:
            loss = self._of_all_rows(loss, share)
        return {"loss": loss, "predictions": predictions, "targets": targets}

    def _of_all_rows(self, loss: Tensor, share: Any) -> Tensor:
        """Scale a loss so that its mean over processes is that of the rows of all of them."""
        own = torch.as_tensor(share, device=loss.device).to(loss.dtype)
        return loss * (own * self.trainer.world_size / summed(own))

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
        value = loss.item()
        if not math.isfinite(value):
            raise RuntimeError(
                f"the training loss is {value} at step {self.global_step}: lower "
                f"classical_lr={self.hparams['classical_lr']} or "
                f"quantum_lr={self.hparams['quantum_lr']}, clip gradients with "
                "Trainer(gradient_clip_val=1.0), or look for bad rows in the data"
            )
