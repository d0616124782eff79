"""What a twin has found of its chip, as figures: heaters, crosstalk, splitters and losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybridlit.analysis.pictures.style import FAINT, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hybridlit.analysis.chip_numbers import ChipNumbers
    from hybridlit.analysis.chip_result import ChipStudy

__all__ = [
    "crosstalk_figure",
    "heater_figure",
    "learned_figure",
    "loss_figure",
    "splitter_figure",
]

_FOUND, _TRUE = "#4878a8", "#d1495b"
_NAMED = 60
"""Places that have room for a number beside them."""
_BARS = 300
"""Numbers whose intervals can be told apart in one panel."""


def heater_figure(study: ChipStudy) -> Figure:
    """Draw the phase at no voltage, and what a heater turns at the largest one, by place.

    Phases without a heater of their own are rings.
    """
    places, homes = study.places.phases, study.places.heaters
    highest = study.limits[1]
    linear, quadratic = (study.numbers[name].learned for name in ("linear", "quadratic"))
    turned = highest * (linear + quadratic * highest) / (2 * math.pi)
    across = np.ptp(places[:, 0]) + 1
    figure = new_figure(min(14.0, max(7.5, 0.9 * across + 2)), _height(places, 2))
    upper, lower = figure.subplots(2)
    offset = study.numbers["offset"].learned % (2 * math.pi) / math.pi
    _map(upper, places, offset, "twilight", (0.0, 2.0), "pi")
    x, y = ("x", "y") if study.places.said else ("column of the chip", "mode")
    tidy(upper, "Phases at no voltage, modulo 2 pi", "", y)
    bare = np.setdiff1d(np.arange(len(places)), homes)
    lower.scatter(*places[bare].T, s=_size(places), facecolors="none", edgecolors=FAINT)
    _map(lower, places[homes], turned, "viridis", None, "turns")
    tidy(lower, f"What each heater turns at {highest:g} V", x, y)
    if len(homes) <= _NAMED:
        for heater, place in enumerate(places[homes]):
            lower.annotate(
                str(heater), place, (0, -9), textcoords="offset points", fontsize=7, ha="center",
                va="top",
            )  # fmt: skip
    return figure


def crosstalk_figure(study: ChipStudy) -> Figure:
    """Draw the matrix of crosstalk, and crosstalk over the distance from the heater.

    Distances are those of the places of phases. What is true of a simulated chip is in red.
    """
    leak = study.numbers["leak"]
    places, homes = study.places.phases, study.places.heaters
    apart = np.linalg.norm(places[:, None] - places[None, homes], axis=-1)
    figure = new_figure(10.5, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    percent = 100 * leak.learned
    largest = float(np.nanmax(np.abs(percent))) or 1.0
    image = left.imshow(
        percent, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest", aspect="auto"
    )
    left.set_facecolor("#d7d7d7")  # a heater's own phase
    figure.colorbar(image, ax=left, label="% of what the heater turns", shrink=0.9)
    tidy(left, "Crosstalk", "heater", "phase")
    kept = np.isfinite(leak.learned)
    look: dict[str, Any] = {"s": 9, "lw": 0, "alpha": 0.6}
    if study.compared_with == "truth":
        right.scatter(
            apart[kept], 100 * leak.reference[kept], color=_TRUE, label="true", zorder=3,
            **look | {"s": 4},
        )  # fmt: skip
    right.scatter(apart[kept], percent[kept], color=_FOUND, label="found", **look)
    right.axhline(0, color=FAINT, lw=0.8)
    tidy(right, "How far it reaches", "distance from the heater", "% of what the heater turns")
    right.legend(frameon=False, fontsize=8)
    return figure


def splitter_figure(study: ChipStudy) -> Figure:
    """Draw reflectivities by place, and each with its interval and what it is compared with."""
    found, places = study.numbers["phases"], study.places.splitters
    across = np.ptp(places[:, 0]) + 1
    figure = new_figure(min(14.0, max(7.5, 0.5 * across + 2)), _height(places, 1) + 3.2)
    upper, lower = figure.subplots(2, height_ratios=[_height(places, 1), 3.2])
    least, most = float(found.learned.min()), float(found.learned.max())
    away = max(abs(least - 0.5), abs(most - 0.5), 1e-3)
    _map(upper, places, found.learned, "RdBu_r", (0.5 - away, 0.5 + away), "reflectivity")
    tidy(upper, "Reflectivities", "column of the chip", "mode")
    order = np.lexsort((places[:, 1], places[:, 0]))
    _interval(lower, np.arange(len(order)), found, order, study.compared_with)
    tidy(lower, "In the order of light, with 95 % intervals", "splitter", "reflectivity")
    lower.legend(frameon=False, fontsize=8)
    return figure


def loss_figure(study: ChipStudy) -> Figure:
    """Draw losses by mode with their intervals; of inputs, along modes, and of outputs."""
    names = ("input_loss", "mode_loss", "output_loss")
    figure = new_figure(10.5, 3.4)
    for axes, name in zip(figure.subplots(1, 3), names, strict=True):
        found = study.numbers[name]
        modes = np.arange(len(found.learned))
        _interval(axes, modes, found, modes, study.compared_with)
        axes.set_xticks(modes[:: -(-len(modes) // 12)])
        tidy(axes, found.name.capitalize(), "mode", "dB")
    axes.legend(frameon=False, fontsize=8)
    return figure


def learned_figure(study: ChipStudy) -> Figure:
    """Draw what was found against what is true, or designed, of each kind, with intervals."""
    kinds = {
        name: each
        for name, each in study.numbers.items()
        if np.isfinite(each.reference).any() and each.learned.size > 1
    }
    across = 4
    down = -(-len(kinds) // across)
    figure = new_figure(3.2 * across, 3.1 * down)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, each) in zip(panels, kinds.items(), strict=False):
        axes.set_axis_on()
        both = np.isfinite(each.learned - each.reference)
        true, found, wide = (part[both] for part in (each.reference, each.learned, each.half_width))
        ends = [float(min(true.min(), found.min())), float(max(true.max(), found.max()))]
        axes.plot(ends, ends, ls="--", color="#1b1f24", lw=1)
        few = len(true) <= _BARS
        bars = np.where(np.isfinite(wide), wide, 0.0) if few else None
        shade = max(0.1, min(0.9, 30 / len(true) ** 0.7))
        axes.errorbar(
            true, found, bars, fmt="o", ms=2.5, lw=0.8, color=_FOUND, alpha=shade, capsize=0
        )
        axes.locator_params(nbins=4)
        unit = f", {each.unit}" * bool(each.unit and name != "leak")
        truth = "true" if study.compared_with == "truth" else "designed"
        tidy(axes, each.name.capitalize(), f"{truth}{unit}", f"found{unit}")
        axes.title.set_fontsize(9)
    return figure


def _map(
    axes: Any,
    places: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    colours: str,
    ends: tuple[float, float] | None,
    legend: str,
) -> None:
    """Draw values as coloured squares at their places, the first mode on top."""
    low, high = ends or (float(values.min()), float(values.max()))
    drawn = axes.scatter(
        *places.T, c=values, cmap=colours, vmin=low, vmax=high, s=_size(places), marker="s",
        edgecolors="#1b1f24", linewidths=0.5,
    )  # fmt: skip
    axes.figure.colorbar(drawn, ax=axes, label=legend, pad=0.02)
    axes.margins(0.06)
    room = min(0.1 * np.ptp(places[:, 1]) + 0.4, 0.9)  # no tick beyond the modes
    axes.set_ylim(places[:, 1].max() + room, places[:, 1].min() - room)
    axes.locator_params(integer=True)


def _interval(
    axes: Any,
    at: npt.NDArray[np.int64],
    found: ChipNumbers,
    order: npt.NDArray[np.int64],
    compared_with: str,
) -> None:
    """Draw numbers in an order with 95 % intervals, and what they are compared with."""
    wide = np.where(np.isfinite(found.half_width), found.half_width, 0.0)[order]
    axes.errorbar(
        at, found.learned[order], wide, fmt="o", ms=3.5, lw=1, capsize=2, color=_FOUND,
        label="found",
    )  # fmt: skip
    words = "true" if compared_with == "truth" else "designed"
    axes.plot(at, found.reference[order], "x", ms=5, color=_TRUE, label=words)


def _size(places: npt.NDArray[np.float64]) -> float:
    return float(np.clip(9000 / len(places), 30, 260))


def _height(places: npt.NDArray[np.float64], panels: int) -> float:
    return panels * float(np.clip(0.32 * (np.ptp(places[:, 1]) + 1) + 1.1, 2.0, 4.5))
