"""How well values are predicted, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from hybridlit.analysis.pictures.style import new_figure, shortened, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["predicted_figure"]

_MOST = 9


def predicted_figure(
    predictions: Tensor, targets: Tensor, names: Sequence[object], title: str
) -> Figure:
    """Draw predicted values against true ones, in their own units: a panel for each target.

    The dashed line is where both are the same. Of more than nine targets the first nine are shown,
    and of each the rows in which it is known.

    Args:
        predictions: Shape (rows, targets).
        targets: Likewise, NaN where they are not known.
        names: Of the targets.
        title: Line above.
    """
    shown = min(len(names), _MOST)
    if shown < len(names):
        title += f" (the first {shown} of {len(names):,} targets)"
    across = min(3, shown)
    down = -(-shown // across)
    figure = new_figure(max(4.2 * across, 0.085 * len(title) + 0.5), 4.2 * down + 0.4)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", wrap=True)
    look = {"s": 9, "alpha": max(0.08, min(0.7, 100 / len(targets) ** 0.7)), "lw": 0}
    panels = figure.subplots(down, across, squeeze=False).flat
    for index, axes in enumerate(panels):
        if index >= shown:
            axes.set_axis_off()
            continue
        true, found = targets[:, index].double(), predictions[:, index].double()
        there = ~true.isnan()
        true, found = true[there], found[there]
        if not len(true):
            tidy(axes, "no true value", "", shortened(names[index], 30))
            continue
        ends = [float(min(true.min(), found.min())), float(max(true.max(), found.max()))]
        axes.scatter(true.numpy(), found.numpy(), color="#4878a8", **look)
        axes.plot(ends, ends, ls="--", color="#1b1f24", lw=1)
        axes.locator_params(nbins=5)
        error = float((found - true).square().mean().sqrt())
        name = shortened(names[index], 30)
        tidy(axes, f"RMSE {error:.3g}", f"true {name}", f"predicted {name}")
    return figure
