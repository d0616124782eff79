"""How figures look: one way to make one, and the colours of components and classes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridlit.analysis.pictures.heat_map import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COMPONENT_COLOURS", "FAINT", "colours", "new_figure", "pixels", "shortened", "tidy"]

COMPONENT_COLOURS = {"classical": "#4878a8", "photonic": "#d1495b", "other": "#8d99a6"}
"""Colours of what belongs to a component."""

FAINT = "#8d99a6"
"""Of lines to compare with: a diagonal, a constant."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that belongs to no window and lays itself out.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install 'hybridlit[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Any, title: str, x: str, y: str) -> None:
    """Give axes a title to the left, in lines that fit, names, and no frame above and right."""
    axes.set_title(title, fontsize=11, loc="left", wrap=True)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def colours(count: int) -> list[Any]:
    """Return colours that are told apart: ten, or for more of them evenly along a rainbow."""
    maps = import_module("matplotlib").colormaps
    if count <= 10:
        return [maps["tab10"](index) for index in range(count)]
    return list(maps["turbo"](np.linspace(0.03, 0.97, count)))


def shortened(label: object, most: int = 18) -> str:
    """Return a label in one line; of a long one the beginning, and three dots."""
    words = " ".join(str(label).split())
    words = words if len(words) <= most else f"{words[: most - 3]}..."
    return words.replace("$", r"\$")  # which would begin mathematics


def pixels(figure: Figure) -> Picture:
    """Draw a figure as red, green and blue of each pixel, shape (height, width, 3)."""
    canvas: Any = import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    picture: Picture = np.asarray(canvas.buffer_rgba())[..., :3]
    return picture
