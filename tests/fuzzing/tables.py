"""Cases of tables: columns of any kind, gaps, files, parts that columns play, broken ones."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from fuzzing.data import SPLIT, check_scaling
from fuzzing.judging import Case
from fuzzing.oracles import check_close, check_finite, require
from fuzzing.values import drawn, one_of
from hybridlit import TableDataModule
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.splits import SPLITS

try:
    import pandas
except ImportError:
    pandas = None

__all__ = ["KINDS"]

FAULTS = ("inf", "date", "text", "mixed", "empty", "list", "twice", "unnamed", "one class", "gap")


def feature(rng: Random, generator: np.random.Generator, rows: int) -> Any:
    """Draw a column without gaps."""
    kinds = ["float32", "float64", "integer", "word", "category", "bool", "yes", "digits"]
    kind = rng.choice(kinds)
    if kind in ("float32", "float64"):
        scale = rng.choice([1.0, 1e-6, 1e6])
        return pandas.Series(generator.normal(3, 1, rows) * scale, dtype=kind)
    if kind == "integer":
        return pandas.Series(generator.integers(-3, 300, rows))
    if kind == "bool":
        return pandas.Series(generator.choice([True, False], rows))
    words = {"yes": ["yes", "No"], "digits": ["1", "22"]}.get(kind, ["a b", 'ü, "c"', "d;e"])
    column = pandas.Series(generator.choice(words, rows))
    return column.astype("category") if kind == "category" else column


def table(rng: Random) -> tuple[Any, dict[str, Any], str | None]:
    """Draw a table, arguments that fit it, and say what is wrong with it, if anything is."""
    generator = np.random.default_rng(rng.randrange(2**32))
    rows = rng.choice([30, 60])
    names = rng.sample(["a", "b c", "d.1", "e", "ö"], rng.randint(1, 4))
    frame = pandas.DataFrame({name: feature(rng, generator, rows) for name in names})
    arguments: dict[str, Any] = {"target": "y", "id": "row"}
    gaps = rng.random() < 0.3
    if gaps:
        arguments["missing"] = rng.choice(["drop", "impute"])
        for name in names:
            frame[name] = frame[name].mask(generator.random(rows) < 0.1)
    frame["row"] = [f"r{number}" for number in range(rows)]
    frame["y"] = rng.choice(
        [
            np.array(["x", "z"])[np.arange(rows) % 2],
            np.arange(rows) % 3 + 1,
            np.arange(rows) % 2 == 0,
            generator.normal(100, 5, rows),
        ]
    )
    if rng.random() < 0.2:
        frame["w"], arguments["weight"] = generator.integers(1, 5, rows), "w"
    if rng.random() < 0.2:
        frame["g"], arguments["group"] = generator.integers(0, 12, rows), "g"
    if rng.random() < 0.8:
        return frame, arguments, None
    fault, first = rng.choice(FAULTS), names[0]
    bad = {
        "inf": [np.inf] + [1.0, 2.5] * (rows // 2 - 1) + [3.0],
        "date": pandas.date_range("2020-01-01", periods=rows),
        "text": [f"text {number}" for number in range(rows)],
        "mixed": ["x"] + ["1", "2"] * (rows // 2 - 1) + ["3"],
        "empty": [None] * rows,
        "list": [[1.0]] * rows,
        "gap": [None] + [1.0, 2.5] * (rows // 2 - 1) + [3.0],
    }
    if fault in bad:
        frame[first] = bad[fault]
    elif fault == "one class":
        frame["y"] = "x"
    elif fault == "twice":
        frame = frame.rename(columns={first: "row"})
    else:
        frame = frame.rename(columns={first: " "})
    if fault == "gap":
        arguments["missing"] = "error"
    return frame, arguments, fault


def table_data(rng: Random) -> Case:
    """A data module over a table, in memory or from a file, and its rows as new ones."""
    frame, arguments, fault = table(rng)
    given, wrong = drawn(rng, SPLIT | {"target_kind": one_of("auto")}, (), 0.15)
    values = frame["y"].dtype.kind == "f"
    if not values and given.get("target_scaling") in ("standard", "minmax"):
        wrong = wrong or "target_scaling"
    form = rng.choice(["frame", "dict", "csv", "tsv", "parquet"])
    if fault in ("twice", "unnamed", "list"):
        form = "frame"

    def call() -> TableDataModule:
        with TemporaryDirectory() as folder:
            path: Any = Path(folder, f"table.{form}")
            if form == "parquet":
                frame.to_parquet(path)
            elif form in ("csv", "tsv"):
                frame.to_csv(path, index=False, sep=";" if form == "csv" else "\t")
            else:
                path = frame if form == "frame" else dict(frame)
            return TableDataModule(path, **arguments, **given)

    def check(data: TableDataModule) -> None:
        parts = {name: getattr(data, name) for name in SPLITS}
        ids = [row for part in parts for row in data.ids[part]["row"]]
        left_out = data.preprocessing.facts["rows_left_out"]
        require(len(set(ids)) == len(ids) == len(frame) - left_out, "each row once")
        keeper = Preprocessing.from_state(data.preprocessing.state())
        rows = frame.set_index("row", drop=False)
        for name, part in parts.items():
            if part is None:
                continue
            chosen = rows.loc[data.ids[name]["row"]]
            order = rng.sample(range(chosen.shape[1]), chosen.shape[1])
            again = keeper(keeper.inputs.read(chosen.iloc[:, order]).values)
            if form in ("csv", "tsv"):  # float32 as text is another number
                check_close(again, part[0], 1e-4, f"rows of {name} read again")
            else:
                require(bool(torch.equal(again, part[0])), f"rows of {name} read again")
            check_finite(part[0], "prepared rows")
            if values:
                own = torch.tensor(chosen["y"].to_numpy(np.float64))
                check_close(data.unscale_targets(part[1]).double(), own, 1e-3, "targets")
            else:
                labels = [keeper.targets.classes[index] for index in part[1].tolist()]
                require(labels == chosen["y"].tolist(), "labels")
            if "weight" in arguments:
                require(part[2].tolist() == chosen["w"].tolist(), "weights")
        if "group" in arguments:
            sides = [set(rows.loc[data.ids[name]["row"], "g"]) for name in parts]
            require(sum(map(len, sides)) == len(set.union(*sides)), "groups in several splits")
        kinds = set(data.preprocessing.facts["columns"].values())
        if kinds == {"number"}:
            check_scaling(data, given)

    return Case(
        "TableDataModule",
        {"path": f"{form} of {frame.dtypes.tolist()}, {fault}", **arguments, **given},
        (*SPLIT, "column", "columns", "table", "missing"),
        call,
        check,
        wrong or fault,
    )


KINDS = {table_data: 6} if pandas is not None else {}
