"""What all that depends on a task is: the base class of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["NoScoreError", "Task", "at_least_float32"]


class NoScoreError(ValueError):
    """There is no score of these rows: there are none, outputs have diverged, or nothing varies."""


class Task(ABC):
    """A task; outputs have shape (batch, output_dim).

    Args:
        output_dim: Number of outputs.
        label_smoothing: What the loss takes off a label and spreads over all, in [0, 1); classes.

    Attributes:
        name: What `task` is called.
        classifies: Whether targets are classes.
        one_class: Whether a row is of one class among several, and not of none or many.
        score: What `row_scores` is the mean of: one of the metrics.
        default_metrics: Names of `METRICS`, the main one first.
    """

    name: ClassVar[str]
    classifies: ClassVar[bool]
    one_class: ClassVar[bool]
    score: ClassVar[str]
    default_metrics: ClassVar[tuple[str, ...]]

    def __init__(self, output_dim: int, label_smoothing: float = 0.0) -> None:
        self.output_dim = output_dim
        self.label_smoothing = label_smoothing

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

    def like_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return targets, one for each output, in the shape of the outputs and the loss's dtype.

        One target a row may also come as (batch,).
        """
        allowed = [tuple(outputs.shape)] + [(len(outputs),)] * (self.output_dim == 1)
        if tuple(targets.shape) not in allowed:
            raise ValueError(
                f"targets must have shape {' or '.join(map(str, allowed))} for task={self.name!r} "
                f"with output_dim={self.output_dim}, got {tuple(targets.shape)}"
            )
        return targets.reshape(outputs.shape).to(at_least_float32(outputs).dtype)

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss of prepared targets.

        With weights of rows, (rows,), or `class_weights` (what `weights_by_class` returned), it is
        the sum of weighted losses over the sum of the weights of the targets.
        """
        if weights is None and class_weights is None:
            return self.losses(outputs, targets, "mean")
        rows = _by_row(self.losses(outputs, targets, "none", class_weights))
        if weights is not None:
            rows = rows * _checked(weights, len(rows)).to(rows.dtype)
        return rows.sum() / self.total_weight(targets, weights, class_weights).to(rows.dtype)

    def total_weight(
        self, targets: Tensor, weights: Tensor | None = None, class_weights: Tensor | None = None
    ) -> Tensor:
        """Return the sum of the weights of prepared targets, of shape ()."""
        shares = torch.ones(len(targets), device=targets.device)
        if class_weights is not None:
            shares = _by_row(self.weights_of(targets, class_weights))
        if weights is not None:
            shares = shares * weights.to(shares.dtype)
        # a batch whose weights are all 0 has no say
        return shares.sum().clamp_min(torch.finfo(shares.dtype).tiny)

    @abstractmethod
    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of each target, or its mean: `reduction` as torch's functions take it."""

    def weights_of(self, targets: Tensor, class_weights: Tensor) -> Tensor:
        """Return the weight of each prepared target."""
        raise NotImplementedError(f"task={self.name!r} has no classes")

    def class_counts(self, targets: Tensor) -> Tensor:
        """Count prepared targets by class, (classes,) or for labels (2, output_dim)."""
        raise NotImplementedError(f"task={self.name!r} has no classes")

    def balanced(self, counts: Tensor) -> list[float]:
        """Return rows / (classes * rows of a class) for each class, of `class_counts`."""
        raise NotImplementedError(f"task={self.name!r} has no classes")

    def weights_by_class(self, given: Sequence[float]) -> Tensor:
        """Check weights as `balanced` returns them, and bring them into the form of the counts."""
        raise NotImplementedError(f"task={self.name!r} has no classes")

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into probabilities or values of the same shape."""

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


def _checked(weights: Tensor, rows: int) -> Tensor:
    """Refuse weights that would be spread over rows, or turn a loss around."""
    if tuple(weights.shape) != (rows,):
        raise ValueError(
            f"weights of rows must have shape (batch,) = ({rows},), got {tuple(weights.shape)}"
        )
    # elsewhere the check would stop the device once a step
    if weights.device.type == "cpu" and not bool(((weights >= 0) & weights.isfinite()).all()):
        raise ValueError(
            "weights of rows must be at least 0 and finite, got values "
            f"{weights.min().item()} to {weights.max().item()}"
        )
    return weights


def _by_row(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1)


def at_least_float32(outputs: Tensor) -> Tensor:
    """Losses and probabilities in half precision would lose most of their digits."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
