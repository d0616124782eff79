"""Metrics by name: a table of torchmetrics for each task, and any other class of torchmetrics."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import nan
from typing import Any, NamedTuple

import torch
import torchmetrics
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.regression import MeanSquaredError, R2Score
from torchmetrics.wrappers.transformations import MetricInputTransformer

from hybridlit.constructors import named
from hybridlit.internals.torchmetrics import r2_sums
from hybridlit.templates.chip.metrics import AmplitudeFidelity, TotalVariation
from hybridlit.templates.tasks import Task
from hybridlit.undisturbed import undisturbed
from hybridlit.words import meant

__all__ = ["METRICS", "check_metrics", "make_metrics"]


class _Row(NamedTuple):
    """A metric: its class, the tasks it is for with arguments of their own, and arguments of all.

    `reduce` makes one number of several.
    """

    kind: type[Metric]
    tasks: Mapping[str, Mapping[str, Any]]
    arguments: Mapping[str, Any] = {}
    reduce: Callable[[Any], Tensor] | None = None


def _mean_recall(matrices: Tensor) -> Tensor:
    """Mean share of right rows, over the classes that there are, of confusion (..., true, said)."""
    rows = matrices.sum(-1)
    shares = matrices.diagonal(dim1=-2, dim2=-1) / rows.clamp_min(1)
    return (shares.sum(-1) / (rows > 0).sum(-1).clamp_min(1)).mean()


def _correlation(matrices: Tensor) -> Tensor:
    """Matthews' coefficient of confusion (..., true, said); 0 where all are of one class."""
    counts = matrices.cpu().double()  # squares of many rows; not every device has float64
    total, right = counts.sum((-2, -1)), counts.diagonal(dim1=-2, dim2=-1).sum(-1)
    true, said = counts.sum(-1), counts.sum(-2)
    spreads = [total.square() - each.square().sum(-1) for each in (true, said)]
    scale = (spreads[0] * spreads[1]).sqrt()
    shared = right * total - (true * said).sum(-1)
    return (shared / scale.where(scale > 0, 1)).mean().float().to(matrices.device)


def _mean_of_curves(curves: Sequence[Any], area: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Mean area under the curves of the classes that have one, NaN where none has."""
    pairs = [[each] if isinstance(each, Tensor) else each for each in curves[:2]]
    return torch.stack([area(*pair) for pair in zip(*pairs, strict=True)]).nanmean()


def _under_roc(false: Tensor, hits: Tensor) -> Tensor:
    """Both rates end at 1, unless no row is of the class, or every row."""
    return torch.trapezoid(hits, false).where((false[-1] > 0) & (hits[-1] > 0), nan)


def _under_precision(precision: Tensor, recall: Tensor) -> Tensor:
    """The first precision is the share of the rows that are of the class."""
    return ((recall[:-1] - recall[1:]) * precision[:-1]).sum().where(precision[0] > 0, nan)


class _RootMeanSquare(MeanSquaredError):
    """`MeanSquaredError` that adds up in at least the precision of the values."""

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
        squares, sums, residual, total = r2_sums(self)
        if total < 2:
            if not self._told:
                self._told = True
                rank_zero_warn(
                    "r2 is NaN, since one row has no variance: give at least two validation or "
                    "test rows, and monitor loss or rmse until then"
                )
            return torch.full((), torch.nan, device=total.device)
        around_mean = squares - sums.square() / total
        # not below some number, as in torchmetrics: that depends on the unit of the targets
        constant = around_mean <= 8 * torch.finfo(around_mean.dtype).eps * squares
        shares = 1 - residual / around_mean.masked_fill(constant, 1.0)
        return shares.where(~constant, (residual == 0).to(shares.dtype)).mean()


_MACRO = {"average": "macro"}
_CLASSES: dict[str, dict[str, Any]] = {"multiclass": {}, "binary": {}, "multilabel": {}}
_VALUES: dict[str, dict[str, Any]] = {"regression": {}}
_OVER_ALL = {"num_outputs": 1}
_OVER_ALL_LABELS = _CLASSES | {"multilabel": {"task": "binary"}}

METRICS: dict[str, _Row] = {
    "acc": _Row(torchmetrics.Accuracy, _CLASSES, {"average": "micro"}),
    "balanced_accuracy": _Row(torchmetrics.ConfusionMatrix, _CLASSES, reduce=_mean_recall),
    "f1": _Row(torchmetrics.F1Score, _CLASSES, _MACRO),
    "precision": _Row(torchmetrics.Precision, _CLASSES, _MACRO),
    "recall": _Row(torchmetrics.Recall, _CLASSES, _MACRO),
    "specificity": _Row(torchmetrics.Specificity, _CLASSES, _MACRO),
    "auroc": _Row(torchmetrics.ROC, _CLASSES, reduce=partial(_mean_of_curves, area=_under_roc)),
    "average_precision": _Row(
        torchmetrics.PrecisionRecallCurve,
        _CLASSES,
        reduce=partial(_mean_of_curves, area=_under_precision),
    ),
    "calibration_error": _Row(torchmetrics.CalibrationError, _OVER_ALL_LABELS),
    "mcc": _Row(torchmetrics.ConfusionMatrix, _CLASSES, reduce=_correlation),
    "exact_match": _Row(torchmetrics.ExactMatch, {"multilabel": {}}),
    "rmse": _Row(_RootMeanSquare, _VALUES, {"squared": False} | _OVER_ALL),
    "mae": _Row(torchmetrics.MeanAbsoluteError, _VALUES, _OVER_ALL),
    "r2": _Row(_Determination, _VALUES),
    "mape": _Row(torchmetrics.MeanAbsolutePercentageError, _VALUES),
    "pearson": _Row(torchmetrics.PearsonCorrCoef, _VALUES, reduce=torch.mean),
    "spearman": _Row(torchmetrics.SpearmanCorrCoef, _VALUES, reduce=torch.mean),
    "amplitude_fidelity": _Row(AmplitudeFidelity, _VALUES),
    "total_variation": _Row(TotalVariation, _VALUES),
}
"""Metrics by name. Over classes or labels they are means, all of the same weight (macro).

Areas under curves are means over those that some rows have and some have not; torchmetrics counts
the others as 0.
"""


class _Adapted(MetricInputTransformer):
    """A metric of torchmetrics that takes predictions and prepared targets of any task.

    Args:
        metric: The metric.
        classifies: Whether targets are classes, which most metrics want as integers.
        reduce: What makes one number of several.
    """

    def __init__(
        self, metric: Metric, classifies: bool, reduce: Callable[[Any], Tensor] | None = None
    ) -> None:
        super().__init__(metric)
        self.classifies, self.reduce = classifies, reduce

    def transform_pred(self, pred: Tensor) -> Tensor:
        """Return predictions (rows,) for one output; most metrics of one output want that."""
        return pred.squeeze(1) if pred.shape[1:] == (1,) else pred

    def transform_target(self, target: Tensor) -> Tensor:
        """Return targets of the same shape; labels as integers."""
        target = self.transform_pred(target)
        return target.long() if self.classifies else target

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update the metric, in at least the precision of the predictions."""
        assert isinstance(self.wrapped_metric, Metric)
        _widen(self.wrapped_metric, args[0].dtype)
        super().update(*args, **kwargs)

    def compute(self) -> Tensor:
        """Return one number."""
        value: Any = super().compute()
        return value if self.reduce is None else self.reduce(value)


def check_metrics(metrics: Sequence[str | Mapping[str, Any]] | None, task: str) -> None:
    """Refuse metrics that there are not, or not for a task; sizes are not needed for that."""
    if metrics is not None:
        names = [_looked_up(entry, task)[0] for entry in metrics]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"metrics must be different ones, at least one, got {names}: give None for those "
                f"of task={task!r}"
            )


def make_metrics(
    task: Task, metrics: Sequence[str | Mapping[str, Any]] | None = None
) -> MetricCollection:
    """Return fresh metrics of (predictions, prepared targets), the main one first.

    Args:
        task: The task.
        metrics: Names of `METRICS`, or class paths, of metrics of torchmetrics: `module.Name`, or
            `{"class_path": ..., "init_args": {...}}`. What they take of `task`, `num_classes`,
            `num_labels` and `num_outputs` is filled in unless it is given. None: the task's own.

    Raises:
        TypeError: If an entry is of another form, or what it names is no metric.
        ValueError: If there is no such metric, or it gives anything else than one number.
    """
    check_metrics(metrics, task.name)
    found = MetricCollection({})
    for entry in task.default_metrics if metrics is None else metrics:
        name, row = _looked_up(entry, task.name)
        given = {**row.arguments, **row.tasks.get(task.name, {})}
        # where the rest of a model is made without numbers, metrics need some to be tried
        with warnings.catch_warnings(), torch.device("cpu"):
            warnings.simplefilter("ignore")  # such as that all rows are kept for the epoch
            metric = _made(row.kind, task, given, name)
            own = isinstance(entry, str) and entry in METRICS
            if not own or name not in task.default_metrics:
                metric = _Adapted(metric, task.classifies, row.reduce)
                if not own:
                    _try(metric, task, name)
        found.add_metrics({name: metric})  # of a dictionary they would be sorted by name
    return found


def _looked_up(entry: str | Mapping[str, Any], task: str) -> tuple[str, _Row]:
    """Return the name under which a metric is logged, and its row, or one made of a class path."""
    if isinstance(entry, str) and "." not in entry:
        fitting = [name for name, row in METRICS.items() if task in row.tasks]
        if entry not in fitting:
            raise ValueError(
                f"metrics for task={task!r} must be among {fitting}, or class paths such as "
                f"'torchmetrics.JaccardIndex', got {entry!r}{meant(entry, fitting)}"
            )
        return entry, METRICS[entry]
    given = {"class_path": entry} if isinstance(entry, str) else entry
    kind, arguments = named(given, "metrics")
    if not (isinstance(kind, type) and issubclass(kind, Metric)):
        raise TypeError(
            f"metrics must name classes of torchmetrics.Metric, got {given['class_path']!r}"
        )
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
    return snake, _Row(kind, {}, arguments, torch.mean if task == "regression" else None)


def _made(kind: type[Metric], task: Task, given: Mapping[str, Any], name: str) -> Metric:
    size = task.output_dim
    known = {
        "task": task.name,
        "num_classes": size if task.name == "multiclass" else None,
        "num_labels": size if task.name == "multilabel" else None,
        "num_outputs": size,
        "validate_args": False,  # prepared targets are checked, and this would stop accelerators
    }
    takes = inspect.signature(kind).parameters
    filled = {n: value for n, value in known.items() if n in takes and value is not None}
    try:
        return kind(**filled | dict(given))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metrics: {name} cannot be made for task={task.name!r}: {error}"
        ) from error


def _try(metric: Metric, task: Task, name: str) -> None:
    """Refuse a metric that does not give one number for a few rows of the task's form."""
    rows = max(8, 2 * task.output_dim)
    outputs = torch.linspace(-2, 2, rows * task.output_dim).sin().reshape(rows, task.output_dim)
    targets = outputs.roll(1, 0)
    if task.classifies:
        targets = torch.arange(rows) % task.output_dim if task.name == "multiclass" else targets > 0
    try:
        with undisturbed():
            metric.update(task.predictions(outputs), task.prepare(outputs, targets))
            value = metric.compute()
    except Exception as error:  # of any class, from any metric
        why = str(error).partition("\n")[0]
        raise ValueError(f"metrics: {name} does not go with task={task.name!r}: {why}") from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"metrics: {name} must give one number, got {shape}: give an average, such as "
            "init_args: {average: macro}"
        )
    metric.reset()


def _widen(metric: Metric, dtype: torch.dtype) -> None:
    """Let a metric add up in at least the precision of its values, in new tensors.

    Sums in half precision are wrong, and so are float32's of values far off 0. What
    `Trainer.validate` leaves are tensors of inference mode, which a fit cannot add to.
    """
    for name, state in metric.metric_state.items():
        if isinstance(state, Tensor):
            wide = torch.promote_types(state.dtype, dtype) if state.is_floating_point() else None
            setattr(metric, name, state.to(wide, copy=True))
