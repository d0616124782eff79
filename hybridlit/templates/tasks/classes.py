"""Tasks whose targets are classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hybridlit.templates.tasks.task import Task, at_least_float32

__all__ = ["Binary", "Multiclass"]


class Multiclass(Task):
    """One of at least two classes: logits in, cross entropy, share of correct classes as `acc`.

    Args:
        output_dim: Number of classes, at least 2.
    """

    name, classifies, one_class, score = "multiclass", True, True, "acc"
    default_metrics = ("acc",)

    def __init__(self, output_dim: int, label_smoothing: float = 0.0) -> None:
        if output_dim < 2:
            raise ValueError(
                f"output_dim must be the number of classes, at least 2, for task={self.name!r}, "
                f"got {output_dim}; for two classes in one output use task='binary'"
            )
        super().__init__(output_dim, label_smoothing)

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

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        logits = at_least_float32(outputs)
        return functional.cross_entropy(
            logits,
            targets,
            weight=None if class_weights is None else class_weights.to(logits.dtype),
            reduction=reduction,
            label_smoothing=self.label_smoothing,
        )

    def weights_of(self, targets: Tensor, class_weights: Tensor) -> Tensor:
        if targets.is_floating_point():  # shares of classes, which a subclass may prepare
            return targets.to(class_weights.dtype) @ class_weights
        return class_weights[targets]

    def class_counts(self, targets: Tensor) -> Tensor:
        classes = torch.arange(self.output_dim, device=targets.device)
        return (targets[:, None] == classes).sum(0)  # bincount would stop an accelerator

    def balanced(self, counts: Tensor) -> list[float]:
        return _balanced(counts, self).tolist()

    def weights_by_class(self, given: Sequence[float]) -> Tensor:
        return _checked(given, self.output_dim, "output_dim numbers, one a class")

    def predictions(self, outputs: Tensor) -> Tensor:
        return at_least_float32(outputs).softmax(-1)

    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions.argmax(-1) == targets).double()

    def constant(self, targets: Tensor) -> Tensor:
        """Return the frequencies of classes as logits; one more of each, so none is infinite."""
        counts = torch.bincount(targets.flatten(), minlength=self.output_dim)
        return (counts.double() + 1).log()

    def summed(self, targets: Tensor) -> Tensor | None:
        """Count the classes, unless a subclass of the user's has prepared other targets."""
        return None if targets.is_floating_point() else self.class_counts(targets)

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


class Multilabel(Task):
    """Yes or no for each output: logits in, binary cross entropy, share of right labels as `acc`.

    Args:
        output_dim: Number of labels, at least 1.
    """

    name, classifies, one_class, score = "multilabel", True, False, "acc"
    default_metrics = ("acc",)

    def prepared(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return labels of shape (batch, output_dim) as floats."""
        if targets.is_complex():
            raise TypeError(f"targets must be 0 or 1 for task={self.name!r}, got {targets.dtype}")
        labels = self.like_outputs(outputs, targets)
        if targets.device.type == "cpu" and not ((targets == 0) | (targets == 1)).all():
            raise ValueError(
                f"targets must be 0 or 1 for task={self.name!r}, got values "
                f"{targets.min().item()} to {targets.max().item()}"
            )
        return labels

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        logits = at_least_float32(outputs)
        if self.label_smoothing:
            targets = targets + self.label_smoothing * (0.5 - targets)
        if class_weights is None:
            cross_entropy = functional.binary_cross_entropy_with_logits
            return cross_entropy(logits, targets, reduction=reduction)
        of_0, of_1 = class_weights.to(logits.dtype)
        no, yes = functional.softplus(logits), functional.softplus(-logits)
        losses: Tensor = of_1 * targets * yes + of_0 * (1 - targets) * no
        return losses

    def weights_of(self, targets: Tensor, class_weights: Tensor) -> Tensor:
        return torch.where(targets > 0.5, class_weights[1], class_weights[0])

    def class_counts(self, targets: Tensor) -> Tensor:
        ones = (targets > 0.5).sum(0)
        return torch.stack([len(targets) - ones, ones])

    def balanced(self, counts: Tensor) -> list[float]:
        of_0, of_1 = _balanced(counts, self)
        weights: list[float] = (of_1 / of_0).tolist()
        return weights

    def weights_by_class(self, given: Sequence[float]) -> Tensor:
        of_1 = _checked(given, self.output_dim, "output_dim numbers, the weight of each label's 1")
        return torch.stack([torch.ones_like(of_1), of_1])

    def predictions(self, outputs: Tensor) -> Tensor:
        return at_least_float32(outputs).sigmoid()

    def row_scores(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return ((predictions > 0.5) == (targets > 0.5)).double().mean(-1)

    def constant(self, targets: Tensor) -> Tensor:
        """Return the frequencies of label 1 as logits; one more of each, so none is infinite."""
        ones = targets.double().sum(0)
        return ((ones + 1) / (len(targets) - ones + 1)).log()

    def summed(self, targets: Tensor) -> Tensor | None:
        return self.class_counts(targets)[1]

    def advice(self, sums: list[float]) -> str | None:
        missing = [str(index) for index, count in enumerate(sums) if not count]
        if not missing:
            return None
        return (
            f"no training target of this epoch has label {', '.join(missing)}, counted from 0: "
            "give more data with it, or leave it out"
        )


class Binary(Multilabel):
    """Yes or no: one logit, binary cross entropy, share correct at threshold 0.5 as `acc`.

    Args:
        output_dim: Must be 1.
    """

    name, one_class = "binary", True

    def __init__(self, output_dim: int, label_smoothing: float = 0.0) -> None:
        if output_dim != 1:
            raise ValueError(
                f"output_dim must be 1 for task={self.name!r}, got {output_dim}; for two outputs "
                "use task='multiclass', for several labels task='multilabel'"
            )
        super().__init__(output_dim, label_smoothing)

    def balanced(self, counts: Tensor) -> list[float]:
        return _balanced(counts, self).flatten().tolist()

    def weights_by_class(self, given: Sequence[float]) -> Tensor:
        return _checked(given, 2, "2 numbers, of class 0 and 1")[:, None]

    def summed(self, targets: Tensor) -> Tensor | None:
        return None


def _balanced(counts: Tensor, task: Task) -> Tensor:
    """Return the weights that give every class the same sum of weights, in float64."""
    counts = counts.double()
    if not bool((counts > 0).all()):
        empty = ", ".join(str(index) for index in (counts == 0).nonzero()[:, -1].tolist())
        what = "of class" if task.name == "multiclass" else "of one value of output"
        raise ValueError(
            f"class_weights='balanced' needs training rows of each class, got none {what} {empty}: "
            "give weights as numbers, or data that have them"
        )
    return counts.sum(0) / (len(counts) * counts)


def _checked(given: Sequence[float], count: int, words: str) -> Tensor:
    weights = torch.tensor(list(given), dtype=torch.float64)
    if len(weights) != count or not bool(((weights > 0) & weights.isfinite()).all()):
        raise ValueError(
            f"class_weights must be 'balanced' or {words}, above 0 and finite, got {list(given)!r}"
        )
    return weights
