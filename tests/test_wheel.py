"""A wheel has the whole package and the recipes, and `hybridlit recipes` finds them in it."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import hybridlit
from hybridlit.recipe_files import carried_recipes, needed_files

pytest.importorskip("setuptools", minversion="77")

ROOT = Path(hybridlit.__file__).parents[1]
FILES = ("pyproject.toml", "README.md", "LICENSE")
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
ASK = """
from hybridlit.cli import main
main(["recipes"])
main(["recipes", "copy", "wine_table"])
main(["plan", "--config=iris_sequential"])
main(["fit", "--config=oscillator_physics", "--print_config"])
"""


def files_of(folder, *but):
    every = [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")]
    return {name for name in every if "__pycache__" not in name and not name.endswith(but)}


@pytest.mark.slow
def test_a_wheel_has_the_package_and_its_recipes(tmp_path):
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    for name in ("hybridlit", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", BUILD], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    installed = tmp_path / "installed"
    with ZipFile(wheel) as archive:
        archive.extractall(installed)
    metadata = next(installed.glob("*.dist-info/METADATA")).read_text(encoding="utf-8")
    assert f"\nVersion: {hybridlit.__version__}\n" in metadata
    assert wheel.name == f"hybridlit-{hybridlit.__version__}-py3-none-any.whl"

    carry = runpy.run_path(str(ROOT / "recipes" / "carry.py"))
    carried = {file.relative_to(ROOT / "recipes").as_posix() for file in carry["carried"]()}
    assert files_of(installed / "hybridlit" / "carried_recipes") == carried
    needed = {each for recipe in carried_recipes().values() for each in needed_files(recipe)}
    assert {each for each in needed if not each.endswith("digit_pairs.csv")} <= carried
    package = files_of(installed / "hybridlit") - {f"carried_recipes/{each}" for each in carried}
    assert package == files_of(ROOT / "hybridlit", ".md")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ask.py").write_text(ASK)
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); exec(open('ask.py').read())"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    shown = run.stdout.splitlines()
    assert set(carried_recipes()) <= {line.partition(" ")[0] for line in shown}
    assert any(re.match(r"iris_sequential +acc 0\.\d+ +[\d.]+ s ", line) for line in shown)
    assert (elsewhere / "tables" / "wine.csv").is_file()
    assert "5 modes, 2 photons" in run.stdout
    assert "class_path: oscillator.Oscillator" in run.stdout
