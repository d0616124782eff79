"""Raw rows in, labels and values with names out, the same as a Trainer finds on prepared rows."""

import csv
import os

import numpy as np
import pandas as pd
import pytest
import torch
from model_state import same, snapshot
from PIL import Image
from torch import nn

from hybridlit import (
    ArrayDataModule,
    ImageFolderDataModule,
    ParallelBankHybrid,
    ParallelHybrid,
    Predictions,
    ResidualHybrid,
    SequenceDataModule,
    SequentialHybrid,
    TableDataModule,
    load,
)
from hybridlit.templates.predictions.predicting import labelled, predicted, read_rows, scores

SMALL = dict(n_modes=4, n_photons=2)
TEMPLATES = [SequentialHybrid, ParallelHybrid, ResidualHybrid, ParallelBankHybrid]
TASKS = {"multiclass": 3, "binary": 1, "regression": 1, "several": 2}


class Own(SequentialHybrid):
    """A subclass with a network of its own."""

    def build_classical_post(self):
        return nn.Sequential(
            super().build_classical_post(), nn.Linear(self.task.output_dim, self.task.output_dim)
        )


def make(cls, outputs, **options):
    torch.manual_seed(0)
    if issubclass(cls, SequentialHybrid):
        options["quantum_dim"] = 2
    return cls(input_dim=3, output_dim=outputs, **SMALL, **options)


def table(task, count=90):
    generator = np.random.default_rng(0)
    rows = 100 + 20 * generator.normal(size=(count, 3))
    value = rows[:, 0] + rows[:, 1]
    targets = {
        "multiclass": np.digitize(value, np.quantile(value, [0.33, 0.67])),
        "binary": (value > np.median(value)).astype(int),
        "regression": 5000 + value,
        "several": np.stack([5000 + value, rows[:, 2] - 3], 1),
    }
    return pd.DataFrame(rows, columns=["left", "middle", "right"]), targets[task]


@pytest.fixture
def trained(make_trainer, tmp_path):
    def train(cls, task, **options):
        rows, targets = table(task)
        data = ArrayDataModule(rows, targets, batch_size=16)
        name = "regression" if task == "several" else task
        model = make(cls, TASKS[task], task=name, **options)
        trainer = make_trainer(max_epochs=2)
        trainer.fit(model, data)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        (tested,) = trainer.test(model, data, verbose=False)
        return model, data, tested, trainer, tmp_path / "model.ckpt"

    return train


FAST = [*zip(TEMPLATES, TASKS, strict=True), (Own, "multiclass")]


@pytest.mark.parametrize(
    ("cls", "task"),
    [
        pytest.param(cls, task, marks=[] if (cls, task) in FAST else pytest.mark.slow)
        for cls in (*TEMPLATES, Own)
        for task in TASKS
    ],
)
def test_raw_rows_give_what_a_trainer_gives_on_prepared_ones(cls, task, trained):
    model, data, tested, trainer, path = trained(cls, task)
    rows, targets = table(task)
    # which rows are the test rows
    prepared = data.scale(rows)
    chosen = [int((prepared == row).all(1).nonzero()) for row in data.test[0]]
    raw = rows.iloc[chosen][["right", "left", "middle"]]
    loaded = load(path, [Own])
    found = loaded.predict(raw, batch_size=7)
    expected = torch.cat(trainer.predict(model, data)).double()
    own = predicted(loaded, read_rows(loaded, raw), 7)
    torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-6)
    wanted = torch.as_tensor(targets[chosen])
    for name, value in scores(loaded, own, wanted).items():
        assert value == pytest.approx(tested[f"test/{name}"], rel=1e-5, abs=1e-6)
    columns = np.array([found[name] for name in found.columns], float).T
    if task in ("regression", "several"):
        assert (
            list(found.columns)
            == {"regression": ["target"], "several": ["target_0", "target_1"]}[task]
        )
        np.testing.assert_allclose(columns, own, rtol=1e-12)
        assert abs(columns[:, 0].mean() - 5200) < 100
    else:
        classes = max(2, TASKS[task])
        assert list(found.columns) == ["target", *(f"probability_{c}" for c in range(classes))]
        np.testing.assert_allclose(columns[:, 1:].sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(columns[:, -1], own[:, -1], rtol=1e-12)
        accuracy = (np.array(found["target"]) == targets[chosen]).mean()
        assert accuracy == pytest.approx(tested["test/acc"])


def test_labels_are_those_of_the_data(trained):
    model, *_ = trained(ParallelHybrid, "multiclass")
    model.preprocessing.targets.classes = ["low", "mid", "high"]
    found = model.predict(table("multiclass")[0])
    assert set(found["target"]) <= {"low", "mid", "high"}
    assert list(found.columns)[1:] == ["probability_low", "probability_mid", "probability_high"]
    model.preprocessing.targets.classes = ["low", "mid"]
    assert list(model.predict(table("multiclass")[0]).columns)[-1] == "probability_index 2"


def test_what_was_not_in_the_training_rows_is_flagged(trained):
    model, *_ = trained(ParallelHybrid, "regression")
    rows, _ = table("regression", 3)
    assert "flags" not in model.predict(rows).columns
    rows.loc[1, "middle"] = 1e4
    found = model.predict(rows)
    assert found["flags"] == ["", "middle far above the training rows", ""]
    assert list(found.columns) == ["target", "flags"]
    rows.loc[1, "middle"] = 1e60  # too large for float32
    found = model.predict(rows)
    assert found["target"][1] is None and None not in (found["target"][0], found["target"][2])


def test_rows_without_a_number_have_no_prediction(trained):
    model, *_ = trained(ParallelHybrid, "multiclass")
    rows, targets = table("multiclass", 4)
    raw = read_rows(model, rows)
    raw.values[2, 1] = torch.nan
    raw = raw._replace(ids={"row": [5, 6, 7, 8]}, values=raw.values)
    predictions = predicted(model, raw, 2)
    found = labelled(model, raw, predictions)
    assert list(found.columns) == [
        "row",
        "target",
        *(f"probability_{c}" for c in range(3)),
        "flags",
    ]
    assert [found[name][2] for name in found.columns] == [
        7, None, None, None, None, "no prediction: values are missing, or no numbers come out"
    ]  # fmt: skip
    assert None not in found["target"][:2] and found["flags"][3] == ""
    kept = torch.tensor([0, 1, 3])
    three = scores(model, predictions[kept], torch.as_tensor(targets)[kept])
    assert scores(model, predictions, torch.as_tensor(targets)) == three


def test_rows_that_training_dropped_have_no_prediction(make_trainer):
    rows, targets = table("multiclass")
    rows["class"] = np.array(["a", "b", "c"])[targets]
    rows.loc[:4, "left"] = np.nan
    model = ParallelHybrid("auto", "auto", quantum_dim=2, **SMALL)
    with pytest.warns(UserWarning, match="left"):
        data = TableDataModule(rows, "class", missing="drop")
    make_trainer().fit(model, data)
    found = model.predict(rows.iloc[3:7])
    assert found["class"][:2] == found["probability_a"][:2] == [None, None]
    assert None not in found["class"][2:]
    assert found["flags"] == [*["left missing, as in no training row"] * 2, "", ""]
    again = type(data.preprocessing).from_state(data.preprocessing.state())
    assert again.inputs.missing == "drop" and again.same_as(data.preprocessing)


def test_a_look_leaves_everything_as_it_was(trained):
    model, *_ = trained(SequentialHybrid, "multiclass", dropout=0.5)
    rows, _ = table("multiclass")
    model.train()
    before = snapshot(model)
    first = model.predict(rows)
    assert model.training and same(snapshot(model), before)
    assert model.eval().predict(rows).columns == first.columns


def test_a_model_without_preparation_takes_prepared_numbers():
    model = make(ParallelHybrid, 3)
    x = torch.randn(6, 3)
    found = model.predict(x)
    assert found["target"] == model.eval()(x).argmax(1).tolist()
    assert model.predict(x.tolist()).columns == model.predict(x.numpy()).columns
    model.double()
    np.testing.assert_allclose(model.predict(x)["probability_0"], found["probability_0"], rtol=1e-4)
    with pytest.raises(ValueError, match=r"x must have shape \(batch, input_dim=3\)"):
        model.predict(torch.randn(6, 4))
    with pytest.raises(ValueError, match=r"rows must have shape \(rows, features\), got \(3,\)"):
        model.predict([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        model.predict(x, batch_size=0)


@pytest.fixture
def digits(tmp_path):
    """Images of two classes in folders, dark and light."""
    generator = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 180)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(30):
            pixels = generator.integers(level - 50, level + 50, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{index}.png")
    return tmp_path / "images"


def test_images_come_from_a_folder_with_their_names(digits, make_trainer):
    data = ImageFolderDataModule(digits, batch_size=20)
    model = ParallelHybrid("auto", "auto", front="cnn", quantum_dim=2, **SMALL)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, data)
    found = model.predict(digits)
    assert list(found.columns) == ["file", "class", "probability_dark", "probability_light"]
    row = [found["file"].index(name) for name in data.files["test"]]
    expected = torch.cat(trainer.predict(model, data))
    own = torch.tensor([[found[name][i] for name in list(found.columns)[2:]] for i in row])
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)
    one = model.predict(digits / "dark" / "3.png")
    assert len(one) == 1 and one["file"][0].endswith("dark/3.png")
    assert len(model.predict([])) == 0


def test_sequences_of_any_length_are_padded_as_in_training(make_trainer):
    generator = np.random.default_rng(0)
    given = {f"s{i}": generator.normal(5, 3, (1 + i % 7, 2)) for i in range(40)}
    values = np.array([1000 + 10 * each.sum() for each in given.values()])
    data = SequenceDataModule(given, values, batch_size=8)
    model = ParallelHybrid("auto", "auto", task="regression", front="gru", quantum_dim=2, **SMALL)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, data)
    found = model.predict(given)
    assert found["sequence"] == list(given)
    assert model.predict(list(given.values()))["target"] == found["target"]
    predicted = torch.cat(trainer.predict(model, data))[:, 0].double()
    wanted = data.unscale_targets(data.test[1].double())
    row = [int(np.abs(values - value).argmin()) for value in wanted.numpy()]
    np.testing.assert_allclose([found["target"][i] for i in row], predicted, rtol=1e-6)


def test_no_rows_are_an_empty_table(trained):
    model, *_ = trained(ParallelHybrid, "binary")
    rows, _ = table("binary")
    found = model.predict(rows.iloc[:0])
    assert len(found) == 0
    assert list(found.columns) == ["target", "probability_0", "probability_1"]
    assert str(found) == "target  probability_0  probability_1"


@pytest.mark.parametrize("kind", ["arrays", "table"])
def test_a_table_without_rows_has_the_columns_of_the_training(kind, trained, make_trainer):
    rows, targets = table("multiclass")
    model = ParallelHybrid("auto", "auto", quantum_dim=2, **SMALL)
    data = ArrayDataModule(rows, targets)
    if kind == "table":
        data = TableDataModule(rows.assign(target=targets), "target", target_kind="class")
    model.build(data)
    assert len(model.predict(rows.iloc[:0][["right", "left", "middle"]])) == 0
    for wrong in (rows[["left", "right"]].iloc[:0], pd.DataFrame({"height": []}), pd.DataFrame()):
        with pytest.raises(ValueError, match=r"columns of the training .*middle"):
            model.predict(wrong)


def test_an_array_without_rows_has_the_shape_of_the_training():
    rows, targets = table("multiclass")
    model = ParallelHybrid("auto", "auto", quantum_dim=2, **SMALL)
    model.build(ArrayDataModule(rows.to_numpy(), targets))
    assert len(model.predict(np.empty((0, 3)))) == len(model.predict([])) == 0
    with pytest.raises(ValueError, match=r"rows of shape \(3,\) .*, got \(0, 4\)"):
        model.predict(np.empty((0, 4)))


def test_an_array_model_reads_every_file_of_a_table(tmp_path):
    rows, targets = table("multiclass")
    model = ParallelHybrid("auto", "auto", quantum_dim=2, **SMALL)
    model.build(ArrayDataModule(rows, targets))
    wanted = model.predict(rows).columns
    rows = rows[["right", "left", "middle"]]
    rows.to_csv(tmp_path / "new.csv", index=False)
    rows.to_parquet(tmp_path / "new.parquet")
    np.savez(tmp_path / "new.npz", **{name: rows[name].to_numpy() for name in rows})
    np.save(tmp_path / "new.npy", rows[["left", "middle", "right"]].to_numpy())
    for suffix in (".csv", ".parquet", ".npz", ".npy"):
        path = tmp_path / f"new{suffix}"
        for given in (path, str(path)):
            assert model.predict(given).columns == wanted, suffix


ROWS = Predictions(
    {
        "file": ["a.png", "b,c.png"],
        "number": [1, 2],
        "species": ["größer", None],
        "share": [0.1 + 0.2, None],
        "yes": [True, False],
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npz", ".CSV"])
def test_a_table_comes_back_from_a_file(suffix, tmp_path):
    path = ROWS.write(tmp_path / "new" / f"table{suffix}")
    if suffix == ".npz":
        with np.load(path) as arrays:
            found = {name: arrays[name].tolist() for name in arrays.files}
        assert np.isnan(found["share"].pop()) and found["species"][1] == ""
        assert found["share"] == ROWS["share"][:1] and found["file"] == ROWS["file"]
        return
    if suffix == ".parquet":
        frame = pd.read_parquet(path)
    else:
        frame = pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",")
    pd.testing.assert_frame_equal(frame, ROWS.to_pandas(), check_dtype=False)
    if suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            assert next(csv.reader(file)) == list(ROWS.columns)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_names_of_rows_of_any_type_come_back(suffix, tmp_path):
    days = pd.date_range("2026-01-01", periods=4).tolist()
    ids = {"day": [*days[:3], None], "key": [1, None, 3, 4]}
    path = Predictions({**ids, "y": [0.5] * 4}).write(tmp_path / f"table{suffix}")
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".npz": np.load}[suffix]
    found = read(path)
    assert [str(day)[:10] for day in found["day"][:3]] == [str(day)[:10] for day in days[:3]]
    assert np.asarray(found["key"], float)[2] == 3 and str(found["day"][3]) in ("", "nan", "NaT")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
@pytest.mark.parametrize("at", ["replace", "fsync"])
def test_a_failure_leaves_the_table_from_before(suffix, at, tmp_path, monkeypatch):
    path = tmp_path / f"table{suffix}"
    path.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, at, full)
    with pytest.raises(OSError, match="No space left"):
        ROWS.write(path)
    assert os.listdir(tmp_path) == [path.name] and path.read_text() == "before"


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of \.csv, \.tsv, \.parquet, \.npz, got 'a\.xlsx'"):
        ROWS.write(tmp_path / "new" / "a.xlsx")
    assert not (tmp_path / "new").exists()


def test_a_table_is_shown_and_asked_by_name():
    assert str(ROWS).splitlines()[2].split() == ["b,c.png", "2", "False"]
    long = Predictions({"value": list(range(30))})
    assert str(long).splitlines()[-2:] == ["9", "... 30 rows"]
    assert len(long) == 30 and len(Predictions({})) == 0
    with pytest.raises(KeyError, match=r"no column 'x': there are \['value'\]"):
        long["x"]
