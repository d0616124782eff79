"""A recipe beside its twins: what is the same for all of them, and what a seed decides."""

from pathlib import Path

import pytest
import yaml
from digits_folder import write_digits
from shown_scores import shown_score

from hybridlit import split_parameters, templates
from hybridlit.cli import main as command_line
from hybridlit.recipe import changed, compare_recipe, datamodule_of_recipe, read_recipe

pytest.importorskip("sklearn", reason="recipes extra")

RECIPES = Path(__file__).parents[2] / "recipes"
OF_TEMPLATES = [  # others have no `quantum=`
    path
    for path in sorted(RECIPES.glob("*.yaml"))
    if hasattr(templates, yaml.safe_load(path.read_text())["model"]["class_path"])
]

pytestmark = [
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter"),
    pytest.mark.filterwarnings("ignore:.*logging interval.*"),
]


def recipe(name="iris_sequential", **changes):
    return changed(read_recipe(RECIPES / f"{name}.yaml"), changes)


@pytest.mark.slow
def test_the_recipe_is_trained_and_tested_as_the_command_line_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seed = ["--seed_everything=1", "--data.seed=1", "--trainer.max_epochs=5"]
    command_line(["fit", f"--config={RECIPES / 'iris_sequential.yaml'}", *seed])
    shown = shown_score(capsys.readouterr().out, "test/acc")
    found = compare_recipe(recipe(), seeds=[1, 2], epochs=5, arms=["untrained"], baselines=False)
    assert found.arm("hybrid").scores[0] == pytest.approx(shown)
    assert found.splits_vary and not found.baselines and found.seeds == (1, 2)
    hybrid, untrained = found.retrained
    assert untrained.parameters == hybrid.parameters - hybrid.photonic_parameters
    assert len(list(tmp_path.iterdir())) == 1  # the runs of the command line alone


@pytest.mark.slow
@pytest.mark.parametrize("path", OF_TEMPLATES, ids=lambda path: path.stem)
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


@pytest.mark.slow
def test_a_budget_chooses_the_circuit_of_all_arms():
    given = recipe() | {"budget": "320 parameters"}
    told = []
    found = compare_recipe(
        given, seeds=2, epochs=1, arms=["untrained"], baselines=False, progress=told.append
    )
    assert found.arm("hybrid").parameters <= 320 and told[0].startswith(
        "Budget of 320 parameters: "
    )


def test_test_rows_of_their_own_are_the_same_for_every_seed(tmp_path):
    """Then intervals are over weights and test rows: there are no other splits."""
    parts = ("train", "val", "test")
    rows = [f"{row},{row % 5},{'abc'[row % 7 % 3]},{parts[row % 3]}" for row in range(60)]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(["one,two,kind,part", *rows]))
    data = {
        "class_path": "TableDataModule",
        "init_args": {"path": str(table), "target": "kind", "split": "part"},
    }
    settings = recipe(**{"model.input_dim": "auto", "model.output_dim": "auto"}) | {"data": data}
    found = compare_recipe(settings, seeds=2, epochs=1, arms=["untrained"], baselines=False)
    assert not found.splits_vary and found.test_rows == 20


def test_callbacks_of_the_recipe_are_those_of_every_arm():
    stop = {"class_path": "lightning.pytorch.callbacks.EarlyStopping"}
    stop["init_args"] = {"monitor": "val/loss", "patience": 1, "min_delta": 100.0}
    found = compare_recipe(
        recipe(**{"trainer.callbacks": [stop]}), seeds=2, arms=["untrained"], baselines=False
    )
    assert {arm.epochs for arm in found.retrained} == {2}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, dict(arms=["mpl"]), "each entry of arms must be one of .*did you mean 'mlp'"),
        ({}, dict(seeds=1), "seeds must be 2 or more"),
        ({}, dict(epochs=0), "max_epochs must be at least 1, got 0"),
        ({"trainer.max_epochs": None}, {}, "no trainer.max_epochs: give epochs"),
        ({"model.quantum": "mlp"}, {}, "holds no photonic layer"),
        ({"data.datset": "iris"}, {}, "datset"),
    ],
)
def test_what_cannot_be_compared(changes, options, message):
    with pytest.raises(ValueError, match=message):
        compare_recipe(recipe(**changes), **options)
