"""Write scikit-learn's digits as a .npz of images and tables, one of which a third of rows lacks.

`python recipes/arrays/make_digits.py` writes `recipes/arrays/digits.npz`, which git ignores.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

PATH = Path(__file__).with_name("digits.npz")


def complete(count: int = 1797) -> dict[str, Any]:
    """Return images (rows, 1, 8, 8), tables of 8 sums of rows and 8 of columns, and digits."""
    data = load_digits()
    images = data.images[:count]
    return {
        "image": images[:, None],
        "table": np.concatenate([images.sum(2), images.sum(1)], 1),
        "digit": data.target[:count],
        "number": np.arange(len(images)),
    }


def lacking(arrays: dict[str, Any], seed: int = 0, share: float = 1 / 3) -> dict[str, Any]:
    """Take the image or the table, by chance, from a share of the rows: NaN in all its values."""
    generator = np.random.default_rng(seed)
    arrays = {**arrays, "image": arrays["image"].copy(), "table": arrays["table"].copy()}
    chosen = generator.permutation(len(arrays["digit"]))[: round(share * len(arrays["digit"]))]
    image = generator.random(len(chosen)) < 0.5
    arrays["image"][chosen[image]] = np.nan
    arrays["table"][chosen[~image]] = np.nan
    return arrays


def main(path: Path = PATH, count: int = 1797) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **lacking(complete(count)))
    print(f"{count} rows in {path}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
