"""Write digit_pairs.csv beside this file: pictures of two digits, and which digits are in them.

Each picture is two of scikit-learn's digits side by side, 8 x 16 pixels in columns; pixels that are
never inked are left out. Ten columns say yes or no of a digit each. No digit is in pictures of two
splits.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits


def main(path: Path, rows: int = 2000) -> None:
    generator = np.random.default_rng(0)
    digits = load_digits()
    order = generator.permutation(len(digits.target))
    parts = np.split(order, [len(order) * 3 // 5, len(order) * 4 // 5])
    tables = []
    for name, part, share in zip(("train", "val", "test"), parts, (3, 1, 1), strict=True):
        left, right = generator.choice(part, (2, rows * share // 5))
        pixels = np.concatenate([digits.images[left], digits.images[right]], 2).astype(int)
        names = [f"row{i}_column{j}" for i in range(8) for j in range(16)]
        table = pd.DataFrame(pixels.reshape(len(pixels), -1), columns=names)
        for digit in range(10):
            seen = (digits.target[left] == digit) | (digits.target[right] == digit)
            table[f"has_{digit}"] = np.where(seen, "yes", "no")
        table["split"] = name
        tables.append(table)
    constant = [name for name in names if tables[0][name].nunique() == 1]
    pd.concat(tables).drop(columns=constant).to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(Path(__file__).with_name("digit_pairs.csv"), *map(int, sys.argv[1:]))
