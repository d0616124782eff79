"""Image files as arrays of uint8: one way to read them, for training and for prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

__all__ = ["COLORS", "ColorName", "Picture", "find_images", "mode_of", "pixels", "read_images"]

Picture: TypeAlias = "Path | Image.Image"
Pixels: TypeAlias = npt.NDArray[np.uint8]

COLORS: dict[str, str | None] = {"auto": None, "grey": "L", "rgb": "RGB"}
"""Modes of Pillow by the name of what images become; `"auto"`: grey if no file has colours."""

if TYPE_CHECKING:
    ColorName: TypeAlias = str
else:
    ColorName = Literal[tuple(COLORS)]

_SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")  # by content: Pillow opens no other kind of file


def find_images(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders by name; tell what is left out.

    Files and folders whose name begins with a dot are not looked at.
    """
    every = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)
    seen = [path for path in every if not _is_hidden(path.relative_to(folder)) and path.is_file()]
    found = [path for path in seen if path.suffix.lower() in _SUFFIXES]
    others = Counter(path.suffix.lower() or "no suffix" for path in seen)
    for suffix in _SUFFIXES:
        others.pop(suffix, None)
    if others:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(others.items()))
        rank_zero_warn(
            f"files of {folder} that are no {', '.join(_SUFFIXES)} are left out: {kinds}"
        )
    return found


def mode_of(color: str, paths: Iterable[Path]) -> str:
    """Return Pillow's mode for a name of `COLORS`; `"auto"` looks at the heads of the files."""
    mode = COLORS[color]
    return mode or ("RGB" if any(_opened(path, _has_colors) for path in paths) else "L")


def pixels(picture: Picture, mode: str, size: Sequence[int] | None) -> Pixels:
    """Return an image of shape (channels, height, width), upright, opaque, of a mode and size.

    What is transparent becomes white; 16 bits become 8 by dividing by 257. `size`, [height, width],
    is reached by averaging or interpolating, without regard to the ratio of the sides.
    """
    if isinstance(picture, Path):
        read: Pixels = _opened(picture, lambda image: pixels(image, mode, size))
        return read
    image = _eight_bits(ImageOps.exif_transpose(picture))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    image = image.convert(mode)
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)


def read_images(
    pictures: Sequence[Picture],
    names: Sequence[str],
    mode: str,
    size: Sequence[int] | None,
    only: Sequence[int] | None = None,
) -> Pixels:
    """Read images into one array of shape (images, channels, height, width), as `pixels` does.

    Without `size` all must be of one height and width, those of `only` if it is given. `names` are
    for messages. A bar is shown if it takes more than two seconds.
    """
    every: Pixels | None = None
    sizes = {} if only is None else {tuple(only): "training"}
    for row, picture in enumerate(tqdm(pictures, "read images", delay=2, leave=False)):
        image = pixels(picture, mode, size)
        sizes.setdefault(image.shape[1:], names[row])
        if every is None:
            every = np.empty((len(pictures), *image.shape), np.uint8)
        if len(sizes) == 1:
            every[row] = image
    if len(sizes) > 1:
        shown = [f"{height} x {width} ({name})" for (height, width), name in sizes.items()]
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        raise ValueError(
            "images must be of one size, or resized by size=[height, width] in the training, got "
            f"{', '.join(shown[:3])}{more}"
        )
    if every is None:
        raise ValueError("there must be at least one image, got none")
    return every


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _has_colors(image: Image.Image) -> bool:
    return image.mode[:1] not in "1LI"


def _eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):
        return image
    values = np.array(image, np.int64)
    clear = image.info.get("transparency")
    if clear is not None:
        values[values == clear] = 65535
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values must be from 0 to 65535, got up to {values.max()}")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _opened(path: Path, look: Any) -> Any:
    """Call `look` with the image of a file; every error names the file."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
                raise ValueError("it has several frames")
            return look(image)
    except OSError as error:
        if error.errno is not None:  # missing, or not to be read: the system says so with the path
            raise
        raise ValueError(_unreadable(path, error)) from error
    except Exception as error:  # Pillow's decoders raise many kinds, SyntaxError among them
        raise ValueError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    why = "no PNG or JPEG" if isinstance(error, UnidentifiedImageError) else str(error)
    return f"path must lead to images that can be read, got {path}: {why}"
