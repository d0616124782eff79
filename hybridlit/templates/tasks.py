"""What a model is trained for: how targets are checked, the loss, predictions and metrics."""

from __future__ import annotations

from typing import Protocol

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy
from torchmetrics.regression import MeanSquaredError, R2Score

from hybridlit.checks import choice

__all__ = ["TASKS", "Binary", "Multiclass", "Regression", "Task", "make_task"]


class Task(Protocol):
    """What the templates ask of a task; outputs have shape (batch, output_dim)."""

    def prepare(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Check targets against outputs and bring them into the form that the loss takes."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of prepared targets, a scalar."""
        ...

    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into probabilities or values of the same shape."""
        ...

    def metrics(self) -> dict[str, Metric]:
        """Return fresh metrics of (predictions, prepared targets), the main one first."""
        ...


class Multiclass:
    """One of at least two classes: logits in, cross entropy, accuracy.

    Args:
        output_dim: Number of classes, at least 2.
    """

    def __init__(self, output_dim: int) -> None:
        if output_dim < 2:
            raise ValueError(
                f"output_dim must be the number of classes, at least 2, for task='multiclass', got "
                f"{output_dim}; for two classes in one output use task='binary'"
            )
        self.output_dim = output_dim

    def prepare(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return class indices of shape (batch,) in int64."""
        _check_outputs(outputs, self.output_dim)
        if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
            raise TypeError(
                "targets must be integer class indices for task='multiclass', got "
                f"{targets.dtype}; convert them with targets.long(), or use task='regression'"
            )
        if targets.shape != outputs.shape[:1]:
            raise ValueError(
                f"targets must have shape (batch,) = ({outputs.shape[0]},) for task='multiclass', "
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

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy."""
        return functional.cross_entropy(_at_least_float32(outputs), targets)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return class probabilities."""
        return _at_least_float32(outputs).softmax(-1)

    def metrics(self) -> dict[str, Metric]:
        """Return the share of correct classes as `acc`."""
        accuracy = MulticlassAccuracy(self.output_dim, average="micro", validate_args=False)
        return {"acc": accuracy}


class Binary:
    """Yes or no: one logit, binary cross entropy, accuracy.

    Args:
        output_dim: Must be 1.
    """

    def __init__(self, output_dim: int) -> None:
        if output_dim != 1:
            raise ValueError(
                f"output_dim must be 1 for task='binary', got {output_dim}; for two outputs use "
                "task='multiclass'"
            )

    def prepare(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return labels of shape (batch, 1) as floats."""
        _check_outputs(outputs, 1)
        if targets.is_complex():
            raise TypeError(f"targets must be 0 or 1 for task='binary', got {targets.dtype}")
        batch = outputs.shape[0]
        if tuple(targets.shape) not in [(batch,), (batch, 1)]:
            raise ValueError(
                f"targets must have shape (batch,) = ({batch},) or ({batch}, 1) for task='binary', "
                f"got {tuple(targets.shape)}"
            )
        if targets.device.type == "cpu" and not ((targets == 0) | (targets == 1)).all():
            raise ValueError(
                "targets must be 0 or 1 for task='binary', got values "
                f"{targets.min().item()} to {targets.max().item()}"
            )
        return targets.reshape(-1, 1).to(_at_least_float32(outputs).dtype)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross entropy."""
        return functional.binary_cross_entropy_with_logits(_at_least_float32(outputs), targets)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of class 1."""
        return _at_least_float32(outputs).sigmoid()

    def metrics(self) -> dict[str, Metric]:
        """Return the share of correct labels at threshold 0.5 as `acc`."""
        return {"acc": BinaryAccuracy(validate_args=False)}


class Regression:
    """Real values: mean squared error; root mean squared error and coefficient of determination.

    Args:
        output_dim: Number of values, at least 1.
    """

    def __init__(self, output_dim: int) -> None:
        self.output_dim = output_dim

    def prepare(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return values of shape (batch, output_dim) in the dtype of the loss."""
        _check_outputs(outputs, self.output_dim)
        if targets.is_complex() or targets.dtype == torch.bool:
            raise TypeError(f"targets must be real for task='regression', got {targets.dtype}")
        batch = outputs.shape[0]
        allowed = [(batch, self.output_dim)] + [(batch,)] * (self.output_dim == 1)
        if tuple(targets.shape) not in allowed:
            raise ValueError(
                f"targets must have shape {' or '.join(map(str, allowed))} for task='regression' "
                f"with output_dim={self.output_dim}, got {tuple(targets.shape)}"
            )
        return targets.reshape(outputs.shape).to(_at_least_float32(outputs).dtype)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error."""
        return functional.mse_loss(_at_least_float32(outputs), targets)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the outputs."""
        return _at_least_float32(outputs)

    def metrics(self) -> dict[str, Metric]:
        """Return the error over all values as `rmse` and the mean over outputs as `r2`."""
        return {"rmse": MeanSquaredError(squared=False), "r2": _Determination()}


class _Determination(R2Score):
    """`R2Score` that is NaN, not an error, for a single row: too few to know the variance."""

    _told = False

    def compute(self) -> Tensor:
        if self.total < 2:
            if not self._told:
                self._told = True
                rank_zero_warn(
                    "r2 is NaN, since one row has no variance: give at least two validation or "
                    "test rows, and monitor loss or rmse until then"
                )
            return torch.full((), torch.nan, device=self.total.device)
        return super().compute()


TASKS: dict[str, type[Multiclass] | type[Binary] | type[Regression]] = {
    "multiclass": Multiclass,
    "binary": Binary,
    "regression": Regression,
}


def make_task(task: str, output_dim: int) -> Task:
    """Return the task of a name.

    Args:
        task: `"multiclass"`, `"binary"` or `"regression"`.
        output_dim: Number of outputs of the model.

    Returns:
        The task.

    Raises:
        ValueError: If the name is unknown or `output_dim` does not fit.
    """
    choice(task, "task", TASKS)
    return TASKS[task](output_dim)


def _check_outputs(outputs: Tensor, output_dim: int) -> None:
    if outputs.dim() != 2 or outputs.shape[1] != output_dim:
        raise ValueError(
            f"the model must return outputs of shape (batch, output_dim={output_dim}), got "
            f"{tuple(outputs.shape)}"
        )


def _at_least_float32(outputs: Tensor) -> Tensor:
    """Losses and probabilities in half precision would lose most of their digits."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
