"""Curves over the epochs of a training, as one small figure each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from hybridlit.analysis.pictures.style import FAINT, colours, new_figure, shortened, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Curve", "curves_figure"]


class Curve(NamedTuple):
    """Values, and the numbers of epochs that were done by then, both of shape (points,)."""

    epochs: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


def curves_figure(
    curves: Mapping[str, Curve],
    title: str,
    name: str,
    *,
    levels: Mapping[str, float] | None = None,
    at: float | None = None,
    log: bool = False,
) -> Figure:
    """Draw curves into one figure, small enough for a card of TensorBoard.

    Args:
        curves: Curves by what they are called.
        title: What they show.
        name: What is drawn upwards.
        levels: Values to compare with, by what they are called.
        at: An epoch to mark.
        log: Whether to draw powers of ten evenly; what is not above 0 is left out.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = new_figure(4.0, 2.6)
    axes = figure.add_subplot()
    for (label, curve), colour in zip(curves.items(), colours(len(curves)), strict=True):
        mark = "o" if len(curve.values) < 3 else ""
        axes.plot(*curve, color=colour, lw=1.5, marker=mark, ms=4, label=shortened(label, 30))
    for (label, level), style in zip((levels or {}).items(), _STYLES, strict=False):
        axes.axhline(level, color=FAINT, ls=style, lw=1.2, label=shortened(label, 30))
    if at is not None:
        axes.axvline(at, color=FAINT, lw=0.8)
    if log:
        axes.set_yscale("log", nonpositive="mask")
    tidy(axes, title, "epoch", name)
    if len(curves) + len(levels or {}) > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure


_STYLES: Sequence[str] = ("--", ":", "-.")
"""Lines of levels, one after another."""
