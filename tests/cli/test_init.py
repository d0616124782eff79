"""`hybridlit init`: what it finds in a table or a folder, and a recipe that can be fitted."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hybridlit.cli import main
from hybridlit.cli.first_recipe import plain_yaml
from hybridlit.recipe.building import datamodule_of_recipe

pandas = pytest.importorskip("pandas", reason="data extra")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def a_table(rows=60):
    draw = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "plant_id": [f"SECRET-{row}" for row in range(rows)],
            "size": draw.normal(size=rows).round(3),
            "color": draw.choice(["SECRET-red", "SECRET-blue, dark"], rows),
            "old": draw.choice([True, False], rows),
            "species": [["setosa", "versicolor", "virginica"][row % 3] for row in range(rows)],
        }
    )


def init(table, *options):
    table.to_csv("data.csv", index=False)
    main(["init", "data.csv", *options])
    return yaml.safe_load(Path("recipe.yaml").read_text())


def arguments(recipe):
    return recipe["data"]["init_args"]


def test_what_is_found_is_in_the_recipe_and_is_said(capsys):
    table = a_table()
    table["same"], table["day"] = "SECRET", "2024-05-01"
    table.loc[3, "size"] = np.nan
    recipe = init(table, "--target=species")
    given = arguments(recipe)
    assert given["id"] == ["plant_id"] and given["drop"] == ["same", "day"]
    assert given["target"] == "species" and given["missing"] == "impute"
    assert recipe["model"]["init_args"]["task"] == "multiclass"
    said = capsys.readouterr().out
    for words in (
        "data.csv: 60 rows, 7 columns",
        "predicts    'species' (3 classes)",
        "1 of numbers, 1 of categories, 1 of yes or no",
        "gaps        in 'size': filled",
        "names rows  'plant_id'",
        "left out    'same': the same in every row",
        "left out    'day': dates or times",
        "36 to train, 12 to validate, 12 to test",
        "hybridlit fit --config recipe.yaml",
        "hybridlit predict --ckpt best --input new.csv --output predictions.csv",
    ):
        assert words in said, words
    assert "SECRET" not in said + Path("recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("target", "values", "task"),
    [
        ("species", None, "multiclass"),
        ("old", None, "binary"),
        ("size", None, "regression"),
        ("grade", np.arange(60) % 4, "multiclass"),
        ("price", np.arange(60) * 10, "regression"),
    ],
)
def test_the_task_follows_from_the_target(target, values, task):
    table = a_table()
    if values is not None:
        table[target] = values
    recipe = init(table, f"--target={target}")
    assert recipe["model"]["init_args"]["task"] == task


def test_several_targets(capsys):
    table = a_table()
    table["length"] = table["size"] * 2 + 1
    recipe = init(table, "--target=[size,length]")
    assert arguments(recipe)["target"] == ["size", "length"]
    assert "predicts    'size' and 'length' (values)" in capsys.readouterr().out


@pytest.mark.parametrize("gaps", [0, 20])
def test_a_missing_target_leaves_its_row_out_and_no_other(gaps, capsys):
    table = a_table()
    table.loc[5, "species"] = None
    table.loc[range(gaps), "size"] = np.nan
    assert arguments(init(table, "--target=species"))["missing"] == "impute"
    said = capsys.readouterr().out
    assert "note: 1 row left out for missing values, 1 in 'species' of 60 rows" in said
    assert ("in 'size': filled" in said) == (gaps > 0)
    with pytest.warns(UserWarning, match="1 row left out"):
        assert sum(datamodule_of_recipe("recipe.yaml").rows_by_split().values()) == 59


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        *((name, True) for name in ("id", "Customer ID", "UNNAMED: 0", "rowId", "rowID", "Row_Nr")),
        *((name, False) for name in ("rowIndex", "idea", "paid", "bid", "grid", "Covid", "COVID")),
    ],
)
def test_whole_numbers_name_rows_if_they_are_called_so(name, is_id):
    table = a_table().drop(columns="plant_id")
    table[name] = np.arange(60) * 7 + 1000
    assert arguments(init(table, "--target=species"))["id"] == ([name] if is_id else [])


def test_a_name_of_rows_may_be_missing():
    table = a_table().rename(columns={"plant_id": "plant"}).assign(id=np.arange(60.0))
    table.loc[7, "id"] = None  # a feature, filled with the median, if it were no name
    assert arguments(init(table, "--target=species"))["id"] == ["plant", "id"]


def test_names_that_yaml_would_take_for_something_else(capsys):
    table = a_table().rename(columns={"size": "yes", "species": 'a: "b" # c', "plant_id": "null"})
    table["1.5"] = "same"
    given = arguments(init(table, '--target=a: "b" # c'))
    assert (given["target"], given["drop"], given["id"]) == ('a: "b" # c', ["1.5"], ["null"])
    assert yaml.safe_load(plain_yaml("Größe\t\\ 1\n")) == "Größe\t\\ 1\n"


def test_more_rows_are_read_in_larger_batches():
    found = []
    for rows in (60, 700, 4000):
        found.append(arguments(init(a_table(rows), "--target=species", "--force"))["batch_size"])
    assert found == sorted(set(found))


def test_a_recipe_can_be_built_and_no_file_is_overwritten(capsys):
    recipe = init(a_table(), "--target=species")
    data = datamodule_of_recipe("recipe.yaml")
    assert data.num_features == 4 and data.ids["test"]["plant_id"]
    with pytest.raises(SystemExit):
        init(a_table(), "--target=old")
    assert "recipe.yaml is there already" in capsys.readouterr().err
    assert yaml.safe_load(Path("recipe.yaml").read_text()) == recipe
    assert arguments(init(a_table(), "--target=old", "--force"))["target"] == "old"


def test_every_line_fits_and_comments_stand_in_one_column():
    init(a_table(), "--target=species")
    lines = Path("recipe.yaml").read_text().splitlines()
    places = {
        line.index("  # ") for line in lines if "  # " in line and len(line.split("  #")[0]) < 31
    }
    assert len(places) == 1 and max(map(len, lines)) <= 110


def write_images(size=(8, 8), mode="L", count=5):
    for label in ("cat", "dog"):
        for index in range(count):
            file = Path("pictures", label, f"{index}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(
                0, 255, (*size, len(mode)), dtype=np.uint8
            )
            Image.fromarray(pixels.squeeze()).save(file)


@pytest.mark.parametrize(
    ("size", "mode", "wanted", "words"),
    [
        ((8, 6), "L", None, "grey images of 8 x 6 pixels"),
        ((64, 128), "RGB", [32, 64], "colour images of 32 x 64 pixels, resized to it"),
    ],
)
def test_a_folder_of_images(size, mode, wanted, words, capsys):
    write_images(size, mode)
    main(["init", "pictures"])
    recipe = yaml.safe_load(Path("recipe.yaml").read_text())
    assert recipe["data"]["class_path"] == "ImageFolderDataModule"
    assert arguments(recipe)["size"] == wanted and recipe["model"]["init_args"]["front"] == "cnn"
    said = capsys.readouterr().out
    assert words in said and "predicts    the class (2)" in said and "--input new_images/" in said
    assert datamodule_of_recipe("recipe.yaml").num_classes == 2


def test_images_of_several_sizes_are_brought_to_the_most_frequent():
    write_images((8, 8))
    Image.new("L", (20, 10)).save("pictures/cat/other.png")
    main(["init", "pictures"])
    assert arguments(yaml.safe_load(Path("recipe.yaml").read_text()))["size"] == [8, 8]


def test_a_folder_of_images_has_no_target(capsys):
    write_images()
    with pytest.raises(SystemExit):
        main(["init", "pictures", "--target=cat"])
    assert "leave --target out" in capsys.readouterr().err and not Path("recipe.yaml").exists()
