"""Write rare.csv beside this file: 2,400 rows of two classes, of which one in twenty is rare.

From scikit-learn's generator: blobs of the classes that overlap, mixed into 6 columns.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification


def main(path: Path) -> None:
    x, y = make_classification(
        2400,
        6,
        n_informative=5,
        n_redundant=1,
        weights=[0.95],
        class_sep=0.9,
        flip_y=0,
        random_state=1,
    )
    table = pd.DataFrame(x.round(2), columns=[f"sensor_{number}" for number in range(1, 7)])
    table["state"] = np.where(y, "rare", "common")
    table.to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(Path(__file__).with_name("rare.csv"))
