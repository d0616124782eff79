"""Recipes that come with hybridlit: listed, found by name, copied with what they need."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hybridlit.cli import main
from hybridlit.cli.checkpoints import with_recipes
from hybridlit.recipe import read_recipe
from hybridlit.recipe_files import carried_recipes, needed_files

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(words, capsys):
    main(words)
    return capsys.readouterr().out


def refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_list_has_each_with_score_time_and_words(capsys):
    lines = said(["recipes"], capsys).splitlines()
    rows = {line.split()[0]: line for line in lines[1 : 1 + len(carried_recipes())]}
    assert set(rows) == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    study = json.loads((ROOT / "recipes/results/compare/iris_sequential.json").read_text())
    scores = study["retrained"][0]["scores"]
    assert f"acc {sum(scores) / len(scores):.3f}" in rows["iris_sequential"]
    assert rows["iris_sequential"].endswith("s  Iris flowers (4 measurements, 3 species)")
    for name, row in rows.items():
        assert not row.endswith("-") and 60 < len(row) < 200, name


def test_the_list_is_there_at_once():
    code = (
        "import sys; from hybridlit.cli import main; main(['recipes'])\n"
        "assert not {'torch', 'lightning', 'scipy', 'pandas'} & set(sys.modules)"
    )
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True).returncode


def test_a_copy_has_what_it_needs_and_finds_it(capsys):
    shown = said(["recipes", "copy", "wine_table"], capsys)
    assert shown.splitlines()[:2] == ["wine_table.yaml", str(Path("tables/wine.csv"))]
    assert shown.endswith("\n  hybridlit fit --config wine_table.yaml\n")
    copied = read_recipe("wine_table")  # the copy, and not what it is a copy of
    assert copied["data"]["init_args"]["path"] == "tables/wine.csv"
    assert Path("tables/wine.csv").read_bytes() == (ROOT / "recipes/tables/wine.csv").read_bytes()

    shown = said(["recipes", "copy", "mnist_backbone", "--to=mine"], capsys)
    files = sorted(path.relative_to("mine").as_posix() for path in Path("mine").rglob("*.*"))
    assert files == ["images/make_mnist.py", "mnist_backbone.yaml", "small_cnn.py"]
    weights = read_recipe("mine/mnist_backbone.yaml")["model"]["init_args"]["front_weights"]
    assert weights == "mine/images/mnist_0_to_4.pt"
    assert "\n  python mine/images/make_mnist.py\n  hybridlit fit --config mine/mnist" in shown


def test_the_same_again_overwrites_nothing_that_was_changed(capsys):
    main(["recipes", "copy", "iris_sequential"])
    main(["recipes", "copy", "iris_sequential"])  # which is the same
    Path("iris_sequential.yaml").write_text("mine")
    line = refused(["recipes", "copy", "iris_sequential"], capsys)
    assert "iris_sequential.yaml is there already, and differs: give --force" in line
    assert Path("iris_sequential.yaml").read_text() == "mine"
    main(["recipes", "copy", "iris_sequential", "--force"])
    assert read_recipe("iris_sequential")["model"]["class_path"] == "SequentialHybrid"


@pytest.mark.parametrize("name", sorted(carried_recipes()))
def test_what_a_recipe_reads_comes_with_it_or_from_its_script(name):
    """Every path among its settings; scripts write to the folder that they are in."""
    recipe = carried_recipes()[name]
    paths = [
        value
        for section in ("model", "data")
        for value in yaml.safe_load(recipe.read_text())[section].get("init_args", {}).values()
        if isinstance(value, str) and "/" in value
    ]
    needed = [f"recipes/{each}" for each in needed_files(recipe)]
    scripts = {Path(each).parent for each in needed if each.endswith(".py")}
    assert all(path in needed or Path(path).parent in scripts for path in paths)


def test_a_name_is_a_recipe():
    assert read_recipe("iris_sequential")["model"]["class_path"] == "SequentialHybrid"
    oscillator = str(carried_recipes()["oscillator_physics"])
    for option in ("--config", "-c"):
        given = ["fit", option, "oscillator_physics", f"{option}=oscillator_physics", "--x=y"]
        assert with_recipes(given) == ["fit", option, oscillator, f"{option}={oscillator}", "--x=y"]
    text = ["fit", "--config", "model: {class_path: SequentialHybrid}", "iris_sequential"]
    assert with_recipes(text) == text
    Path("recipes").mkdir()
    Path("recipes/iris_sequential.yaml").write_text("model: mine\ndata: mine")
    assert read_recipe("iris_sequential") == {"model": "mine", "data": "mine"}
    Path("iris_sequential").write_text("model: first\ndata: first")
    assert read_recipe("iris_sequential") == {"model": "first", "data": "first"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("iris_sequental", "no recipe of that name (did you mean 'iris_sequential'?); hybridlit r"),
        ("wine_table", "needs recipes/tables/wine.csv in the working folder: hybridlit recipes co"),
        ("recipes/wine_table.yaml", "no file recipes/wine_table.yaml; the name alone, wine_table"),
    ],
)
def test_what_is_not_there_is_one_line(name, message, capsys):
    for verb in ("fit", "plan", "draw", "search", "federate"):
        assert message in refused([verb, f"--config={name}"], capsys).replace("\\", "/")
    assert message in refused(["compare", name], capsys).replace("\\", "/")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["coppy"], "takes list or copy, got 'coppy' (did you mean 'copy'?)"),
        (["list", "iris_sequential"], "hybridlit recipes copy iris_sequential"),
        (["copy"], "copy takes the name of a recipe; hybridlit recipes lists them"),
        (["copy", "iris_sequental"], "got 'iris_sequental' (did you mean 'iris_sequential'?)"),
        (["copy", "wine_table", "--to=a: b"], "YAML and shells take without quotes, got 'a: b'"),
    ],
)
def test_what_cannot_be_copied_is_one_line(words, message, capsys, place):
    assert message in refused(["recipes", *words], capsys)
    assert not any(place.iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_recipe_that_is_not_compared_gets_its_score(place, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    scores = runpy.run_path(str(ROOT / "recipes" / "scores.py"))["main"]
    for name in ("iris_circuit", "imbalanced_table"):
        scores([name, "--seeds=1", f"--out={place / 'scores.json'}"])
    found = json.loads((place / "scores.json").read_text())
    assert [each["metric"] for each in found.values()] == ["balanced_accuracy", "acc"]
    assert all(0.7 < each["scores"][0] <= 1 and each["seconds"] > 0 for each in found.values())
