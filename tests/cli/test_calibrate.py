"""`hybridlit calibrate`, and then `predict --coverage --uncertainty`, on a table."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from hybridlit import Calibration, load
from hybridlit.cli import main
from hybridlit.resume.durable import damage
from hybridlit.resume.lock import FolderLock

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


def people(rows=200, seed=0):
    generator = np.random.default_rng(seed)
    size, age = generator.normal(50, 10, rows), generator.normal(40, 9, rows)
    value = size + age + generator.normal(0, 12, rows)
    species = np.select([value < 80, value < 97], ["cat", "dog"], "bird")
    return pd.DataFrame({"size": size, "age": age, "species": species, "price": 1000 * value})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A working folder with a run of each seed, and one that predicts prices."""
    place = tmp_path_factory.mktemp("runs")
    people().to_csv(place / "people.csv", index=False)
    people(60, seed=1).to_csv(place / "new.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, seed, target, other, task, held in (
            ("one", 0, "species", "price", "multiclass", 0.2),
            ("two", 1, "species", "price", "multiclass", 0.0),
            ("price", 0, "price", "species", "regression", 0.18),
        ):
            model = {"input_dim": "auto", "output_dim": "auto", "task": task}
            model |= {"n_modes": 4, "n_photons": 2, "quantum_dim": 2}
            data = {"path": "people.csv", "target": target, "drop": other, "seed": seed}
            recipe = {
                "seed_everything": seed,
                "model": {"class_path": "ParallelHybrid", "init_args": model},
                "data": {
                    "class_path": "TableDataModule",
                    "init_args": {**data, "calibration_fraction": held},
                },
                "trainer": {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False},
            }
            (place / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
            main(["fit", "--config", f"{name}.yaml"])
    return place


@pytest.fixture
def place(runs, monkeypatch):
    monkeypatch.chdir(runs)
    return runs


def last(place, name):
    return place / f"runs/{name}/version_0/checkpoints/last.ckpt"


def contents(path):
    return torch.load(path, weights_only=True)


@pytest.mark.slow
def test_classes_from_a_fit_to_sets(place, capsys):
    path = last(place, "one")
    with pytest.raises(SystemExit):
        main(["predict", f"--ckpt={path}", "--input=new.csv", "--coverage=0.9"])
    assert "hybridlit calibrate --input" in capsys.readouterr().err
    before = contents(path)
    main(["calibrate", f"--ckpt={path}"])
    said = capsys.readouterr().out
    model = load(path)
    assert f"Temperature {model.calibration.temperature:.3f}, from 40 validation rows\n" in said
    assert "40 rows held out: hybridlit predict --coverage takes up to 0.9756\n" in said
    assert said.endswith(f"{path}\n")
    assert damage(path) is None
    after = contents(path)
    assert set(after) - set(before) == {"hybridlit_calibration"}
    assert all(torch.equal(v, after["state_dict"][k]) for k, v in before["state_dict"].items())

    options = ["--coverage=0.9", "--uncertainty=paths", "--output=sets.csv"]
    main(["predict", f"--ckpt={path}", "--input=new.csv", *options])
    found = pd.read_csv("sets.csv", keep_default_na=False)
    assert list(found)[-2:] == ["set_species", "uncertainty"]
    bound = float(model.calibration.quantiles(0.9))
    labels = ["bird", "cat", "dog"]
    for row in found.to_dict("records"):
        inside = [label for label in labels if 1 - float(row[f"probability_{label}"]) <= bound]
        assert row["set_species"] == "|".join(inside)
    assert (found["uncertainty"] > 0).all()


def test_values_from_a_fit_to_intervals(place, capsys):
    path = last(place, "price")
    main(["calibrate", f"--ckpt={path}", "--output=calibrated.ckpt"])
    said = capsys.readouterr().out
    assert "Temperature" not in said
    most = re.search(r"takes up to ([\d.]+)", said)[1]
    main(
        [
            "predict",
            "--ckpt=calibrated.ckpt",
            "--input=new.csv",
            f"--coverage={most}",
            "--output=p.csv",
        ]
    )
    assert "hybridlit_calibration" not in contents(path)
    main(
        ["predict", "--ckpt=calibrated.ckpt", "--input=new.csv", "--coverage=0.8", "--output=p.csv"]
    )
    found = pd.read_csv("p.csv")
    half = float(load("calibrated.ckpt").calibration.quantiles(0.8))
    assert (found["high_price"] - found["price"]).to_numpy() == pytest.approx(half)
    assert (found["price"] - found["low_price"]).to_numpy() == pytest.approx(half)
    covered = people(60, seed=1)["price"].between(found["low_price"], found["high_price"]).mean()
    assert 0.6 < covered <= 1.0


def test_held_out_rows_of_a_file(place, capsys):
    path = last(place, "two")
    main(["calibrate", f"--ckpt={path}", "--output=with.ckpt"])
    assert "No rows were held out" in capsys.readouterr().out
    main(["calibrate", f"--ckpt={path}", "--input=new.csv", "--output=with.ckpt"])
    assert "60 rows held out" in capsys.readouterr().out
    model = load("with.ckpt")
    table = people(60, seed=1)
    shares = pd.DataFrame(model.predict(table).columns)
    true = [
        row[f"probability_{row.species}"]
        for _, row in shares.assign(species=table["species"]).iterrows()
    ]
    assert model.calibration.scores[:, 0].tolist() == pytest.approx(sorted(1 - np.array(true)))
    table.loc[3, "species"] = "cow"
    table.loc[4, "size"] = 1e300
    table.to_csv("bad.csv", index=False)
    with pytest.raises(SystemExit):
        main(["calibrate", f"--ckpt={path}", "--input=bad.csv"])
    said = capsys.readouterr().err
    assert "1 row without such a target and 1 row without a prediction, of 60" in said
    assert "cow" not in said


def test_the_folder_is_held_from_the_first_look_to_the_last(place, monkeypatch):
    """Else a run that begins and ends meanwhile would lose what it has written."""
    path, module = last(place, "two"), sys.modules["hybridlit.cli.calibrate"]
    seen = []

    def looking(name):
        whole = getattr(module, name)

        def look(*args, **options):
            seen.append(FolderLock("held").take())
            return whole(*args, **options)

        monkeypatch.setattr(module, name, look)

    looking("load_model")
    looking("save_durably")
    main(["calibrate", f"--ckpt={path}", "--output=held/one.ckpt"])
    assert seen == [False, False]
    again = FolderLock("held")
    assert again.take()
    again.release()


def test_several_checkpoints_are_an_ensemble(place, capsys):
    paths = [str(last(place, name)) for name in ("one", "two")]
    main(["predict", f"--ckpt=[{','.join(paths)}]", "--input=new.csv", "--output=both.csv"])
    assert "Scores of 60 rows" in capsys.readouterr().out
    found = pd.read_csv("both.csv")
    parts = [np.array(load(path).predict(people(60, seed=1))["probability_cat"]) for path in paths]
    assert found["probability_cat"].to_numpy() == pytest.approx(np.mean(parts, 0))
    assert found["uncertainty"].between(0, 2 / 3).all()
    with pytest.raises(SystemExit):
        main(["predict", f"--ckpt=[{','.join(paths)}]", "--input=new.csv", "--coverage=0.9"])
    assert "are of one checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["predict", f"--ckpt=[{paths[0]},{last(place, 'price')}]", "--input=new.csv"])
    assert "of one task and the same targets" in capsys.readouterr().err


@pytest.mark.slow
def test_data_of_another_split_are_no_held_out_rows(place, capsys):
    path = last(place, "two")
    settings = path.parent.parent / "config.yaml"
    text = settings.read_text()
    settings.write_text(re.sub(r"calibration_fraction: 0.0", "calibration_fraction: 0.3", text))
    with pytest.raises(SystemExit):
        main(["calibrate", f"--ckpt={path}"])
    said = capsys.readouterr()
    main(["calibrate", f"--ckpt={path}", "--input=new.csv", "--output=rows.ckpt"])
    assert "no temperature, since datamodule must be the one" in capsys.readouterr().err
    assert load("rows.ckpt").calibration.temperature is None
    assert len(load("rows.ckpt").calibration.scores) == 60
    own = path.with_name("own.ckpt")
    torch.save({**contents(path), "hybridlit_calibration": Calibration(1.5).state()}, own)
    main(["calibrate", f"--ckpt={own}", "--input=new.csv"])
    told = capsys.readouterr()
    assert "no new temperature, since" in told.err and "Temperature 1.500\n" in told.out
    assert load(own).calibration.temperature == 1.5 and len(load(own).calibration.scores) == 60
    own.unlink()
    settings.write_text(text)
    assert "rows held out may be rows that the model has learned from" in said.err
    assert "hybridlit_calibration" not in contents(path)
