"""A checkpoint predicts in a process of its own what the training process has predicted."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hybridlit import ParallelHybrid, ResidualHybrid, TableDataModule

ALONE = """
import json
import hybridlit, pandas
rows = pandas.read_csv("new.csv", dtype={"code": str})
for name in ("kind", "price"):
    model = hybridlit.load(f"{name}.ckpt")
    with open(f"{name}.json", "w") as file:
        json.dump(model.predict(rows).columns, file)
"""


def table(rows, seed):
    """Every kind of column, each with gaps; codes with leading zeros."""
    generator = np.random.default_rng(seed)
    size, town = generator.normal(5e3, 1e3, rows), generator.choice(["Bonn", "Rome", "Oslo"], rows)
    made = {
        "size": size,
        "age": generator.integers(1, 90, rows).astype(float),
        "town": town,
        "code": generator.choice(["007", "7", "0123"], rows),
        "paid": generator.choice(["yes", "no"], rows),
    }
    frame = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in made.items()})
    value = size / 1e3 + 2.0 * (town == "Rome")
    for name in frame:
        frame.loc[generator.random(rows) < 0.15, name] = None
    frame[["size", "age"]] = frame[["size", "age"]].astype(float)
    frame["name"] = [f"row {index}" for index in range(rows)]
    return frame, value


@pytest.mark.slow
def test_a_process_that_imports_hybridlit_and_pandas_alone(tmp_path, make_trainer):
    """Raw rows in another order of columns, with gaps, for classes and for values."""
    rows, value = table(120, 0)
    rows["kind"] = np.where(value < 5, "small", np.where(value < 6, "middle", "large"))
    rows["price"] = 3e5 + 1e4 * value
    given = dict(id="name", missing="impute", batch_size=16)
    sizes = dict(quantum_dim=2, n_modes=4, n_photons=2)
    models = {
        "kind": (ParallelHybrid("auto", "auto", **sizes), "price"),
        "price": (
            ResidualHybrid("auto", "auto", task="regression", n_modes=4, n_photons=2),
            "kind",
        ),
    }
    new, _ = table(40, 1)
    assert new[["size", "age", "town", "code", "paid"]].isna().any().all()
    shuffled = new[["paid", "name", "code", "age", "town", "size"]]
    shuffled.to_csv(tmp_path / "new.csv", index=False)
    wanted = {}
    for target, (model, other) in models.items():
        trainer = make_trainer(max_epochs=3)
        trainer.fit(model, TableDataModule(rows, target, drop=[other], **given))
        trainer.save_checkpoint(tmp_path / f"{target}.ckpt")
        wanted[target] = model.predict(new).columns
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=tmp_path, env=os.environ, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    for target, columns in wanted.items():
        found = json.loads((tmp_path / f"{target}.json").read_text())
        assert list(found) == list(columns) and found["name"] == list(new["name"])
        for name, values in columns.items():
            if isinstance(values[0], float):
                assert np.std(values) > 0
                np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)
            else:
                assert found[name] == values
    assert np.mean(wanted["price"]["price"]) == pytest.approx(3.5e5, rel=0.05)
