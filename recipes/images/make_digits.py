"""Write scikit-learn's digits as PNG files, a folder a class.

`python recipes/images/make_digits.py` writes to `recipes/images/digits`, which git ignores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def main(folder: Path = Path(__file__).parent / "digits", count: int = 1797) -> None:
    """Write `count` grey images of 8 x 8 pixels."""
    data = load_digits()
    images, digits = data.images[:count], data.target[:count]
    for number, (image, digit) in enumerate(zip(images, digits, strict=True)):
        path = folder / str(digit) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(image * 255 / 16).astype(np.uint8)).save(path)
    print(f"{len(images)} images in {folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
