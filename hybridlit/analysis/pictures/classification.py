"""How well classes are told apart, as figures: which are confused, how ranked, how honest.

Probabilities have shape (rows, classes), and true classes are indices (rows,); of several yes or no
labels, both have shape (rows, labels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_roc,
    multiclass_confusion_matrix,
)

from hybridlit.analysis.pictures.style import FAINT, colours, new_figure, shortened, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Reliability",
    "confusion_figure",
    "label_figure",
    "reliability",
    "reliability_figure",
    "roc_figure",
]

_MOST = 30
"""Classes shown at most: cells of more could not be read, nor could curves be told apart."""


def confusion_figure(
    probabilities: Tensor, targets: Tensor, labels: Sequence[object], title: str
) -> Figure:
    """Draw how many rows of each class, a row of cells, were predicted to be of which class.

    Cells have the colour of their share of the class, and their number of rows; up to ten classes
    also the share in percent. Of more than 30 classes those with most errors are shown.
    """
    counts = multiclass_confusion_matrix(probabilities, targets, len(labels))
    errors = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    shown = errors.argsort(descending=True, stable=True)[:_MOST].sort().values
    if len(shown) < len(labels):
        title += f" ({_MOST} of {len(labels):,} classes, those with most errors)"
    shares = (counts / counts.sum(1, keepdim=True))[shown][:, shown]
    names = [labels[index] for index in shown.tolist()]
    words = title, "predicted class", "true class"
    return _cells(shares, counts[shown][:, shown], names, names, words, "share of the true class")


def label_figure(
    probabilities: Tensor, targets: Tensor, labels: Sequence[object], title: str
) -> Figure:
    """Draw how often each of several yes or no labels, a row of cells, was given and was right.

    Cells have the colour of their share of the rows that are, or are not, so labelled. Of more than
    30 labels those with most errors are shown.
    """
    said, true = probabilities > 0.5, targets > 0.5
    counts = torch.stack(
        [(said & true).sum(0), (~said & true).sum(0), (said & ~true).sum(0), (~said & ~true).sum(0)]
    ).T
    shown = counts[:, 1:3].sum(1).argsort(descending=True, stable=True)[:_MOST].sort().values
    if len(shown) < len(labels):
        title += f" ({_MOST} of {len(labels):,} labels, those with most errors)"
    halves = counts.reshape(-1, 2, 2)
    shares = (halves / halves.sum(2, keepdim=True)).reshape(-1, 4)[shown]
    heads = ["yes, found", "yes, missed", "no, but said", "no, not said"]
    names = [labels[index] for index in shown.tolist()]
    words = title, "truth, and what was predicted", "label"
    return _cells(shares, counts[shown], names, heads, words, "share of the yes, or of the no")


def _cells(
    shares: Tensor,
    counts: Tensor,
    rows: Sequence[object],
    columns: Sequence[object],
    words: tuple[str, str, str],
    meaning: str,
) -> Figure:
    """Draw a cell for each number: coloured by share, with the count in it."""
    down, across = shares.shape
    few = max(down, across) <= 10
    cell = 0.62 if few else 0.36
    left = 0.1 * max(len(shortened(name)) for name in rows)
    width = max(cell * across + left + 1.8, 0.085 * min(len(words[0]), 45) + 0.5)
    figure = new_figure(width, max(cell * down, 1.6) + 1.3 + left * (not few))
    axes = figure.add_subplot()
    image = axes.imshow(shares.nan_to_num(0).numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
    size = 9 if few else 8 if down <= 20 else 7
    for row, column in torch.nonzero(counts).tolist():
        count, share = int(counts[row, column]), float(shares[row, column])
        inside = f"{count:,}\n{share:.0%}" if few else f"{count}"
        ink = "white" if share > 0.55 else "black"
        fits = size if few or len(inside) < 4 else size * 3 / len(inside)
        axes.text(column, row, inside, ha="center", va="center", size=fits, color=ink)
    upright = not few or max(len(shortened(name)) for name in columns) > 7
    turned = {"rotation": 90} if not few else {"rotation": 35, "ha": "right"} if upright else {}
    axes.set_xticks(range(across), [shortened(name) for name in columns], size=size, **turned)
    axes.set_yticks(range(down), [shortened(name) for name in rows], size=size)
    axes.tick_params(length=0)
    figure.colorbar(image, label=meaning, fraction=0.05, shrink=0.8)
    tidy(axes, *words)
    return figure


def roc_figure(
    probabilities: Tensor, targets: Tensor, labels: Sequence[object], title: str
) -> Figure:
    """Draw a curve for each class: of the rows of that class found, against false alarms.

    The legend has the area under each curve (AUC), highest first. A class that all or none of the
    rows are of has no curve; of two classes there is one. Of more than 30 classes those with the
    lowest areas are shown.
    """
    truth = targets if targets.dim() == 2 else targets[:, None] == torch.arange(len(labels))
    truth = truth.bool()
    there = [index for index in range(len(labels)) if 0 < int(truth[:, index].sum()) < len(truth)]
    areas = {
        index: float(binary_auroc(probabilities[:, index], truth[:, index])) for index in there
    }
    if len(there) < len(labels):
        title += f", no curve of {len(labels) - len(there):,} of {len(labels):,} classes"
        title += " (none or all of the rows are of them)"
    if targets.dim() == 1 and len(labels) == 2:  # the other one is the same, seen from behind
        areas.pop(0, None)
    shown = sorted(areas, key=lambda index: areas[index])[:_MOST][::-1]
    if len(shown) < len(areas):
        title += f" ({_MOST} of {len(areas):,} classes, those with the lowest areas)"
    beside = max((len(shortened(labels[index])) for index in shown), default=0)
    columns = 1 if len(shown) <= 16 else 2
    figure = new_figure(4.9 + max(1.4, columns * (0.9 + 0.075 * beside)), 4.8)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], ls="--", color=FAINT, lw=1)
    for index, colour in zip(shown, colours(len(shown)), strict=True):
        alarms, found, _ = binary_roc(probabilities[:, index], truth[:, index])
        name = f"{shortened(labels[index])}  {areas[index]:.3f}"
        axes.plot(
            alarms.numpy(), found.numpy(), color=colour, lw=1.4, label=name, drawstyle="steps-post"
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    tidy(axes, title, "false positive rate", "true positive rate")
    if shown:
        look = {"frameon": False, "ncols": columns, "fontsize": 8, "title": "area under curve"}
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), **look)
    return figure


class Reliability(NamedTuple):
    """How often predictions of a certain confidence were right, in bins of equal width.

    Attributes:
        confidence: Mean confidence of each bin, NaN in an empty one, shape (bins,).
        frequency: Share that was right, or of that label, likewise.
        counts: Predictions in each bin.
        error: Expected calibration error, the mean of abs(frequency - confidence) over predictions.
        axis: What the confidence is.
    """

    confidence: Tensor
    frequency: Tensor
    counts: Tensor
    error: float
    axis: str


def reliability(probabilities: Tensor, targets: Tensor, bins: int = 15) -> Reliability:
    """Compare probabilities with frequencies (Guo et al., ICML 2017).

    Args:
        probabilities: Of classes, shape (rows, classes): the highest of each row counts, and
            whether it is right. Of labels, shape (rows, labels): each counts, and whether it is so.
        targets: Class indices (rows,), or 0 and 1 of shape (rows, labels).
        bins: Number of bins.
    """
    if targets.dim() == 1:
        confidence, found = probabilities.max(1)
        right, axis = found == targets, "probability of the predicted class"
    else:
        confidence, right = probabilities.flatten(), targets.flatten() > 0.5
        axis = "predicted probability"
    confidence = confidence.double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.double)[1:-1]
    bin_of = torch.bucketize(confidence, edges, right=True)
    counts = torch.bincount(bin_of, minlength=bins)
    means = torch.bincount(bin_of, confidence, bins) / counts
    shares = torch.bincount(bin_of, right.double(), bins) / counts
    error = float(((shares - means).abs().nan_to_num(0) * counts).sum() / counts.sum())
    return Reliability(means, shares, counts, error, axis)


def reliability_figure(
    probabilities: Tensor,
    targets: Tensor,
    labels: Sequence[object],
    title: str,
    before: Tensor | None = None,
) -> Figure:
    """Draw `reliability`: bars that end on the diagonal are honest, below it too sure.

    Underneath stands how many predictions there are of each bin. `before` are probabilities as they
    were before a calibration, for a line beside the bars.
    """
    found = reliability(probabilities, targets)
    figure = new_figure(5.4, 5.8)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    width = 1 / len(found.counts)
    middles = (torch.arange(len(found.counts)) + 0.5).numpy() * width
    bars = {"width": 0.92 * width, "color": "#4878a8"}
    axes.bar(middles, found.frequency.nan_to_num(0).numpy(), **bars, alpha=0.85)
    axes.plot([0, 1], [0, 1], ls="--", color=FAINT, lw=1)
    dots = {"marker": "o", "ms": 3.5}
    axes.plot(found.confidence.numpy(), found.frequency.numpy(), ls="", color="#1b1f24", **dots)
    title += f"\nexpected calibration error {found.error:.3f}"
    if before is not None:
        was = reliability(before, targets)
        there = was.counts > 0
        line = was.confidence[there].numpy(), was.frequency[there].numpy()
        axes.plot(*line, color="#c27217", lw=1, label="before calibration", **dots)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        title += f", {was.error:.3f} before calibration"
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    tidy(axes, title, "", "observed frequency")
    below.bar(middles, found.counts.numpy(), **bars)
    tidy(below, "", found.axis, "predictions")
    return figure
