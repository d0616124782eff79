"""Four commands in an empty folder: from a file to predictions, as somebody who knows no Python."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from shown_scores import shown_score

import hybridlit
from hybridlit import ImageFolderDataModule, TableDataModule

pandas = pytest.importorskip("pandas", reason="data extra")
datasets = pytest.importorskip("sklearn.datasets", reason="recipes extra")

pytestmark = pytest.mark.slow

HOUSE = str(Path(hybridlit.__file__).parents[1])


def command(place, *words):
    """Run the command line in a process of its own; what it printed, on both channels."""
    paths = [HOUSE, os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "hybridlit", *words],
        cwd=place,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def fitted(place, *init):
    """Make a recipe and fit it; the metrics that the test of the best checkpoint printed."""
    said = command(place, "init", *init)
    next_commands = re.findall(r"^  (hybridlit .*)$", said, re.MULTILINE)
    assert [line.split()[1] for line in next_commands] == ["fit", "predict"]
    printed = command(place, *next_commands[0].split()[1:])
    metrics = {name: shown_score(printed, name) for name in re.findall(r"test/\w+", printed)}
    return metrics, next_commands[1].split()[1:]


def data_of(place, monkeypatch):
    """The data module of the recipe, which says what the test rows are."""
    monkeypatch.chdir(place)
    section = yaml.safe_load(Path("recipe.yaml").read_text())["data"]
    kind = {each.__name__: each for each in (TableDataModule, ImageFolderDataModule)}
    return kind[section["class_path"]](**section["init_args"])


def wine():
    """178 wines: a number cut into categories with commas in their names, gaps, an id, a bool."""
    table = datasets.load_wine(as_frame=True).frame
    draw = np.random.default_rng(0)
    names = np.array(["Barolo, red", "Grignolino", 'Barbera "old"'])
    table["cultivar"] = names[table.pop("target")]
    table["bottle id"] = [f"W-{row:03d}" for row in range(len(table))]
    table["strong"] = table["alcohol"] > 13
    hues = ["low", "middle, of sorts", "high"]
    table["hue"] = pandas.cut(table["hue"], 3, labels=hues).astype(object)
    for name in ("ash", "hue"):
        table.loc[draw.random(len(table)) < 0.06, name] = np.nan
    return table.sample(frac=1, random_state=1)


def test_a_table_of_mixed_columns(tmp_path, monkeypatch):
    table = wine()
    table.to_csv(tmp_path / "wine.csv", index=False)
    printed, predict = fitted(tmp_path, "wine.csv", "--target", "cultivar")
    test = data_of(tmp_path, monkeypatch).ids["test"]["bottle id"]
    rows = table.set_index("bottle id", drop=False).loc[test].drop(columns="cultivar")
    rows[rows.columns[::-1]].to_csv(tmp_path / "new.csv", index=False)
    command(tmp_path, *predict)
    found = pandas.read_csv(tmp_path / "predictions.csv")
    assert found["bottle id"].tolist() == test
    truth = table.set_index("bottle id").loc[test]["cultivar"]
    right = (found["cultivar"].to_numpy() == truth.to_numpy()).mean()
    assert right == pytest.approx(printed["test/acc"], abs=1e-6) and right > 0.9
    shares = found[[f"probability_{name}" for name in sorted(table["cultivar"].unique())]]
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    card = command(tmp_path, "card", "--ckpt", "best")
    text = (tmp_path / card.split()[0]).read_text()  # pictures come behind
    assert f"{printed['test/acc']:.4g}" in text and '`Barbera "old"`' in text
    assert "| `hue` | category |" in text and "| `alcohol` | number | 11" in text


def test_values_in_their_own_units(tmp_path, monkeypatch):
    table = datasets.load_diabetes(as_frame=True, scaled=False).frame
    table = table.rename(columns={"target": "progression"})
    table["sex"] = np.where(table["sex"] > 1, "f", "m")
    table["patient_id"] = np.arange(1000, 1000 + len(table))
    table.to_csv(tmp_path / "patients.csv", index=False, sep=";", encoding="utf-8-sig")
    printed, predict = fitted(tmp_path, "patients.csv", "--target", "progression")
    test = data_of(tmp_path, monkeypatch).ids["test"]["patient_id"]
    rows = table.set_index("patient_id", drop=False).loc[test]
    rows[rows.columns[::-1]].drop(columns="progression").to_csv(tmp_path / "new.csv", index=False)
    command(tmp_path, *predict)
    found = pandas.read_csv(tmp_path / "predictions.csv")
    assert found["patient_id"].tolist() == test
    errors = found["progression"].to_numpy() - rows["progression"].to_numpy()
    assert np.sqrt((errors**2).mean()) == pytest.approx(printed["test/rmse"], rel=1e-5)
    assert 40 < printed["test/rmse"] < 65 and 100 < found["progression"].mean() < 200


def test_a_folder_of_images(tmp_path, monkeypatch):
    digits = datasets.load_digits()
    for row, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = tmp_path / "digits" / f"digit {label}" / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(file)
    printed, predict = fitted(tmp_path, "digits/")
    files = data_of(tmp_path, monkeypatch).files["test"]
    (tmp_path / "new_images").mkdir()
    for file in files:
        shutil.copy(tmp_path / "digits" / file, tmp_path / "new_images" / Path(file).name)
    command(tmp_path, *predict)
    found = pandas.read_csv(tmp_path / "predictions.csv")
    truth = {Path(file).name: Path(file).parent.name for file in files}
    names = [Path(name).name for name in found[found.columns[0]]]
    right = np.mean([truth[n] == c for n, c in zip(names, found["class"], strict=True)])
    assert len(found) == len(files)
    assert right == pytest.approx(printed["test/acc"], abs=1e-6) and right > 0.93
