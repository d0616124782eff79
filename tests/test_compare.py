"""The script that writes the table of all recipes."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="recipes extra")

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    return importlib.import_module("compare")


@pytest.mark.slow
def test_the_table_of_all_goes_between_its_lines(script, tmp_path, monkeypatch):
    recipe = (RECIPES / "iris_sequential.yaml").read_text()
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(recipe)
    (tmp_path / "search.yaml").write_text(f"{recipe}search:\n")
    readme = tmp_path / "README.md"
    monkeypatch.setattr(script, "HERE", tmp_path)
    options = ["--seeds=2", "--epochs=1", f"--out={tmp_path / 'out'}", f"--readme={readme}"]
    readme.write_text("no place for a table")
    with pytest.raises(SystemExit):
        script.main(options)
    readme.write_text(f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n")
    for _ in range(2):
        script.main(options)
        text = readme.read_text()
        assert text.startswith(f"before\n{script.BEGIN}\n| recipe |") and "old" not in text
        assert text.endswith(f" |\n{script.END}\nafter\n") and text.count("| one |") == 1


def test_the_table_has_the_recipes_of_models(script):
    names = {path.stem for path in script.models()}
    assert {"iris_sequential", "wine_parallel", "diabetes_residual"} <= names
    assert not {"digits_callbacks", "digits_folder", "digits_paths"} & names
    assert names == {path.stem for path in (RECIPES / "results" / "compare").glob("*.json")}
