"""Recipes with other arguments: the script from end to end."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="recipes extra")

RECIPES = Path(__file__).parents[1] / "recipes"

pytestmark = [
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter"),
    pytest.mark.filterwarnings("ignore:.*logging interval.*"),
]


@pytest.fixture
def variants(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(RECIPES))
    return importlib.import_module("variants")


def test_a_recipe_and_a_variant(variants, capsys):
    recipe = RECIPES / "wine_parallel.yaml"
    variants.main([str(recipe), "path_dropout=0.4", "--seeds=2", "--epochs=2", "--paths"])
    shown = capsys.readouterr().out
    runs, _, table = shown.partition("\n\n")
    assert runs.count("wine_parallel  seed ") == 4
    head, _, own, other = table.strip().splitlines()
    names = ["acc", "loss", "without classical_path", "without quantum_path"]
    assert head == f"| model | {' | '.join(names)} | acc beyond the recipe |"
    assert own.startswith("| as it is | 0.") and own.endswith("|  |")
    assert other.startswith("| path_dropout=0.4 | 0.")


def test_scores_are_all_that_the_recipe_measures(variants):
    found = variants.scores(RECIPES / "iris_sequential.yaml", ["quantum=mlp"], seed=0, epochs=1)
    assert list(found) == ["acc", "loss"] and 0 <= found["acc"] <= 1


def test_the_lowest_and_the_highest_seed_in_the_place_of_an_interval(variants):
    found = variants.extremes([3.0, 1.0, 5.0])
    assert (found.mean, found.low, found.high) == (3.0, 1.0, 5.0)


def test_one_seed_is_refused(variants, capsys):
    with pytest.raises(SystemExit):
        variants.main([str(RECIPES / "wine_parallel.yaml"), "gate=gated", "--seeds=1"])
    assert "at least 2 seeds" in capsys.readouterr().err
