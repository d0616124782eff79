"""When a model can be trusted: honest probabilities, sets that cover, and rows that it doubts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.evaluation import collect
from hybridlit.analysis.pictures.classification import reliability
from hybridlit.analysis.pictures.style import FAINT, colours, new_figure, tidy
from hybridlit.analysis.scores import score_in_words
from hybridlit.analysis.splits import batches_of, prepared
from hybridlit.analysis.statistics import Interval, share_interval
from hybridlit.argument_types import checked
from hybridlit.checks import integer, number
from hybridlit.templates import HybridModule
from hybridlit.templates.predictions.calibration import (
    conformal_scores,
    label_probabilities,
    label_sets,
)
from hybridlit.templates.predictions.predicting import bounds_of, class_labels, output_names
from hybridlit.templates.predictions.uncertainty import UNCERTAINTIES, disagreement, variants
from hybridlit.templates.tasks import Multiclass
from hybridlit.undisturbed import undisturbed
from hybridlit.words import aligned, piped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Covered", "Uncertainty", "expected_calibration_error", "uncertainty"]

_KEPT = (1.0, 0.9, 0.8, 0.5)
"""Shares of the rows, the surest ones, of which a table has the risk."""

_BEST = "the errors themselves"


class Covered(NamedTuple):
    """How often sets or intervals hold the truth.

    Attributes:
        of: Which rows, or which target.
        found: The share of them, with its 95 % interval.
        rows: How many there are.
        size: Mean number of labels of a set; width of the intervals, in units of the target.
    """

    of: str
    found: Interval
    rows: int
    size: float


@dataclass(frozen=True)
class Uncertainty:
    """What test rows say of a model's probabilities, sets or intervals, and doubts.

    Attributes:
        model: Class of the model.
        rows: Number of test rows.
        calibration_error: Expected calibration error, as trained and as calibrated; None for
            values.
        coverage: The coverage asked for.
        held_out: Number of rows that sets and intervals are drawn from.
        covered: How often they hold the truth; empty where `missing` says why.
        missing: Why there is no coverage, or nothing.
        risk: What risks are: `"share of errors"`, or `"1 - R2"`.
        risks: Mean risk of the surest rows, of shape (rows,): the first is of the surest row alone,
            the last of all; by what doubts are measured by.
        detection: Probability that a wrong row is doubted more than a right one (AUROC), by the
            same; empty for values, or where no row is wrong.

    Example:
        >>> found = Uncertainty(
        ...     "SequentialHybrid", 4, (0.2, 0.1), 0.9, 0, [], "no rows were held out",
        ...     risk="share of errors", risks={}, detection={},
        ... )
        >>> print(found.to_markdown().partition(" (")[0])
        Expected calibration error of the 4 test rows: 0.200 as trained, 0.100 as calibrated
    """

    model: str
    rows: int
    calibration_error: tuple[float, float] | None
    coverage: float
    held_out: int
    covered: list[Covered]
    missing: str
    risk: str
    risks: dict[str, npt.NDArray[np.float64]]
    detection: dict[str, float]

    @property
    def measured(self) -> bool:
        """Whether there is anything to measure doubts by."""
        return len(self.risks) > 1

    def __str__(self) -> str:
        """All as text and tables for a terminal."""
        return "\n\n".join(self._texts(aligned))

    def to_markdown(self) -> str:
        """Return all as text and tables in Markdown."""
        return "\n\n".join(self._texts(piped)) + "\n"

    def figure(self) -> Figure:
        """Draw the risk of the rows that are kept if the most doubted are left out.

        Returns:
            A figure of matplotlib, of no window.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        figure = new_figure(6.4, 4.0)
        axes = figure.add_subplot()
        shares = np.arange(1, self.rows + 1) / self.rows
        for (name, risks), colour in zip(self.risks.items(), colours(len(self.risks)), strict=True):
            best = name == _BEST
            look = {"color": FAINT, "ls": "--"} if best else {"color": colour}
            axes.plot(shares, risks, lw=1.4, label=name, drawstyle="steps-mid", **look)
        axes.set(xlim=(0, 1), ylim=(0, None))
        tidy(axes, f"{self.rows:,} test rows", "share of the rows kept, the surest", self.risk)
        axes.legend(frameon=False, fontsize=8, title="doubts measured by")
        return figure

    def _texts(self, table: Callable[..., str]) -> Iterator[str]:
        if self.calibration_error is not None:
            before, after = self.calibration_error
            now = "with no temperature" if after == before else f"{after:.3f} as calibrated"
            yield (
                f"Expected calibration error of the {self.rows:,} test rows: {before:.3f} as "
                f"trained, {now} (15 bins; 0 is honest)."
            )
        if self.missing:
            yield f"Coverage is not known: {self.missing}."
        else:
            yield (
                f"Sets and intervals for {self.coverage:.0%} coverage, from {self.held_out:,} "
                "held-out rows; the promise is of an average over all rows and over draws of the "
                "held-out ones, not of each class. 95 % intervals are of the test rows."
            )
            yield table(
                ("of", "covered", "95 % interval", "number", "mean size"),
                [
                    (
                        each.of,
                        f"{each.found.mean:.3f}",
                        f"{each.found.low:.3f} to {each.found.high:.3f}",
                        f"{each.rows:,}",
                        f"{each.size:.3g}",
                    )
                    for each in self.covered
                ],
            )
        if not self.measured:
            yield (
                "There is nothing to measure doubts by: train with dropout, or with paths side by "
                "side, as in a ParallelHybrid, whose means the checkpoint holds."
            )
            return
        kept = [max(1, round(share * self.rows)) - 1 for share in _KEPT]
        yield (
            f"The risk ({self.risk}) of the rows that are kept if the most doubted are left out; "
            f"`{_BEST}` is the least that is possible."
        )
        yield table(
            ("doubts measured by", *(f"{share:.0%} kept" for share in _KEPT), "AUROC of errors"),
            [
                (
                    name,
                    *(f"{risks[row]:.3f}" for row in kept),
                    f"{self.detection[name]:.3f}" if name in self.detection else "",
                )
                for name, risks in self.risks.items()
            ],
        )


@checked
def uncertainty(
    model: HybridModule,
    datamodule: LightningDataModule,
    *,
    coverage: float = 0.9,
    passes: int = 20,
) -> Uncertainty:
    """Say when a trained model can be trusted, by its test rows; it stays as it was.

    Args:
        model: The model, after `calibrate` for coverage.
        datamodule: The data that it was trained on.
        coverage: What sets and intervals are to hold the truth with, above 0 and below 1.
        passes: Number of passes with dropout, at least 2, if the model has dropout.

    Returns:
        Calibration error, coverage by class or target, and the risk of the surest rows, by what
        there is to measure doubts by: the probability of the predicted label, and `UNCERTAINTIES`.

    Raises:
        ValueError: If there are no test rows, or outputs are not finite.

    Example:
        >>> from hybridlit import SequentialHybrid, SklearnDataModule
        >>> model = SequentialHybrid(input_dim=4, quantum_dim=2, output_dim=3, dropout=0.1)
        >>> found = uncertainty(model, SklearnDataModule("iris"), passes=2)
        >>> found.rows, list(found.risks)
        (30, ['probability', 'passes', 'the errors themselves'])
    """
    number(coverage, "coverage", above=0.0, below=1.0)
    integer(passes, "passes", 2)
    measure = Measure(model)
    with prepared(datamodule), undisturbed(model, whole=True):
        batches = batches_of(datamodule, "test")
        outputs, targets = measure.outputs(model, batches)
        losses = 1 - torch.from_numpy(measure.rows(model, outputs, targets))
        predictions = model.calibrated(outputs)
        doubts = _doubts(model, batches, predictions, passes)
        truth = model.in_units(targets)
        covered, missing = list[Covered](), ""
        try:
            bounds_of(model, coverage)
        except ValueError as error:
            missing = str(error)
        else:
            covered = _covered(model, predictions, truth, coverage)
        errors = None
        if model.task.classifies:
            errors = (
                expected_calibration_error(model, model.predictions(outputs), targets),
                expected_calibration_error(model, predictions, targets),
            )
    wrong = losses > 0
    detectable = model.task.classifies and bool(wrong.any()) and not bool(wrong.all())
    told = doubts if detectable else {}
    detection = {n: float(binary_auroc(_ranks(d), wrong.int())) for n, d in told.items()}
    scores = None if model.calibration is None else model.calibration.scores
    return Uncertainty(
        type(model).__name__,
        len(losses),
        errors,
        coverage,
        0 if scores is None else len(scores),
        covered,
        missing,
        "share of errors" if model.task.classifies else f"1 - {score_in_words(model)}",
        {name: _risks(losses, each) for name, each in (doubts | {_BEST: losses}).items()},
        detection,
    )


def expected_calibration_error(model: HybridModule, predictions: Tensor, targets: Tensor) -> float:
    """Return the mean distance of probability and frequency, in 15 bins (Guo et al., 1706.04599).

    Of the most likely label of several classes, of label 1 otherwise.
    """
    if not isinstance(model.task, Multiclass):
        targets = targets.reshape(len(targets), -1)
    return reliability(predictions, targets).error


def _doubts(
    model: HybridModule, batches: Sequence[Any], predictions: Tensor, passes: int
) -> dict[str, Tensor]:
    """Return how much each row is doubted, shape (rows,), by what there is to measure that by."""
    doubts: dict[str, Tensor] = {}
    if model.task.classifies:
        doubts["probability"] = 1 - label_probabilities(model, predictions).amax(2).mean(1)
    for name in UNCERTAINTIES:
        ways: list[Any] = []
        with suppress(ValueError):  # no paths or no dropout: there is nothing to disagree
            ways = variants(model, name, passes)
        paths: Any = getattr(model, "paths", None)
        if name == "paths" and ways and not paths.seen:  # as of an old checkpoint
            continue
        found = []
        for way in ways:
            with way():
                found.append(model.calibrated(collect(model, batches)[0]).double())
        if found:
            doubts[name] = disagreement(model, torch.stack(found), predictions).mean(1)
    return doubts


def _covered(
    model: HybridModule, predictions: Tensor, targets: Tensor, coverage: float
) -> list[Covered]:
    bounds = bounds_of(model, coverage)
    assert bounds is not None
    off = conformal_scores(model, predictions, targets)
    inside = off <= bounds
    if not model.task.classifies:
        widths, known = (2 * bounds).tolist(), ~off.isnan()  # a detector may be missing
        named = zip(output_names(model), inside.T, known.T, widths, strict=True)
        return [
            _share(name, each[there], torch.tensor([width]))
            for name, each, there, width in named
            if bool(there.any())
        ]
    sizes = label_sets(model, predictions, bounds).sum(2).double()
    found = [_share("all", inside, sizes)]
    if not model.task.one_class:
        parts = zip(output_names(model), inside.T, sizes.T, strict=True)
        return found + [_share(*each) for each in parts]
    classes, labels = targets.flatten().long(), class_labels(model)
    return found + [
        _share(str(labels[index]), inside[classes == index], sizes[classes == index])
        for index in classes.unique().tolist()
    ]


def _share(of: str, inside: Tensor, sizes: Tensor) -> Covered:
    interval = share_interval(int(inside.sum()), inside.numel())
    return Covered(of, interval, inside.numel(), float(sizes.double().mean()))


def _risks(losses: Tensor, doubts: Tensor) -> npt.NDArray[np.float64]:
    """Mean losses of the surest rows, 1 to all; over all orders of rows of the same doubt."""
    _, group, counts = doubts.unique(return_inverse=True, return_counts=True)
    means = torch.bincount(group, losses.double(), len(counts)) / counts
    ordered: Tensor = means.repeat_interleave(counts).cumsum(0)
    return (ordered / torch.arange(1, len(losses) + 1)).numpy()


def _ranks(doubts: Tensor) -> Tensor:
    """Ranks in [0, 1], equal ones of equal doubts: torchmetrics takes other numbers for logits."""
    ranks: Tensor = doubts.unique(return_inverse=True)[1]
    return ranks.double() / max(1, len(doubts) - 1)
