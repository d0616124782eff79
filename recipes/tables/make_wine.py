"""Write wine.csv beside this file: scikit-learn's wines as the tables that people have.

Classes by name, an id, a colour in words, a yes or no, and gaps.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

CULTIVARS = ["barolo", "grignolino", "barbera"]


def main(path: Path) -> None:
    generator = np.random.default_rng(0)
    wine = load_wine(as_frame=True)
    table = wine.data.rename(columns={"od280/od315_of_diluted_wines": "od280_od315"})
    table.insert(0, "bottle", [f"w{number:03}" for number in range(1, len(table) + 1)])
    words = ["pale", "ruby", "deep"]
    table["colour"] = pd.cut(table.pop("color_intensity"), [0, 3, 6, 20], labels=words)
    table["mild"] = np.where(table.pop("malic_acid") < 2, "yes", "no")
    for name in ("magnesium", "proline", "colour"):
        table.loc[generator.random(len(table)) < 0.04, name] = None
    table["cultivar"] = [CULTIVARS[target] for target in wine.target]
    order = generator.permutation(len(table))
    table.iloc[order].to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(Path(__file__).with_name("wine.csv"))
