"""The tables and the folder of images that recipes read, brought to where their paths lead."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "recipes" / "images" / "make_digits.py"


def write_digits(path, place, monkeypatch, count=200):
    """Change to an empty folder, and bring the tables, or some digits, that a recipe reads."""
    monkeypatch.chdir(place)
    if "recipes/tables" in path.read_text():
        (place / "recipes").mkdir(exist_ok=True)
        (place / "recipes" / "tables").symlink_to(SCRIPT.parents[1] / "tables")
    if "ImageFolderDataModule" in path.read_text():
        pytest.importorskip("sklearn", reason="recipes extra")
        folder = place / "recipes" / "images" / "digits"
        runpy.run_path(str(SCRIPT))["main"](folder, count)
