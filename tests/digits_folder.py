"""The folder of images that a recipe reads, written where its path leads to."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "recipes" / "images" / "make_digits.py"


def write_digits(path, place, monkeypatch, count=200):
    """Change to an empty folder, and write some digits there if a recipe reads them."""
    monkeypatch.chdir(place)
    if "ImageFolderDataModule" in path.read_text():
        pytest.importorskip("sklearn", reason="recipes extra")
        folder = place / "recipes" / "images" / "digits"
        runpy.run_path(str(SCRIPT))["main"](folder, count)
