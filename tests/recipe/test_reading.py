"""Recipes as they are read and changed."""

import copy

import pytest

from hybridlit.recipe import changed, read_recipe

RECIPE = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 2},
    "model": {
        "class_path": "ParallelHybrid",
        "init_args": {"input_dim": 4, "experiment": {"n_modes": 4}, "optimizer": None},
    },
    "data": "IrisDataModule",
}


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("seed_everything", 3, ["seed_everything"]),
        ("trainer.max_epochs", 5, ["trainer", "max_epochs"]),
        ("model.class_path", "SequentialHybrid", ["model", "class_path"]),
        ("model.n_photons", 3, ["model", "init_args", "n_photons"]),
        ("model.init_args.n_photons", 3, ["model", "init_args", "n_photons"]),
        ("model.experiment.n_modes", 6, ["model", "init_args", "experiment", "n_modes"]),
        ("model.optimizer.class_path", "SGD", ["model", "init_args", "optimizer", "class_path"]),
        ("data.batch_size", 8, ["data", "init_args", "batch_size"]),
        ("data.class_path", "Mine", ["data", "class_path"]),
        ("trainer.logger.name", "x", ["trainer", "logger", "name"]),
    ],
)
def test_a_change_is_where_it_belongs(name, value, path):
    before = copy.deepcopy(RECIPE)
    found = changed(RECIPE, {name: value})
    for key in path:
        found = found[key]
    assert found == value
    assert before == RECIPE


def test_all_else_stays():
    found = changed(RECIPE, {"model.n_photons": 3, "data.batch_size": 8})
    assert found["data"] == {"class_path": "IrisDataModule", "init_args": {"batch_size": 8}}
    del found["model"]["init_args"]["n_photons"]
    assert found | {"data": RECIPE["data"]} == RECIPE


def test_arguments_of_a_class_within():
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.5}}
    settings = changed(RECIPE, {"model.optimizer": optimizer})
    found = changed(settings, {"model.optimizer.momentum": 0.9})
    assert found["model"]["init_args"]["optimizer"]["init_args"] == {"momentum": 0.9}


def test_values_are_copied():
    sizes = [16, 8]
    found = changed(RECIPE, {"model.hidden_dims": sizes})
    sizes.append(4)
    assert found["model"]["init_args"]["hidden_dims"] == [16, 8]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("modle.n_photons", "begins with no section .did you mean 'model'"),
        ("n_photons", "'n_photons' begins with no section"),
        ("model.input_dim.x", "model.input_dim is 4, which has no fields"),
    ],
)
def test_names_that_lead_nowhere(name, said):
    with pytest.raises(ValueError, match=said):
        changed(RECIPE, {name: 1})


@pytest.mark.parametrize("text", ["", "model: Mine", "- 1", "data: Mine"])
def test_what_is_no_recipe(text, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"has no section '(model|data)'"):
        read_recipe(path)


def test_classes_beside_a_recipe_can_be_imported(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "beside_this_recipe.py").write_text("value = 3\n")
    path = tmp_path / "recipe.yaml"
    path.write_text("model: beside_this_recipe.Mine\ndata: Iris\n")
    assert read_recipe(path) == {"model": "beside_this_recipe.Mine", "data": "Iris"}
    assert __import__("beside_this_recipe").value == 3
