"""Tables split, prepared and batched: what each argument does, and what is refused."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pd = pytest.importorskip("pandas", reason="data extra")

from hybridlit import SequentialHybrid, TableDataModule  # noqa: E402
from hybridlit.data.columns import Column  # noqa: E402
from hybridlit.data.scaling import Scaler  # noqa: E402
from hybridlit.data.splits import split_groups  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture
def frame(generator):
    rows = 120
    return pd.DataFrame(
        {
            "row": [f"r{i}" for i in range(rows)],
            "size": generator.normal(5, 2, rows).astype(np.float32),
            "town": generator.choice(["a", "b", "c"], rows),
            "open": generator.choice([True, False], rows),
            "person": generator.integers(0, 30, rows),
            "kind": generator.choice(["cat", "dog", "eel"], rows),
            "price": generator.normal(100, 20, rows),
        }
    )


def parts(data):
    return {"train": data.train, "val": data.val, "test": data.test}


def test_names_of_rows_may_be_missing(frame):
    frame["number"] = np.where(np.arange(120) % 7, np.arange(120), np.nan)  # as files have it
    frame["row"] = frame["row"].where(np.arange(120) % 5 > 0)
    data = TableDataModule(frame, "kind", id=["row", "number"])
    ids = data.preprocessing.inputs.read(frame.head(3)).ids
    assert ids == {"row": [None, "r1", "r2"], "number": [None, 1, 2]}
    assert str(ids["number"][1]) == "1" and None in data.ids["train"]["row"]


def test_rows_prepared_in_training_are_those_of_a_prediction(frame):
    data = TableDataModule(frame, "kind", id="row", drop=["price"])
    assert data.input_shape == (6,) and data.num_classes == 3 and data.output_dim("regression") == 1
    assert data.preprocessing.targets.classes == ["cat", "dog", "eel"]
    seen = []
    for name, (inputs, targets) in parts(data).items():
        numbers = [int(row[1:]) for row in data.ids[name]["row"]]
        seen += numbers
        raw = data.preprocessing.inputs.read(frame.iloc[numbers])
        assert torch.equal(data.preprocessing(raw.values), inputs)
        assert [["cat", "dog", "eel"][k] for k in targets] == frame["kind"][numbers].tolist()
        assert raw.ids == data.ids[name]
    assert sorted(seen) == list(range(120))
    train = frame.iloc[[int(row[1:]) for row in data.ids["train"]["row"]]]
    assert data.train[0][:, 0].mean().item() == pytest.approx(0, abs=1e-5)
    assert data.preprocessing.inputs.columns[0] == Column(
        "size",
        "number",
        [],
        train["size"].min().item(),
        train["size"].max().item(),
        float(train["size"].astype(float).median()),
        False,
    )


def test_facts_for_the_card(frame, tmp_path):
    frame.loc[:3, "size"] = np.nan
    frame.to_csv(tmp_path / "pets.csv", index=False)
    with pytest.warns(UserWarning, match="4 rows left out for missing values, 4 in 'size' of 120"):
        data = TableDataModule(
            tmp_path / "pets.csv", "kind", id="row", drop="price", missing="drop"
        )
    facts = data.preprocessing.facts
    assert facts["source"] == "pets.csv" and facts["data_module"] == "TableDataModule"
    assert facts["rows"] == {"train": 70, "val": 23, "test": 23} and facts["rows_left_out"] == 4
    assert facts["columns"]["town"] == "category" and facts["roles"]["id"] == ["row"]
    assert dict(data.hparams)["path"] == str(tmp_path / "pets.csv")


def test_nothing_of_a_table_in_memory_is_kept(frame):
    data = TableDataModule(frame, target="kind", id="row", seed=3)
    assert "path" not in data.hparams and data.hparams["seed"] == 3
    assert not any(isinstance(value, pd.DataFrame) for value in vars(data).values())
    assert frame.shape == (120, 7)


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "classes", "task"),
    [
        (["b", "a"] * 10, "auto", ["a", "b"], "binary"),
        (["1", "2", "3", "1"] * 5, "auto", ["1", "2", "3"], "multiclass"),
        ([True, False] * 10, "auto", [False, True], "binary"),
        (["yes", "no"] * 10, "auto", ["no", "yes"], "binary"),
        ([3, 5, 7, 7] * 5, "auto", [3, 5, 7], "multiclass"),
        (pd.Categorical([2, 1] * 10), "auto", [1, 2], "binary"),
        ([0.5, 1.5] * 10, "class", [0.5, 1.5], "binary"),
        ([1.0, 2.0] * 10, "class", [1, 2], "binary"),
        ([1.0, 2.0] * 10, "auto", None, "regression"),
        ([3, 5, 7, 7] * 5, "value", None, "regression"),
        (range(21), "auto", None, "regression"),
        ([True, False] * 10, "value", None, "regression"),
    ],
)
def test_classes_and_values(values, kind, classes, task):
    frame = pd.DataFrame({"x": np.arange(len(values)) % 5, "y": values})
    data = TableDataModule(frame, "y", target_kind=kind)
    assert data.preprocessing.targets.classes == classes and data.task_of_target == task
    assert data.train[1].is_floating_point() == (classes is None)
    if classes is not None:
        found = data.preprocessing.targets.classes
        assert [type(label) for label in found] == [type(label) for label in classes]
    assert data.output_dim(task) == (len(classes) if task == "multiclass" else 1)


def test_integers_that_gaps_have_made_floats_are_integers():
    frame = pd.DataFrame({"x": np.arange(31.0), "y": [1, 2, 3] * 10 + [None]})
    with pytest.warns(UserWarning, match="1 in 'y' of 31 rows"):
        data = TableDataModule(frame, "y", missing="drop")
    assert data.preprocessing.targets.classes == [1, 2, 3]


def test_several_values_in_their_own_units(frame):
    data = TableDataModule(frame, ["price", "size"], drop=["row", "kind"])
    assert data.train[1].shape == (72, 2) and data.output_dim("regression") == 2
    assert data.train[1].mean(0).abs().max() < 1e-5
    assert data.preprocessing.targets.names == ["price", "size"]
    own = torch.from_numpy(frame[["price", "size"]].to_numpy(np.float64))
    found = data.unscale_targets(torch.cat([part[1] for part in parts(data).values()]))
    torch.testing.assert_close(found.sum(0), own.sum(0).float())
    plain = TableDataModule(frame, "price", drop=["row", "kind"], target_scaling=None)
    assert plain.train[1].mean() > 90


# --- splits and weights ---------------------------------------------------------------------------


def test_classes_have_their_share_of_each_split(frame):
    data = TableDataModule(frame, "kind", drop="row")
    counts = np.array([np.bincount(part[1], minlength=3) for part in parts(data).values()])
    whole = frame["kind"].value_counts().sort_index().to_numpy()
    assert (abs(counts / whole - [[0.6], [0.2], [0.2]]) < 1 / whole.min()).all()
    other = TableDataModule(frame, "kind", drop="row", seed=1)
    assert not torch.equal(other.test[0], data.test[0])


def test_groups_stay_together(frame):
    data = TableDataModule(frame, "kind", id=["row", "person"], group="person")
    people = [set(data.ids[part]["person"]) for part in ("train", "val", "test")]
    assert len(set.union(*people)) == sum(map(len, people)) == frame["person"].nunique()
    sizes = data.rows_by_split()
    assert abs(sizes["val"] - 24) <= 4 and abs(sizes["test"] - 24) <= 4
    more = TableDataModule(frame, "kind", id="row", group="person", val_fraction=0.4)
    assert more.ids["test"]["row"] == data.ids["test"]["row"]
    again, other = (
        TableDataModule(frame, "kind", id=["row", "person"], group="person", seed=seed, test_seed=0)
        for seed in (1, 2)
    )
    assert again.ids["test"] == other.ids["test"] == data.ids["test"]
    assert again.ids["val"] != other.ids["val"]
    assert not set(again.ids["val"]["person"]) & set(again.ids["train"]["person"])
    with pytest.raises(ValueError, match="the training split of 6 rows is empty"):
        split_groups(torch.tensor([0, 0, 0, 1, 1, 1]), {"val": 0.2, "test": 0.2}, seed=0)


def test_a_column_says_the_split(frame):
    frame["part"] = ["Train", "training", "dev", "test "] * 30
    data = TableDataModule(frame, "kind", id="row", split="part")
    assert data.ids["val"]["row"] == frame["row"][2::4].tolist()
    assert data.ids["test"]["row"] == frame["row"][3::4].tolist()
    frame["part"] = ["train", "train", "train", "test"] * 30
    data = TableDataModule(frame, "kind", id="row", split="part")
    assert data.rows_by_split() == {"train": 72, "val": 18, "test": 30}
    data = TableDataModule(frame, "kind", id="row", split="part", val_fraction=0)
    assert data.val is None and data.val_dataloader() == []


def test_calibration_rows_by_fraction_by_group_and_by_a_column(frame):
    data = TableDataModule(frame, "kind", id="row", calibration_fraction=0.1)
    assert data.rows_by_split()["calibration"] == len(data.ids["calibration"]["row"]) == 12
    assert data.preprocessing.facts["rows"]["calibration"] == 12
    groups = TableDataModule(
        frame, "kind", id=["row", "person"], group="person", calibration_fraction=0.2
    )
    people = [set(ids["person"]) for ids in groups.ids.values()]
    assert len(people) == 4 and sum(map(len, people)) == frame["person"].nunique()
    frame["part"] = ["train", "train", "calibration", "test"] * 30
    data = TableDataModule(frame, "kind", id="row", split="part")
    assert data.ids["calibration"]["row"] == frame["row"][2::4].tolist()


def test_weights_are_the_third_of_a_batch(frame):
    data = TableDataModule(frame, "kind", id="row", weight="person", batch_size=7)
    assert all(len(part) == 3 and part[2].shape == part[1].shape for part in parts(data).values())
    numbers = [int(row[1:]) for row in data.ids["train"]["row"]]
    assert data.train[2].tolist() == frame["person"][numbers].tolist()
    inputs, _, weights = next(iter(data.train_dataloader()))
    assert inputs.shape == (7, 6) and weights.dtype == torch.float32
    assert "person" not in data.preprocessing.inputs.raw_names


# --- what is refused ------------------------------------------------------------------------------


def changed(frame, **columns):
    return frame.assign(**columns)


REFUSED = {
    "no target": ({"target": "kinds"}, {}, r"target .*got 'kinds' \(did you mean 'kind'\?\)"),
    "nothing near": ({"target": "zzz"}, {}, "got 'zzz'; there are 'row', .* and 2 more"),
    "no id": ({"id": ["rows"]}, {}, "id must be a column of the table, got 'rows'"),
    "no categorical": ({"categorical": ["twon"]}, {}, "categorical .*did you mean 'town'"),
    "target twice": ({"target": ["price", "price"]}, {}, "target must be named once"),
    "target as id": ({"target": "row"}, {}, "target must be named once, and nowhere else"),
    "no targets": ({"target": []}, {}, "target must name at least one column"),
    "nothing left": (
        {"drop": ["row", "size", "town", "open", "person", "price"]},
        {},
        "must have columns besides",
    ),
    "names": ({"id": None}, {}, r"'row' holds names of rows or free text \(120 different .*id or"),
    "dates": ({}, {"size": "2020-02-03"}, "'size' holds dates or times: give numbers made of"),
    "two of a kind": (
        {},
        {"size": "2020-02-03", "price": "2020-02-03"},
        "'size' holds dates or times, and likewise 'price'",
    ),
    "mixed": (
        {},
        {"size": ["Zebra"] * 3 + [1.0] * 117},
        r"'size' holds text among numbers \(text in 3 of 120 rows\): correct these cells",
    ),
    "empty": ({}, {"size": None}, "'size' holds nothing: name it in drop"),
    "lists": ({}, {"size": [[1]] * 120}, "'size' holds lists, complex numbers or other"),
    "complex": ({}, {"size": 1j}, "'size' holds lists, complex numbers or other"),
    "infinite": ({}, {"size": [np.inf] * 2 + [1.0] * 118}, "infinite ones, 2 in 'size' of 120"),
    "gaps": (
        {},
        {"size": [None] * 2 + [1.0] * 118, "town": ["a"] * 119 + [None]},
        "missing='error' refuses missing values, got 2 in 'size' and 1 in 'town' of 120 rows",
    ),
    "gaps in targets": (
        {},
        {"kind": ["a", "b"] * 59 + [None] * 2},
        "refuses missing values, got 2 in 'kind' of 120 rows: .* leave out rows without a target",
    ),
    "gaps in weights": (
        {"missing": "impute", "weight": "size"},
        {"size": [None] * 3 + [1.0] * 117, "kind": [None, *["a", "b", "a"] * 39, "a", "b"]},
        "never filled, 2 in 'size' of 120 rows",
    ),
    "no whole targets": (
        {"missing": "impute", "target": ["size", "price"], "drop": "kind"},
        {"size": [None] * 60 + [1.0] * 60, "price": [1.0] * 60 + [None] * 60},
        "missing='impute' leaves no row, .*: predict other columns",
    ),
    "nothing after drop": (
        {"missing": "drop"},
        {"size": [None] * 60 + [1.0] * 60, "price": [1.0] * 60 + [None] * 60},
        "missing='drop' leaves no row",
    ),
    "one class": ({}, {"kind": "Zebra"}, "'kind' must have at least 2 classes, got 1 in 120 rows"),
    "a class a row": (
        {"target": "row", "id": None},
        {},
        "target 'row' must hold classes or numbers, got names of rows or free text, 120 different",
    ),
    "words among numbers": (
        {"target": "price"},
        {"price": ["Zebra"] * 3 + ["1"] * 117},
        "got text among numbers, text in 3 of 120 rows: .* or give target_kind='class'",
    ),
    "one value": ({"target": "price"}, {"price": 1.5}, "target 'price' must vary"),
    "infinite target": ({"target": "price"}, {"price": [np.inf, 1.0] * 60}, "in 60 of 120 rows"),
    "several classes": (
        {"target": ["kind", "price"]},
        {},
        "all be values, or .* classes in 'kind' and ",
    ),
    "text as values": ({"target_kind": "value"}, {}, "'kind' must hold numbers for target_kind"),
    "scaled classes": ({"target_scaling": "standard"}, {}, "needs values, got classes in 'kind'"),
    "unknown split": (
        {"split": "town"},
        {},
        "must say train, val, test or calibration of each row, got another word in 120 of 120 rows",
    ),
    "no training rows": ({"split": "town"}, {"town": "test"}, "must say train of some rows"),
    "torn groups": (
        {"split": "town", "group": "person"},
        {"town": ["train", "test"] * 60},
        "rows of a group together, got .* groups of 'person' in several splits",
    ),
    "negative weights": ({"weight": "size"}, {"size": -1.0}, "at least 0, .* in 120 of 120 rows"),
    "no weights": ({"weight": "size"}, {"size": 0.0}, "got 0 in all rows of train"),
    "text as weights": ({"weight": "town"}, {}, "weight 'town' must be numbers"),
    "too large": ({"scaling": None}, {"size": 1e300}, "'size' must be at most 3.4e.38 after"),
    "too fine": (
        {"scaling": None},
        {"size": 1e9 + np.arange(120) / 1e3},
        "'size' varies, and is constant in torch.float32",
    ),
    "fractions": ({"val_fraction": 0.6, "test_fraction": 0.5}, {}, "must be below 1, got 0.6"),
    "drop_last": ({"batch_size": 100, "drop_last": True}, {}, "leaves nothing of 72 training"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_refusals_name_columns_and_counts_and_show_no_cell(frame, case):
    arguments, columns, words = REFUSED[case]
    given = {"target": "kind", "id": "row", **arguments}
    with pytest.raises(ValueError, match=words) as refusal:
        TableDataModule(changed(frame, **columns), **given)
    said = str(refusal.value)
    assert "Zebra" not in said and "\n" not in said and len(said) < 300


def test_a_table_without_names_shows_no_cell(tmp_path):
    (tmp_path / "table.csv").write_text("5.1,3.5,Zebra\n4.2,1.1,Zebra\n")
    with pytest.raises(ValueError, match="got 'kind': a line of names seems to be missing") as no:
        TableDataModule(tmp_path / "table.csv", "kind")
    assert "Zebra" not in str(no.value) and "5.1" not in str(no.value)
    numbered = pd.DataFrame(np.arange(40.0).reshape(20, 2))
    numbered.to_csv(tmp_path / "table.csv", index=False)
    assert TableDataModule(tmp_path / "table.csv", "1").num_features == 1


def test_one_row(frame):
    with pytest.raises(ValueError, match="at least 2 classes, got 1 in 1 rows"):
        TableDataModule(frame[:1], "kind", id="row")
    with pytest.raises(ValueError, match="must vary, got one value in all 1 rows"):
        TableDataModule(frame[:1], "price", id="row")


def test_a_constant_column_is_kept_and_told(frame):
    frame["size"], frame["town"] = 3.5, "a"
    with pytest.warns(UserWarning, match="nothing can be learned from 'size' and 'town', with one"):
        data = TableDataModule(frame, "kind", id="row")
    assert (data.train[0][:, 0] == 0).all() and (data.train[0][:, 1] == 1).all()


def test_gaps_are_filled_by_training_rows(frame):
    frame.loc[::5, "size"] = np.nan
    frame.loc[::7, "town"] = None
    data = TableDataModule(frame, "kind", id="row", missing="impute", scaling=None)
    train = frame[frame["row"].isin(data.ids["train"]["row"])]
    filled = train["size"].astype(float).fillna(train["size"].astype(float).median())
    np.testing.assert_allclose(data.train[0][:, 0], filled, rtol=1e-6)
    town = train["town"].fillna(train["town"].mode()[0])
    assert data.train[0][:, 1].tolist() == (town == "a").astype(float).tolist()
    scaled = TableDataModule(frame, "kind", id="row", missing="impute")
    expected = Scaler.fit(torch.tensor(filled.to_numpy())[:, None], "standard").scale
    torch.testing.assert_close(scaled.preprocessing.inputs.scaler.scale[:1], expected)


def test_rows_without_a_target_are_left_out_whatever_else_is_filled(frame):
    frame.loc[::5, "size"] = np.nan
    frame.loc[[3, 5], "price"] = np.nan
    with pytest.warns(UserWarning, match="2 rows left out for missing values, 2 in 'price' of 120"):
        data = TableDataModule(frame, "price", id="row", missing="impute")
    assert data.preprocessing.facts["rows_left_out"] == 2
    rows = {row for ids in data.ids.values() for row in ids["row"]}
    assert rows == set(frame["row"]) - {"r3", "r5"}
    assert all(part[1].isfinite().all() for part in parts(data).values())


def test_categories_that_no_training_row_has_are_told(frame):
    frame["part"] = ["train", "val", "test", "train"] * 30
    frame.loc[[1, 5, 6], "town"] = ["Zebra", "Zebra", "Quagga"]
    frame["door"] = ["left", "Zebra", "right", "right"] * 30
    with pytest.warns(UserWarning) as told:
        data = TableDataModule(frame, "kind", id="row", split="part")
    (said,) = [str(each.message) for each in told]
    assert "all of their features, 3 in 'town' and 30 in 'door' of 60 rows" in said
    assert "Zebra" not in said and "Quagga" not in said
    assert data.preprocessing.inputs.columns[1].labels == ["a", "b", "c"]
    assert (data.val[0][:2, 1:4] == 0).all() and (data.train[0][:, 1:4].sum(1) == 1).all()


def test_without_some_splits(frame):
    data = TableDataModule(frame, "kind", id="row", val_fraction=0, test_fraction=0)
    assert data.val is None and data.test is None and data.rows_by_split()["train"] == 120


# --- in use ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "task"), [("kind", "multiclass"), ("price", "regression")])
def test_a_model_keeps_what_rows_are_prepared_by(frame, make_trainer, target, task):
    data = TableDataModule(frame, target, id="row", weight="person", batch_size=16)
    model = SequentialHybrid(
        data.num_features, 2, data.output_dim(task), task=task, n_modes=4, n_photons=2
    )
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, data)
    assert model.preprocessing.same_as(data.preprocessing)
    assert trainer.test(model, data, verbose=False)[0]["test/loss"] > 0


def test_the_recipe_s_table_is_what_its_script_writes(tmp_path):
    pytest.importorskip("sklearn", reason="recipes extra")
    tables = ROOT / "recipes" / "tables"
    runpy.run_path(str(tables / "make_wine.py"))["main"](tmp_path / "wine.csv")
    assert (tmp_path / "wine.csv").read_text() == (tables / "wine.csv").read_text()


PEAK = """
import resource, sys
import numpy, pandas, pyarrow, pyarrow.parquet
from hybridlit import TableDataModule

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

TableDataModule({"a": [*range(20)], "y": [0, 1] * 10}, "y")
before = peak()
data = TableDataModule(sys.argv[1], "y")
size = sum(part[0].nbytes for part in (data.train, data.val, data.test))
print((peak() - before) / size)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_a_large_table_takes_at_most_three_times_its_size(tmp_path, generator):
    """Peak of resident memory above that of the imports, over the size of the features."""
    pyarrow = pytest.importorskip("pyarrow", reason="data extra")
    parquet = pytest.importorskip("pyarrow.parquet", reason="data extra")
    rows = 400_000
    columns = {f"x{i}": generator.normal(size=rows).astype(np.float32) for i in range(100)}
    table = pyarrow.table({**columns, "y": generator.integers(0, 3, rows)})
    parquet.write_table(table, tmp_path / "large.parquet", row_group_size=100_000)
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large.parquet")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert float(result.stdout) <= 3
