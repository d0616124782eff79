"""What images become: pixels of uint8, read as in the training, and scaled by channel."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from hybridlit.data.image_files import Picture, find_images, read_images
from hybridlit.data.inputs import Inputs, RawRows, far_outside
from hybridlit.data.scaling import SCALINGS, Scaler
from hybridlit.data.tensors import CHANNELS, channels_last

__all__ = ["ImageInputs"]


class ImageInputs(Inputs):
    """Images of one size, [height, width], grey (`"L"`) or `"RGB"`, each channel scaled.

    Images of other sizes are refused unless `resized`. What is fitted: a scaling of shape
    (channels, 1, 1), and the mean pixels of the darkest and the lightest training image, (1,).
    """

    kind = "image"

    def __init__(self, mode: str, size: Sequence[int], resized: bool, *fitted: Any) -> None:
        super().__init__(*fitted)
        self.mode, self.size, self.resized = mode, list(size), resized

    @classmethod
    def fit(cls, images: Tensor, mode: str, resized: bool, scaling: str | None) -> Self:
        """Fit to training images (images, channels, height, width) of uint8."""
        scaler = _fit(images.numpy(), scaling)
        means = _means(images)
        return cls(mode, images.shape[2:], resized, scaler, means.amin(0), means.amax(0))

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width, prepared or not."""
        return (Image.getmodebands(self.mode), *self.size)

    def opened(self, rows: Any) -> Any:
        """Leave paths as they are: folders say of which class images are."""
        return rows

    def read(self, rows: Any) -> RawRows:
        """Read images as those of the training were read.

        Args:
            rows: Path of an image, of a folder with images in it or in its subfolders, or a
                pattern such as `"new/*.png"`; a list of paths, or of Pillow's images; or pixels
                from 0 to 255 of shape (images, height, width), (images, channels, height, width)
                or (images, height, width, channels).
        """
        pictures, names = _pictures(rows)
        paths = not names or isinstance(pictures[0], Path)
        size = self.size if self.resized else None
        images = torch.from_numpy(read_images(pictures, names, self.mode, size, self.size))
        flags = far_outside(_means(images), self.low.cpu(), self.high.cpu(), ["brightness"])
        return RawRows(images, {"file": names} if paths else {}, flags)

    def forward(self, values: Tensor) -> Tensor:
        """Scale pixels (images, channels, height, width)."""
        dtype = torch.get_default_dtype()  # float64, as in the scaler, takes eight times as long
        return (values.to(dtype) - self.scaler.offset.to(dtype)) / self.scaler.scale.to(dtype)

    def describe(self) -> dict[str, Any]:
        """Return mode and size."""
        return {"mode": self.mode, "size": self.size, "resized": self.resized}


def _pictures(rows: Any) -> tuple[list[Picture], list[str]]:
    """Return images or their paths, and what messages and predictions call them."""
    if isinstance(rows, (str, os.PathLike)):
        path = Path(rows)
        if path.is_dir():
            found = find_images(path)
            if not found:
                raise ValueError(f"{path} must hold PNG or JPEG images, got none")
            return list(found), [file.relative_to(path).as_posix() for file in found]
        if not path.exists() and glob.has_magic(str(rows)):
            matching = sorted(glob.glob(str(rows), recursive=True))
            if not matching:
                raise FileNotFoundError(f"no file is called {rows}")
            return [Path(each) for each in matching], matching
        return [path], [str(rows)]
    if isinstance(rows, Image.Image):
        rows = [rows]
    if isinstance(rows, (list, tuple)) and all(
        isinstance(each, (str, os.PathLike, Image.Image)) for each in rows
    ):
        pictures = [each if isinstance(each, Image.Image) else Path(each) for each in rows]
        return pictures, [
            str(p) if isinstance(p, Path) else f"image {i}" for i, p in enumerate(pictures)
        ]
    return _from_array(rows)


def _from_array(array: Any) -> tuple[list[Picture], list[str]]:
    values = np.asarray(array)
    if values.dtype.kind not in "iu" or (values.size and (values.min() < 0 or values.max() > 255)):
        raise TypeError(
            f"images must be paths or pixels of uint8 from 0 to 255, got {values.dtype}; multiply "
            "values from 0 to 1 by 255 and round them"
        )
    if values.ndim == 4 and values.shape[1] not in CHANNELS and values.shape[3] in CHANNELS:
        rank_zero_warn(
            f"images of shape {values.shape} are taken as (images, height, width, channels)"
        )
    elif values.ndim == 4 and values.shape[1] in CHANNELS:
        values = np.moveaxis(values, 1, 3)
    elif values.ndim != 3 or channels_last(values.shape):
        raise ValueError(
            "images must have shape (images, height, width), or with 1, 3 or 4 channels (images, "
            f"channels, height, width) or (images, height, width, channels), got {values.shape}; "
            "one image x is x[None]"
        )
    values = values.astype(np.uint8)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    every: list[Picture] = [Image.fromarray(np.ascontiguousarray(each)) for each in values]
    return every, [f"image {row}" for row in range(len(every))]


def _means(images: Tensor) -> Tensor:
    """Return the mean pixel of each image, (images, 1), without a copy of all as floats."""
    return torch.tensor([[float(image.mean())] for image in images.numpy()], dtype=torch.float64)


def _fit(images: npt.NDArray[np.uint8], scaling: str | None) -> Scaler:
    """Fit one of `SCALINGS` by counting pixels: exact, without a copy of all as floats."""
    if scaling is None:
        return Scaler.identity((images.shape[1], 1, 1))
    counts = np.zeros((256, images.shape[1]))
    for image in images:
        for channel, plane in enumerate(image):
            counts[:, channel] += np.bincount(plane.ravel(), minlength=256)
    offset, scale = SCALINGS[scaling].of_levels(np.arange(256.0)[:, None], counts / counts.sum(0))
    scale = np.where(scale == 0, 1.0, scale)  # of a constant channel
    values = (torch.from_numpy(x) for x in (offset, scale, np.ones_like(scale)))
    return Scaler(*(value[:, None, None] for value in values))
