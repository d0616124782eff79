"""Write diabetes.csv beside this file: scikit-learn's diabetes in the units of the measurements."""

from pathlib import Path

from sklearn.datasets import load_diabetes

NAMES = ["age", "sex", "bmi", "blood_pressure", "tc", "ldl", "hdl", "tch", "ltg", "glucose"]


def main(path: Path) -> None:
    found = load_diabetes(as_frame=True, scaled=False)
    table = found.data.set_axis(NAMES, axis=1)
    table["sex"] = table["sex"].map({1.0: "group_1", 2.0: "group_2"})
    table["age"] = table["age"].astype(int)
    table["progression"] = found.target
    table.to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(Path(__file__).with_name("diabetes.csv"))
