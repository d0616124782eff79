"""From a table to predictions with names, by the command line alone."""

import contextlib
import importlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import ParallelHybrid, SequenceDataModule, load
from hybridlit.cli import main

predict = importlib.import_module("hybridlit.cli.predict")

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")

MODEL = {"input_dim": "auto", "output_dim": "auto", "hidden_dims": [4], "quantum_dim": 2}
MODEL |= {"n_modes": 4, "n_photons": 2}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def people(rows=120):
    """Mixed columns; `split` says which rows are for the test."""
    generator = np.random.default_rng(0)
    size, kind = generator.normal(50, 10, rows), generator.choice(["old", "new, or so"], rows)
    value = size + 20 * (kind == "old") + generator.normal(0, 1, rows)
    return pd.DataFrame(
        {
            "name": [f"person {index}" for index in range(rows)],
            "size": size,
            "kind": kind,
            "paid": generator.choice([True, False], rows),
            "species": np.select([value < 50, value < 65], ["cat", "dog"], "bird"),
            "price": 1000 * value,
            "weight": value - size,
            "split": np.repeat(["train", "val", "test"], rows // 3),
        }
    )


def run(place, target, drop, task="multiclass", gap=False, **options):
    """Train on a table."""
    table = people()
    table.loc[5, "size"] = None if gap else table["size"][5]
    table.to_csv(place / "people.csv", index=False)
    data = {"path": "people.csv", "target": target, "id": "name", "split": "split", "drop": drop}
    recipe = {
        "model": {"class_path": "ParallelHybrid", "init_args": {**MODEL, "task": task}},
        "data": {"class_path": "TableDataModule", "init_args": {**data, **options}},
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False},
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    main(["fit", "--config", "recipe.yaml"])


def score_of_the_test(said, metric):
    return float(re.search(rf"test/{metric}\W+([\d.]+)", said)[1])


@pytest.fixture(scope="module")
def of_species(tmp_path_factory):
    """Where a run of classes is, and what it has said."""
    place, said = tmp_path_factory.mktemp("species"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(place)
        run(place, "species", ["price", "weight"])
    return place, said.getvalue()


@pytest.fixture
def trained(of_species, place):
    """A copy of the run in the working folder, and what it has said."""
    there, said = of_species
    shutil.copytree(there, place, dirs_exist_ok=True)
    return said


def test_predictions_are_those_that_the_test_has_scored(trained, place, capsys):
    accuracy = score_of_the_test(trained, "acc")
    rows = people().query("split == 'test'").sample(frac=1, random_state=1)
    rows[["kind", "paid", "species", "name", "size"]].to_csv(place / "new.csv", index=False)
    main(["predict", "--ckpt", "best", "--input", "new.csv"])
    said = capsys.readouterr()
    path = place / "runs/recipe/version_0/predictions.csv"
    assert f"Predictions for 40 rows: {path.relative_to(place)}\n" in said.out
    assert f"Scores of 40 rows whose target is given: acc {accuracy:.4f}" in said.out
    assert said.err == ""
    found = pd.read_csv(path)
    shares = [f"probability_{label}" for label in ("bird", "cat", "dog")]
    assert list(found) == ["name", "species", *shares]
    assert list(found["name"]) == list(rows["name"])
    assert (found["species"].to_numpy() == rows["species"].to_numpy()).mean() == pytest.approx(
        accuracy, abs=1e-6
    )
    best = next((place / "runs/recipe/version_0/checkpoints").glob("best*.ckpt"))
    own = load(best).predict(rows.drop(columns=["split", "price", "weight"]))
    pd.testing.assert_frame_equal(own.to_pandas(), found)


def test_values_are_in_their_own_units(place, capsys):
    run(place, ["price", "weight"], ["species"], "regression")
    error = score_of_the_test(capsys.readouterr().out, "rmse")
    rows = people().query("split == 'test'")
    rows.to_parquet(place / "new.parquet")
    main(["predict", "--ckpt=best", "--input=new.parquet", "--output=out/predicted.npz"])
    said = capsys.readouterr().out
    score = float(re.search(r"rmse ([\d.]+)", said)[1])
    assert score == pytest.approx(error, rel=1e-4) and "out/predicted.npz" in said
    with np.load(place / "out/predicted.npz") as arrays:
        assert arrays.files == ["name", "price", "weight"]
        found = np.stack([arrays["price"], arrays["weight"]], 1)
    wanted = rows[["price", "weight"]].to_numpy()
    assert np.sqrt(np.square(found - wanted).mean()) == pytest.approx(error, rel=1e-4)
    assert abs(found[:, 0].mean() - 60_000) < 10_000


def test_what_is_unlike_the_training_is_said_in_a_line(trained, place, capsys):
    rows = people(9).drop(columns=["price", "weight"])
    rows.loc[0, "size"], rows.loc[1, "kind"] = 900.0, "secret"
    rows["nonsense"] = 1
    rows["species"] = rows["species"].where(rows.index != 2, "unicorn")
    rows.to_csv(place / "new.tsv", index=False, sep="\t")
    main(["predict", "--ckpt", "last", "--input", "new.tsv", "--output", "found.csv"])
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "hybridlit predict: left out, as no column of the training table: 'nonsense'",
        "hybridlit predict: 2 of 9 rows are unlike the training rows: see column flags",
        "hybridlit predict: 1 row of no class of the training, which no score counts",
    ]
    assert "Scores of 8 rows" in said.out
    found = pd.read_csv(place / "found.csv")
    assert found["flags"][0] == "size far above the training rows"
    assert found["flags"][1] == "kind of an unknown category"
    assert found["flags"].isna().sum() == 7 and "secret" not in said.err + said.out


def test_scores_are_of_rows_that_have_a_target_and_a_prediction(place, capsys):
    with pytest.warns(UserWarning, match="missing values"):
        run(place, "price", ["species", "weight"], "regression", missing="drop", gap=True)
    rows = people(9)
    rows.loc[1, "size"], rows.loc[4, "price"] = None, None
    rows.to_csv(place / "new.csv", index=False)
    capsys.readouterr()
    main(["predict", "--ckpt", "best", "--input", "new.csv", "--output", "found.csv"])
    assert "Scores of 7 rows" in capsys.readouterr().out
    rows.iloc[2:3].to_csv(place / "one.csv", index=False)
    main(["predict", "--ckpt", "best", "--input", "one.csv", "--output", "found.csv"])
    said = capsys.readouterr()
    assert (
        "Scores of 1 row whose target is given: rmse" in said.out
        and "r2 nan" in said.out
        and said.err == ""
    )


WRONG = [
    (lambda rows: rows.drop(columns="size"), [], "got none of the name 'size'"),
    (lambda rows: rows.assign(size="large"), [], "column 'size' must hold numbers"),
    (lambda rows: rows, ["--output", "a.xlsx"], "output must end in one of .csv, .tsv"),
    (lambda rows: rows, ["--output", "new.csv"], "output must be another file than input"),
    (lambda rows: rows, ["--batch_size", "0"], "batch_size must be at least 1"),
    (lambda rows: rows, ["--input", "none.csv"], "none.csv"),
]


@pytest.mark.slow
def test_one_line_says_what_is_wrong_and_nothing_is_written(trained, capsys):
    for change, options, said in WRONG:
        change(people(6)).to_csv("new.csv", index=False)
        before = sorted(Path().rglob("*"))
        with pytest.raises(SystemExit) as refusal:
            main(["predict", "--ckpt", "last", "--input", "new.csv", *options])
        assert refusal.value.code == 2
        text = capsys.readouterr().err
        assert text.startswith("hybridlit predict: ") and text.count("\n") == 1 and said in text
        assert sorted(Path().rglob("*")) == before


def test_a_score_that_fails_leaves_no_file(trained, place, capsys, monkeypatch):
    def fails(*_):
        raise ValueError("no score")

    people(6).to_csv("new.csv", index=False)
    monkeypatch.setattr(predict, "scores", fails)
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit):
        main(["predict", "--ckpt", "last", "--input", "new.csv"])
    assert "no score" in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before


def test_the_model_decides_how_a_file_is_read(place, capsys, make_trainer):
    """Of sequences, a .npz is no table."""
    sequences = {
        f"s{steps}": np.random.default_rng(steps).normal(size=(steps, 2)) for steps in range(1, 31)
    }
    data = SequenceDataModule(sequences, np.arange(30) % 2, batch_size=8)
    model = ParallelHybrid("auto", "auto", front="gru", quantum_dim=2, n_modes=4, n_photons=2)
    trainer = make_trainer(max_epochs=0)
    trainer.fit(model, data)
    trainer.save_checkpoint("model.ckpt")
    np.savez("new.npz", **sequences)
    main(["predict", "--ckpt", "model.ckpt", "--input", "new.npz", "--output", "found.csv"])
    assert "Predictions for 30 rows" in capsys.readouterr().out
    found = pd.read_csv("found.csv")
    assert list(found["sequence"]) == list(sequences)
    wanted = model.predict(sequences).to_pandas()
    np.testing.assert_allclose(found.iloc[:, 2:], wanted.iloc[:, 2:], rtol=1e-12)


def test_help_is_of_files_and_tells_of_the_other_way(capsys):
    with pytest.raises(SystemExit) as done:
        main(["predict", "--help"])
    said = capsys.readouterr().out
    assert done.value.code == 0 and "--input" in said and "--trainer" not in said
    assert "--config recipe.yaml --help" in " ".join(said.split())
    with pytest.raises(SystemExit) as refusal:
        main(["predict", "--ckpt", "best", "--output", "a.csv"])
    assert refusal.value.code == 2 and "--input" in capsys.readouterr().err


def test_without_input_a_trainer_predicts_the_data_of_the_run(trained, place, capsys):
    main(["predict", "--ckpt", "best"])
    assert "predictions.pt" in capsys.readouterr().out


def test_a_model_of_other_data_is_refused(place, capsys, make_trainer, make_model, data):
    trainer = make_trainer(max_epochs=0)
    trainer.fit(make_model(), DataLoader(TensorDataset(*data.train), batch_size=8))
    trainer.save_checkpoint("a.ckpt")
    people().to_csv(place / "new.csv")
    with pytest.raises(SystemExit):
        main(["predict", "--ckpt", "a.ckpt", "--input", "new.csv"])
    assert "does not hold how its rows were prepared" in capsys.readouterr().err
