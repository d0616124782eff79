"""Heat maps as images, drawn in milliseconds: a training run can afford them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hybridlit.checks import choice

__all__ = ["ColourScale", "Picture", "heat_map", "side_by_side"]

Picture: TypeAlias = npt.NDArray[np.uint8]
"""Red, green and blue of each pixel, shape (height, width, 3)."""

ColourScale = Literal["sequential", "diverging", "cyclic"]

_COLOURS = {
    "sequential": ["000004", "3b0f70", "8c2981", "de4968", "fe9f6d", "fcfdbf"],
    "diverging": ["2166ac", "92c5de", "f7f7f7", "f4a582", "b2182b"],
    "cyclic": ["cd4b50", "deb242", "46a069", "3c73c3", "8c4baa", "cd4b50"],
}
_EMPTY = (215, 215, 215)
_INK, _FAINT = (40, 40, 40), (110, 110, 110)
_MARGIN, _GAP, _BAR = 12, 8, 14


def heat_map(
    values: npt.ArrayLike,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_title: str = "",
    column_title: str = "",
    legend: str = "",
    scale: ColourScale = "sequential",
    low: float | None = None,
    high: float | None = None,
    width: int = 900,
    height: int = 420,
) -> Picture:
    """Draw a matrix as coloured cells with labels and a colour bar.

    Args:
        values: Shape (rows, columns), both at least 1; NaN and infinite ones are grey.
        title: Line above.
        rows: A label for each row; where cells are smaller than letters, some are left out.
        columns: A label for each column, turned upright where cells are narrow.
        row_title: What rows are.
        column_title: What columns are.
        legend: What the colours mean.
        scale: `"sequential"`; `"diverging"`, symmetric around 0; `"cyclic"`, whose ends are alike.
        low: Value of the first colour; None: the smallest, or for `"diverging"` minus `high`.
        high: Value of the last colour; None: the largest, or there the largest magnitude.
        width: Pixels that the cells should take together; a cell is 4 to 40 wide.
        height: Pixels that the cells should take together; a cell is 4 to 28 high.

    Raises:
        ValueError: If `values` is no matrix with cells, labels are too few or too many, or the
            scale is unknown.
    """
    choice(scale, "scale", _COLOURS)
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"values must be a matrix with cells, got shape {matrix.shape}")
    if matrix.shape != (len(rows), len(columns)):
        raise ValueError(
            f"rows and columns must label all of values with shape {matrix.shape}, got "
            f"{len(rows)} and {len(columns)} labels"
        )
    low, high = _range(matrix, scale, low, high)
    tall = int(np.clip(height // len(rows), 4, 28))
    wide = int(np.clip(width // len(columns), 4, 40))
    cells = _coloured(matrix, scale, low, high).repeat(tall, 0).repeat(wide, 1)
    down, across = max(len(cells), 60), cells.shape[1]

    font, small = _font(14), _font(12)
    left = _MARGIN + max(_width(small, label) for label in [*rows, row_title]) + _GAP
    top = _MARGIN + 2 * 16 + _GAP
    longest = max(_width(small, label) for label in columns)
    upright = longest > wide - 2
    foot = top + down + 6 + (longest if upright else 14)
    ends = [_number(high), _number(low)]
    right = 2 * _GAP + _BAR + 6 + max(_width(small, word) for word in ends) + _MARGIN
    size = (
        max(left + across + right, _MARGIN * 2 + _width(font, title)),
        foot + (18 if column_title else 0) + _MARGIN,
    )
    image = Image.new("RGB", size, "white")
    image.paste(Image.fromarray(cells), (left, top))
    _write(image, title, (_MARGIN, _MARGIN), font)
    _write(image, row_title, (_MARGIN, _MARGIN + 20), small, ink=_FAINT)
    for position in range(0, len(rows), -(-13 // tall)):
        place = (left - _GAP, top + position * tall + tall // 2)
        _write(image, rows[position], place, small, "rm")
    for position in range(0, len(columns), -(-13 // wide) if upright else 1):
        place = (left + position * wide + wide // 2, top + len(cells) + 6)
        _write(image, columns[position], place, small, "rm" if upright else "ma", turned=upright)
    _write(image, column_title, (left + across // 2, foot + 2), small, "ma", ink=_FAINT)

    bar = left + across + 2 * _GAP
    _write(image, legend, (bar + _BAR, top - 6), small, "rb", ink=_FAINT)
    ramp = _coloured(np.linspace(high, low, down)[:, None], scale, low, high).repeat(_BAR, 1)
    image.paste(Image.fromarray(ramp), (bar, top))
    for end, beside, anchor in zip(ends, (top, top + down), ("lt", "lb"), strict=True):
        _write(image, end, (bar + _BAR + 6, beside), small, anchor)
    return np.asarray(image)


def side_by_side(pictures: Sequence[Picture], across: int, title: str = "") -> Picture:
    """Put pictures into rows.

    Args:
        pictures: At least one.
        across: Pictures in a row, at least 1.
        title: Line above all of them.

    Returns:
        The whole picture, white where there is none.
    """
    lines = [pictures[i : i + across] for i in range(0, len(pictures), across)]
    font, down = _font(15), 30 if title else 0
    wide = max(sum(picture.shape[1] for picture in line) for line in lines)
    heights = [max(len(picture) for picture in line) for line in lines]
    size = max(wide, 2 * _MARGIN + _width(font, title)), down + sum(heights)
    image = Image.new("RGB", size, "white")
    _write(image, title, (_MARGIN, _MARGIN), font)
    for line, tall in zip(lines, heights, strict=True):
        right = 0
        for picture in line:
            image.paste(Image.fromarray(picture), (right, down))
            right += picture.shape[1]
        down += tall
    return np.asarray(image)


def _range(
    matrix: npt.NDArray[np.float64], scale: str, low: float | None, high: float | None
) -> tuple[float, float]:
    finite = matrix[np.isfinite(matrix)]
    if scale == "diverging":
        largest = float(np.abs(finite).max()) if finite.size else 1.0
        high = (largest or 1.0) if high is None else high
        return (-high if low is None else low), high
    low = (float(finite.min()) if finite.size else 0.0) if low is None else low
    high = (float(finite.max()) if finite.size else 1.0) if high is None else high
    return low, (high if high > low else low + 1.0)


def _coloured(matrix: npt.NDArray[np.float64], scale: str, low: float, high: float) -> Picture:
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _COLOURS[scale]])
    share = (matrix - low) / (high - low)
    known = np.isfinite(share)
    at = np.clip(np.where(known, share, 0.0), 0.0, 1.0) * (len(anchors) - 1)
    colours = np.stack(
        [np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T], axis=-1
    )
    colours[~known] = _EMPTY
    return colours.round().astype(np.uint8)


def _write(
    image: Image.Image,
    words: str,
    place: tuple[int, int],
    font: ImageFont.FreeTypeFont,
    anchor: str = "la",
    *,
    ink: tuple[int, int, int] = _INK,
    turned: bool = False,
) -> None:
    """Write words at a place that Pillow's anchor says the meaning of; turned, from below to it."""
    if words:
        letters, (across, down) = _letters(words, font, anchor, turned)
        image.paste(ink, (place[0] + across, place[1] + down), letters)


@lru_cache(4096)  # a training run draws the same labels again and again
def _letters(
    words: str, font: ImageFont.FreeTypeFont, anchor: str, turned: bool
) -> tuple[Image.Image, tuple[int, int]]:
    """Return words as a mask, and where its corner lies from the place that they stand at."""
    paper = ImageDraw.Draw(Image.new("L", (1, 1)))
    box = paper.textbbox((0, 0), words, font=font, anchor=anchor)
    left, top, right, bottom = (int(edge) for edge in box)
    letters = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(letters).text((-left, -top), words, fill=255, font=font, anchor=anchor)
    if turned:  # by 90 degrees against the clock, around the place
        return letters.transpose(Image.Transpose.ROTATE_90), (top, -right)
    return letters, (left, top)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))


@lru_cache(4096)
def _width(font: ImageFont.FreeTypeFont, words: str) -> int:
    return int(np.ceil(font.getlength(words))) if words else 0


def _number(value: float) -> str:
    return f"{value:.3g}"
