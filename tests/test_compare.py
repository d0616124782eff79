"""Comparing arms: the script from end to end."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from digits_folder import write_digits

from hybridlit import SklearnDataModule, split_parameters, templates
from hybridlit.cli import main as command_line
from hybridlit.cli.loading import datamodule_of_recipe

SVC = pytest.importorskip("sklearn.svm", reason="recipes extra").SVC

RECIPES = Path(__file__).parents[1] / "recipes"

pytestmark = [
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter"),
    pytest.mark.filterwarnings("ignore:.*logging interval.*"),
]


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    return importlib.import_module("compare")


def test_a_recipe_against_its_twins(compare, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = RECIPES / "iris_sequential.yaml"
    compare.main([str(recipe), "--seeds=2", "--epochs=2", "--out=results"])
    shown = capsys.readouterr()
    result = json.loads((tmp_path / "results" / "iris_sequential.json").read_text())
    arms = result["arms"]
    assert list(arms) == ["hybrid", "classical", "untrained"] and result["epochs"] == 2

    for arm, counts in arms.items():
        assert len(counts["scores"]) == 2 and counts["seconds"] > 0
        assert counts["mean"] == pytest.approx(np.mean(counts["scores"]))
        assert (counts["photonic_parameters"] > 0) == (arm == "hybrid")
    hybrid, classical, untrained = (arms[arm] for arm in arms)
    assert classical["parameters"] == pytest.approx(hybrid["parameters"], rel=0.1)
    assert untrained["parameters"] == hybrid["parameters"] - hybrid["photonic_parameters"]

    for arm, difference in result["hybrid_minus"].items():
        pairs = zip(hybrid["scores"], arms[arm]["scores"], strict=True)
        assert difference["mean"] == pytest.approx(np.mean([a - b for a, b in pairs]))
        assert difference["verdict"] in ("helps", "neutral", "hurts", "inconclusive")
    data = [SklearnDataModule("iris", seed=seed) for seed in range(2)]
    machines = [SVC().fit(*each.train).score(*each.test) for each in data]
    assert result["svm"]["scores"] == pytest.approx(machines)
    row = (tmp_path / "results" / "iris_sequential.md").read_text()
    assert row in shown.out and "| `iris_sequential` | acc, 2 seeds |" in row
    assert (
        "iris_sequential   6 of 6  seed 1  untrained" in shown.out
        and "Tip" not in shown.out + shown.err
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_classical_twin_of_a_recipe_is_as_large(path, tmp_path, monkeypatch):
    write_digits(path, tmp_path, monkeypatch)
    model = yaml.safe_load(path.read_text())["model"]
    template = getattr(templates, model["class_path"])
    sizes = []
    for quantum in ("photonic", "mlp"):
        twin = template(**model["init_args"], quantum=quantum)
        if not isinstance(twin, template):  # its sizes wait for the data
            twin.build(datamodule_of_recipe(path))
        sizes.append(sum(parameter.numel() for parameter in twin.parameters()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    assert not split_parameters(twin)["photonic"]


def test_an_arm_is_trained_and_tested_as_the_command_line_does(
    compare, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    recipe = RECIPES / "iris_sequential.yaml"
    seed = ["--seed_everything=1", "--data.seed=1", "--trainer.max_epochs=5"]
    command_line(["fit", f"--config={recipe}", *seed])
    shown = capsys.readouterr().out.partition("test/acc")[2].split()[0]
    assert compare.train(recipe, "hybrid", seed=1, epochs=5).score == pytest.approx(float(shown))


def test_arms_share_their_rows_and_seeds_do_not(compare, monkeypatch):
    built = []

    class Recording(compare.HybridCLI):
        def after_instantiate_classes(self):
            weights = torch.nn.utils.parameters_to_vector(self.model.parameters()).detach()
            built.append((self.datamodule.test[0], self.datamodule.train[0], weights))

    monkeypatch.setattr(compare, "HybridCLI", Recording)
    for arm, seed in [("hybrid", 0), ("untrained", 0), ("hybrid", 1)]:
        compare.train(RECIPES / "iris_sequential.yaml", arm, seed, epochs=1)
    one, other_arm, other_seed = built
    for kind in range(2):
        assert torch.equal(one[kind], other_arm[kind])
        assert not torch.equal(one[kind], other_seed[kind])
    assert not torch.equal(one[2], other_seed[2])


@pytest.mark.slow
def test_the_table_of_all_goes_between_its_lines(compare, tmp_path, monkeypatch):
    recipe = (RECIPES / "iris_sequential.yaml").read_text()
    (tmp_path / "small.yaml").write_text(recipe)
    readme = tmp_path / "README.md"
    monkeypatch.setattr(compare, "HERE", tmp_path)
    options = ["--all", "--seeds=2", "--epochs=1", f"--out={tmp_path}", f"--readme={readme}"]
    readme.write_text("no place for a table")
    with pytest.raises(SystemExit):
        compare.main(options)
    readme.write_text(f"before\n{compare.BEGIN}\nold\n{compare.END}\nafter\n")
    for _ in range(2):
        compare.main(options)
        text = readme.read_text()
        assert text.startswith(f"before\n{compare.BEGIN}\n| recipe |") and "old" not in text
        assert text.endswith(f" |\n{compare.END}\nafter\n") and text.count("| `small` |") == 1


@pytest.mark.parametrize("arguments", [[], ["recipe.yaml", "--seeds=1"]])
def test_what_cannot_be_compared(compare, arguments, capsys):
    with pytest.raises(SystemExit):
        compare.main(arguments)
    assert "at least 2 seeds" in capsys.readouterr().err


@pytest.mark.slow
def test_every_arm_is_tried_at_both_rates(compare, tmp_path):
    """At the classical rate alone, a twin that learns nothing there would be no match."""
    text = (RECIPES / "iris_sequential.yaml").read_text()
    recipe = tmp_path / "apart.yaml"
    recipe.write_text(text.replace("classical_lr: 0.01", "classical_lr: 0.000001"))
    runs = {arm: compare.best_of_rates(recipe, arm, 0, epochs=15) for arm in compare.ARMS}
    assert {run.rates for run in runs.values()} == {"photonic"}
    assert [len(run.histories) for run in runs.values()] == [3, 2, 2]
    assert all(len(history) == 15 for run in runs.values() for history in run.histories)
    same = compare.best_of_rates(RECIPES / "iris_sequential.yaml", "classical", 0, epochs=2)
    assert same.rates == "own" and len(same.histories) == 1
    # a recipe that leaves its rates to the template, whose two differ
    left = compare.best_of_rates(RECIPES / "diabetes_residual.yaml", "hybrid", 0, epochs=1)
    assert len(left.histories) == 3


@pytest.mark.parametrize(
    ("slow", "word"), [("classical", "inconclusive"), ("hybrid", "helps"), (None, "helps")]
)
def test_a_twin_that_was_still_improving_is_not_beaten(compare, monkeypatch, slow, word):
    def planted(recipe, arm, seed, epochs=None):
        score, low = (0.9 + seed / 100, 0.1) if arm == "hybrid" else (0.5, 0.2)
        history = (
            (1.0, 0.8, 0.6, 0.5, 0.4, low + 0.1, low) if arm == slow else (1.0, low, *[0.6] * 5)
        )
        return compare.Run("acc", score, 1.0, 7, 10, 5, 0.3, "own", (history,))

    monkeypatch.setattr(compare, "best_of_rates", planted)
    monkeypatch.setattr(compare, "support_vectors", lambda *_: 0.9)
    result = compare.compare(RECIPES / "iris_sequential.yaml", 3)
    assert result["hybrid_minus"]["classical"]["verdict"] == word
