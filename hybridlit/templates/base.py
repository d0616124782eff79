"""The LightningModule behind every template: task, metrics, optimizer groups and schedules."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MetricCollection

from hybridlit.components import split_parameters
from hybridlit.photonics.validation import choice, integer, number
from hybridlit.templates.hyperparameters import constructor_calls, plain
from hybridlit.templates.normalizers import fit_normalizers
from hybridlit.templates.schedule import SCHEDULES, schedule_groups
from hybridlit.templates.tasks import Task, make_task

__all__ = ["HybridModule"]


class HybridModule(LightningModule):
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
        task: `"multiclass"`, `"binary"` or `"regression"`.
        classical_lr: Learning rate of the classical parameters, above 0.
        quantum_lr: Learning rate of the photonic parameters, above 0.
        weight_decay: Decoupled weight decay of the classical parameters, at least 0. Photonic
            parameters have none: shrinking an angle towards 0 regularizes nothing.
        schedule: `"constant"`, or `"cosine"` down to zero at the end of the run.
        warmup_epochs: Epochs of linear warm-up of the learning rates, at least 0, fractions
            allowed.
        quantum_schedule: Schedule of the photonic parameters; None: as `schedule`.
        quantum_warmup_epochs: Warm-up of the photonic parameters; None: as `warmup_epochs`.

    Raises:
        TypeError: If a number is not a number.
        ValueError: If an argument is out of range or unknown.
    """

    def __init__(
        self,
        *,
        output_dim: int,
        task: Literal["multiclass", "binary", "regression"] = "multiclass",
        classical_lr: float = 3e-3,
        quantum_lr: float = 1e-2,
        weight_decay: float = 0.0,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup_epochs: float = 0.0,
        quantum_schedule: Literal["constant", "cosine"] | None = None,
        quantum_warmup_epochs: float | None = None,
    ) -> None:
        super().__init__()
        self._keep_hyperparameters(constructor_calls(self, inspect.currentframe()))
        number(classical_lr, "classical_lr", above=0.0)
        number(quantum_lr, "quantum_lr", above=0.0)
        number(weight_decay, "weight_decay", minimum=0.0)
        choice(schedule, "schedule", SCHEDULES)
        number(warmup_epochs, "warmup_epochs", minimum=0.0)
        if quantum_schedule is not None:
            choice(quantum_schedule, "quantum_schedule", SCHEDULES)
        if quantum_warmup_epochs is not None:
            number(quantum_warmup_epochs, "quantum_warmup_epochs", minimum=0.0)
        self.task: Task = make_task(task, integer(output_dim, "output_dim", 1))
        metrics = self.build_metrics()
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")

    # --- to override ------------------------------------------------------------------------------

    def unpack(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Split a batch of the training, validation or test data into inputs and targets.

        Args:
            batch: What the data loader yields; a pair unless overridden.

        Returns:
            Inputs of `forward`, and targets.
        """
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise TypeError(
                f"a batch must be a pair (inputs, targets), got {type(batch).__name__}; override "
                "unpack(batch) for other data"
            )
        return batch[0], batch[1]

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

        Raises:
            TypeError: If the dtype does not suit the task.
            ValueError: If the shape or, on the CPU, a value does not suit the task.
        """
        return self.task.prepare(outputs, targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss to minimize.

        Args:
            outputs: What `forward` returned, of shape (batch, output_dim).
            targets: The targets as `prepare_targets` returns them.

        Returns:
            A scalar: the mean cross entropy, or the mean squared error for regression.
        """
        return self.task.loss(outputs, self.task.prepare(outputs, targets))

    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into predictions, for `predict_step` and the metrics.

        Args:
            outputs: What `forward` returned, of shape (batch, output_dim).

        Returns:
            Class probabilities (multiclass), the probability of class 1 (binary), or the values,
            of the same shape.
        """
        return self.task.predictions(outputs)

    def build_metrics(self) -> MetricCollection:
        """Return the metrics of (predictions, prepared targets), the main one first.

        Returns:
            A collection; it is cloned for training, validation and test.
        """
        return MetricCollection(dict(self.task.metrics()))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build one AdamW with a group `"classical"` and a group `"photonic"`.

        A group without trainable parameters is left out. With warm-up or a cosine, one `LambdaLR`
        with a schedule per group is stepped after every optimizer step.

        Returns:
            What Lightning accepts from `configure_optimizers`.

        Raises:
            ValueError: If nothing is trainable, or if a cosine has no known end.
        """
        rates = {"classical": self.hparams["classical_lr"], "photonic": self.hparams["quantum_lr"]}
        groups = []
        for name, parameters in split_parameters(self).items():
            trainable = [p for p in parameters.values() if p.requires_grad]
            if trainable:
                decay = self.hparams["weight_decay"] if name == "classical" else 0.0
                groups.append(
                    {
                        "params": trainable,
                        "name": name,
                        "lr": rates[name],
                        "weight_decay": decay,
                        "eps": _epsilon(trainable),
                    }
                )
        if not groups:
            raise ValueError("the model has no trainable parameters: unfreeze some before fit")
        optimizer = torch.optim.AdamW(groups)
        plans = self._schedules()
        if all(plan == ("constant", 0) for plan in plans.values()):
            return optimizer
        scheduler = schedule_groups(optimizer, plans, self.trainer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def check_features(self, x: Tensor) -> None:
        """Check the inputs of `forward` against `self.hparams.input_dim`.

        Args:
            x: Features of shape (batch, input_dim).

        Raises:
            TypeError: If `x` is no floating tensor, or float64 in a float32 model.
            ValueError: If the shape of `x` is wrong.
        """
        if not x.is_floating_point():
            raise TypeError(f"x must be a real floating tensor, got {x.dtype}; use x.float()")
        if x.dtype == torch.float64 and self.dtype != torch.float64:
            raise TypeError(
                f"x is float64 and the model is {self.dtype}; use x.float(), or compute in float64 "
                "with model.double() or Trainer(precision='64-true')"
            )
        if x.dim() != 2 or x.shape[1] != self.hparams["input_dim"]:
            raise ValueError(
                f"x must have shape (batch, input_dim={self.hparams['input_dim']}), got "
                f"{tuple(x.shape)}"
            )

    # --- Lightning --------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Fit the `NormalizationLayer`s that have seen no training data yet."""
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

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and metrics of a validation batch."""
        self._step(batch, "val", self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and metrics of a test batch."""
        self._step(batch, "test", self.test_metrics)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return predictions for a batch: inputs alone, or a pair whose targets are ignored."""
        inputs = batch if isinstance(batch, Tensor) else self.unpack(batch)[0]
        return self.predictions(self(inputs))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the hyperparameters that the constructor of this class takes."""
        kept = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {
            name: value
            for name, value in kept.items()
            if name in self._own_arguments or name.startswith("_")
        }

    # --- inside -----------------------------------------------------------------------------------

    def _keep_hyperparameters(self, calls: list[dict[str, Any]]) -> None:
        self.save_hyperparameters()
        merged = {name: plain(value) for call in calls for name, value in call.items()}
        self._own_arguments = frozenset(calls[-1])
        for name in [n for n in self.hparams if n not in merged and not n.startswith("_")]:
            del self.hparams[name]
        self.hparams.update(merged)

    def _step(self, batch: Any, stage: str, metrics: MetricCollection) -> Tensor:
        inputs, targets = self.unpack(batch)
        outputs = self(inputs)
        targets = self.prepare_targets(outputs, targets)
        loss = self.loss(outputs, targets)
        metrics.update(self.predictions(outputs.detach()), targets)
        shown = stage != "train"
        rows = len(outputs)
        self.log(
            f"{stage}/loss",
            loss,
            prog_bar=shown,
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=rows,
        )
        for position, (name, metric) in enumerate(metrics.items(copy_state=False)):
            main = shown and position == 0
            self.log(name, metric, prog_bar=main, on_step=False, on_epoch=True, batch_size=rows)
        return loss

    def _schedules(self) -> dict[str, tuple[str, float]]:
        """Return schedule and epochs of warm-up by name of the optimizer group."""
        names = ("schedule", "warmup_epochs")
        shared = [self.hparams[name] for name in names]
        own = [self.hparams[f"quantum_{name}"] for name in names]
        chosen = [a if b is None else b for a, b in zip(shared, own, strict=True)]
        return {"classical": (shared[0], shared[1]), "photonic": (chosen[0], chosen[1])}

    def _check_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"the training loss is {loss.item()} at step {self.global_step}: lower "
                f"classical_lr={self.hparams['classical_lr']} or "
                f"quantum_lr={self.hparams['quantum_lr']}, clip gradients with "
                "Trainer(gradient_clip_val=1.0), or look for bad rows in the data"
            )


def _epsilon(parameters: list[nn.Parameter]) -> float:
    """Adam's epsilon: its usual 1e-8 is 0 in float16, and 0 / 0 ends the run at the first step."""
    return 1e-4 if any(p.dtype == torch.float16 for p in parameters) else 1e-8
