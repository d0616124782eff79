"""What a model is trained for: one class, and one row of `TASKS`, is all that depends on a task.

Its name in messages, how targets are checked, the loss, predictions and metrics, what is said of
targets that do not fit, and what analyses ask: how a row is scored, and the best constant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy
from torchmetrics.regression import MeanSquaredError, R2Score

from hybridlit.checks import choice

__all__ = [
    "TASKS",
    "Binary",
    "FirstTargets",
    "Multiclass",
    "Regression",
    "Task",
    "TaskName",
    "make_task",
]

_FAR = (0.01, 10.0)
"""Typical sizes of regression targets that a model with outputs around 1 can reach."""


class Task(ABC):
    """A task; outputs have shape (batch, output_dim).

    Args:
        output_dim: Number of outputs.

    Attributes:
        name: What `task` is called.
        classifies: Whether targets are classes.
        score: What `row_scores` is the mean of: one of the metrics.
    """

    name: ClassVar[str]
    classifies: ClassVar[bool]
    score: ClassVar[str]

    def __init__(self, output_dim: int) -> None:
        self.output_dim = output_dim

    def prepare(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Check targets against outputs and bring them into the form that the loss takes."""
        if outputs.dim() != 2 or outputs.shape[1] != self.output_dim:
            raise ValueError(
                f"the model must return outputs of shape (batch, output_dim={self.output_dim}), "
                f"got {tuple(outputs.shape)}"
            )
        return self.prepared(outputs, targets)

    @abstractmethod
    def prepared(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Do what `prepare` does, with outputs of the right shape."""

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss of prepared targets, weighted if weights (rows,) are given."""
        if weights is None:
            return self.losses(outputs, targets, "mean")
        rows = self.losses(outputs, targets, "none").reshape(len(targets), -1).mean(1)
        weights = weights.to(rows.dtype)
        # a batch whose weights are all 0 has no say
        return (rows * weights).sum() / weights.sum().clamp_min(torch.finfo(rows.dtype).tiny)

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
        """Return the loss of each target, or its mean: `reduction` as torch's functions take it."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into probabilities or values of the same shape."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Return fresh metrics of (predictions, prepared targets), the main one first."""

    @abstractmethod
    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Score each row by its prediction and prepared target, more is better; shape (rows,)."""

    @abstractmethod
    def constant(self, targets: Tensor) -> Tensor:
        """Return the outputs, shape (output_dim,), that suit all prepared targets best."""

    def summed(self, targets: Tensor) -> Tensor | None:
        """Return sums over prepared targets that `advice` reads; None if it has nothing to say."""
        return None

    def advice(self, sums: list[float]) -> str | None:
        """Say what does not fit the task, by the sums over an epoch's targets."""
        return None


class Multiclass(Task):
    """One of at least two classes: logits in, cross entropy, share of correct classes as `acc`.

    Args:
        output_dim: Number of classes, at least 2.
    """

    name, classifies, score = "multiclass", True, "acc"

    def __init__(self, output_dim: int) -> None:
        if output_dim < 2:
            raise ValueError(
                f"output_dim must be the number of classes, at least 2, for task={self.name!r}, "
                f"got {output_dim}; for two classes in one output use task='binary'"
            )
        super().__init__(output_dim)

    def prepared(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return class indices of shape (batch,) in int64."""
        if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
            raise TypeError(
                f"targets must be integer class indices for task={self.name!r}, got "
                f"{targets.dtype}; convert them with targets.long(), or use task='regression'"
            )
        if targets.shape != outputs.shape[:1]:
            raise ValueError(
                f"targets must have shape (batch,) = ({outputs.shape[0]},) for task={self.name!r}, "
                f"got {tuple(targets.shape)}; class indices, not one-hot rows"
            )
        # elsewhere the check would stop the device once a step
        if targets.device.type == "cpu" and targets.numel():
            low, high = targets.min().item(), targets.max().item()
            if low < 0 or high >= self.output_dim:
                raise ValueError(
                    f"targets must be class indices 0 to {self.output_dim - 1} "
                    f"(output_dim={self.output_dim}), got values {low} to {high}"
                )
        return targets.long()

    def losses(self, outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
        return functional.cross_entropy(_at_least_float32(outputs), targets, reduction=reduction)

    def predictions(self, outputs: Tensor) -> Tensor:
        return _at_least_float32(outputs).softmax(-1)

    def metrics(self) -> dict[str, Metric]:
        accuracy = MulticlassAccuracy(self.output_dim, average="micro", validate_args=False)
        return {"acc": accuracy}

    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions.argmax(-1) == targets).double()

    def constant(self, targets: Tensor) -> Tensor:
        """Return the frequencies of classes as logits; one more of each, so none is infinite."""
        counts = torch.bincount(targets.flatten(), minlength=self.output_dim)
        return (counts.double() + 1).log()

    def summed(self, targets: Tensor) -> Tensor | None:
        """Count the classes, unless a subclass of the user's has prepared other targets."""
        if targets.is_floating_point():
            return None
        classes = torch.arange(self.output_dim, device=targets.device)
        return (targets[:, None] == classes).sum(0)  # bincount would stop an accelerator

    def advice(self, sums: list[float]) -> str | None:
        missing = [str(index) for index, count in enumerate(sums) if not count]
        if not missing:
            return None
        number = self.output_dim - len(missing)
        return (
            f"output_dim={self.output_dim}, and no training target of this epoch is of class "
            f"{', '.join(missing)}: give output_dim={number} if there are only {number} classes, "
            "numbered from 0, or more data of these classes"
        )


class Binary(Task):
    """Yes or no: one logit, binary cross entropy, share correct at threshold 0.5 as `acc`.

    Args:
        output_dim: Must be 1.
    """

    name, classifies, score = "binary", True, "acc"

    def __init__(self, output_dim: int) -> None:
        if output_dim != 1:
            raise ValueError(
                f"output_dim must be 1 for task={self.name!r}, got {output_dim}; for two outputs "
                "use task='multiclass'"
            )
        super().__init__(output_dim)

    def prepared(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return labels of shape (batch, 1) as floats."""
        if targets.is_complex():
            raise TypeError(f"targets must be 0 or 1 for task={self.name!r}, got {targets.dtype}")
        batch = outputs.shape[0]
        if tuple(targets.shape) not in [(batch,), (batch, 1)]:
            raise ValueError(
                f"targets must have shape (batch,) = ({batch},) or ({batch}, 1) for "
                f"task={self.name!r}, got {tuple(targets.shape)}"
            )
        if targets.device.type == "cpu" and not ((targets == 0) | (targets == 1)).all():
            raise ValueError(
                f"targets must be 0 or 1 for task={self.name!r}, got values "
                f"{targets.min().item()} to {targets.max().item()}"
            )
        return targets.reshape(-1, 1).to(_at_least_float32(outputs).dtype)

    def losses(self, outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
        logits = _at_least_float32(outputs)
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction=reduction)

    def predictions(self, outputs: Tensor) -> Tensor:
        return _at_least_float32(outputs).sigmoid()

    def metrics(self) -> dict[str, Metric]:
        return {"acc": BinaryAccuracy(validate_args=False)}

    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return ((predictions > 0.5) == (targets > 0.5)).double().squeeze(-1)

    def constant(self, targets: Tensor) -> Tensor:
        """Return the frequency of label 1 as a logit; one more of each, so it is not infinite."""
        ones = targets.double().sum(0)
        return ((ones + 1) / (len(targets) - ones + 1)).log()


class Regression(Task):
    """Real values: mean squared error; root mean squared error and coefficient of determination.

    Args:
        output_dim: Number of values, at least 1.
    """

    name, classifies, score = "regression", False, "r2"

    def prepared(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return values of shape (batch, output_dim) in the dtype of the loss."""
        if targets.is_complex() or targets.dtype == torch.bool:
            raise TypeError(f"targets must be real for task={self.name!r}, got {targets.dtype}")
        batch = outputs.shape[0]
        allowed = [(batch, self.output_dim)] + [(batch,)] * (self.output_dim == 1)
        if tuple(targets.shape) not in allowed:
            raise ValueError(
                f"targets must have shape {' or '.join(map(str, allowed))} for task={self.name!r} "
                f"with output_dim={self.output_dim}, got {tuple(targets.shape)}"
            )
        return targets.reshape(outputs.shape).to(_at_least_float32(outputs).dtype)

    def losses(self, outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
        return functional.mse_loss(_at_least_float32(outputs), targets, reduction=reduction)

    def predictions(self, outputs: Tensor) -> Tensor:
        return _at_least_float32(outputs)

    def metrics(self) -> dict[str, Metric]:
        """Return the error over all values as `rmse` and the mean over outputs as `r2`."""
        return {"rmse": _RootMeanSquare(squared=False), "r2": _Determination()}

    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        values = targets.double()
        variance = (values - values.mean(0)).square().mean(0)
        if not bool((variance > 0).all()):
            raise ValueError("R2 needs test targets that vary, got an output with one value only")
        return (1 - (predictions.double() - values).square() / variance).mean(-1)

    def constant(self, targets: Tensor) -> Tensor:
        return targets.double().mean(0)

    def summed(self, targets: Tensor) -> Tensor | None:
        """Sum what the typical size follows from, and count the zeros and ones."""
        if not targets.is_floating_point():
            return None
        values = targets.detach().to(torch.promote_types(targets.dtype, torch.float32))
        in_01 = ((values == 0) | (values == 1)).sum()
        count = torch.as_tensor(values.numel(), device=values.device)
        parts = [count, in_01, values.sum(), values.square().sum()]
        return torch.stack([part.to(torch.float32) for part in parts])

    def advice(self, sums: list[float]) -> str | None:
        count, in_01, total, squares = sums
        if count == in_01:
            return (
                f"task={self.name!r}, and all training targets of this epoch are 0 or 1: give "
                "task='binary' and output_dim=1 if they say yes or no"
            )
        mean, size = total / count, (squares / count) ** 0.5
        if _FAR[0] <= size <= _FAR[1] or size == 0:
            return None
        deviation = max(size**2 - mean**2, 0.0) ** 0.5
        return (
            f"the training targets have mean {mean:.3g} and standard deviation {deviation:.3g}, "
            "far from the outputs around 1 that a model begins with, so that it takes very long or "
            "never gets there: scale them, such as by target_scaling='standard' of a data module; "
            "metrics and predictions stay in their own units"
        )


TASKS: dict[str, type[Task]] = {task.name: task for task in (Multiclass, Binary, Regression)}
"""Tasks by name."""

if TYPE_CHECKING:
    TaskName: TypeAlias = str
else:
    TaskName = Literal[tuple(TASKS)]


def make_task(task: str, output_dim: int) -> Task:
    """Return the task of a name of `TASKS`, for a number of outputs that fits it."""
    choice(task, "task", TASKS)
    return TASKS[task](output_dim)


class FirstTargets:
    """Gathers the training targets of one epoch; nothing of it is read before the epoch is over."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.batches = 0
        self._sums: Tensor | None = None

    def add(self, targets: Tensor) -> None:
        """Add a batch of prepared targets."""
        sums = self.task.summed(targets)
        if sums is not None:
            self.batches += 1
            self._sums = sums + (0 if self._sums is None else self._sums)

    def advice(self, trainer: Trainer) -> str | None:
        """Say what does not fit the task; None if all does, or the epoch was not a whole one."""
        limit = trainer.limit_train_batches  # set by overfit_batches as well; 1 is one batch
        whole = isinstance(limit, float) and limit == 1.0
        if self._sums is None or not whole or self.batches != trainer.num_training_batches:
            return None
        return self.task.advice(trainer.strategy.reduce(self._sums, reduce_op="sum").tolist())


def _widen(metric: Metric, dtype: torch.dtype) -> None:
    """Let a metric add up in at least the precision of its values, in new tensors.

    Sums in half precision are wrong, and so are float32's of values far off 0. What
    `Trainer.validate` leaves are tensors of inference mode, which a fit cannot add to.
    """
    for name, state in metric.metric_state.items():
        assert isinstance(state, Tensor)
        wide = torch.promote_types(state.dtype, dtype) if state.is_floating_point() else None
        setattr(metric, name, state.to(wide, copy=True))


class _RootMeanSquare(MeanSquaredError):
    def update(self, preds: Tensor, target: Tensor) -> None:
        _widen(self, preds.dtype)
        super().update(preds, target)


class _Determination(R2Score):
    """`R2Score` that is NaN, not an error, for a single row: too few to know the variance."""

    _told = False

    def update(self, preds: Tensor, target: Tensor) -> None:
        _widen(self, preds.dtype)
        super().update(preds, target)

    def compute(self) -> Tensor:
        if self.total < 2:
            if not self._told:
                self._told = True
                rank_zero_warn(
                    "r2 is NaN, since one row has no variance: give at least two validation or "
                    "test rows, and monitor loss or rmse until then"
                )
            return torch.full((), torch.nan, device=self.total.device)
        around_mean = self.sum_squared_error - self.sum_error.square() / self.total
        # not below some number, as in torchmetrics: that depends on the unit of the targets
        constant = around_mean <= 8 * torch.finfo(around_mean.dtype).eps * self.sum_squared_error
        shares = 1 - self.residual / around_mean.masked_fill(constant, 1.0)
        return shares.where(~constant, (self.residual == 0).to(shares.dtype)).mean()


def _at_least_float32(outputs: Tensor) -> Tensor:
    """Losses and probabilities in half precision would lose most of their digits."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
