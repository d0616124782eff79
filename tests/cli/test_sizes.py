"""`input_dim: auto` and `output_dim: auto` in recipes."""

import pytest
import torch
import yaml

from hybridlit import ParallelHybrid, load
from hybridlit.cli import main
from hybridlit.cli.loading import load_run
from hybridlit.recipe.building import model_of_recipe

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")

RECIPE = {
    "model": {
        "class_path": "ParallelHybrid",
        "init_args": {
            "input_dim": "auto",
            "output_dim": "auto",
            "hidden_dims": [4],
            "quantum_dim": 2,
            "n_modes": 4,
            "n_photons": 2,
        },
    },
    "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_model_summary": False},
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recipe(place):
    path = place / "flowers.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return str(path)


@pytest.mark.slow
def test_a_run_has_the_sizes_of_its_data(recipe, place, capsys):
    main(["fit", "--config", recipe])
    run = place / "runs/flowers/version_0"
    settings = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
    assert settings["input_dim"] == settings["output_dim"] == "auto"
    last = str(run / "checkpoints/last.ckpt")
    kept = torch.load(last, weights_only=True)["hyper_parameters"]
    assert (kept["input_dim"], kept["output_dim"]) == (4, 3)
    assert kept["_class_path"].endswith("ParallelHybrid")
    model, _ = load_run(last)
    assert type(model) is type(load(last)) is ParallelHybrid
    capsys.readouterr()
    main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", last])
    assert "test/acc" in capsys.readouterr().out
    own = load(last).state_dict()
    more = ["--ckpt_path", last, "--trainer.max_epochs=2"]
    main(["fit", "--config", str(run / "config.yaml"), *more])
    # numbers in the recipe make the same run
    for name, size in (("input_dim", 4), ("output_dim", 3)):
        RECIPE["model"]["init_args"][name] = size
    (place / "numbers.yaml").write_text(yaml.safe_dump(RECIPE))
    main(["fit", "--config", "numbers.yaml"])
    other = load(place / "runs/numbers/version_0/checkpoints/last.ckpt").state_dict()
    assert all(torch.equal(value, other[name]) for name, value in own.items())


def test_a_recipe_is_drawn_and_analysed_with_the_sizes_of_its_data(recipe, capsys):
    model = model_of_recipe(recipe)
    assert type(model) is ParallelHybrid and model.hparams["input_dim"] == 4
    main(["draw", "--config", recipe])
    assert "4 modes" in capsys.readouterr().out


def test_a_class_of_ones_own_has_to_say_that_it_takes_auto(place, capsys):
    model = {"class_path": "own_sizes.Own", "init_args": {"output_dim": "auto"}}
    (place / "own.yaml").write_text(yaml.safe_dump(RECIPE | {"model": model}))
    (place / "own_sizes.py").write_text(
        "from hybridlit import HybridModule\n"
        "class Own(HybridModule):\n"
        "    def __init__(self, output_dim: int):\n"
        "        super().__init__(output_dim=output_dim)\n"
    )
    with pytest.raises(SystemExit):
        main(["fit", "--config", "own.yaml"])
    assert "got 'auto': let the class say that it takes it, output_dim: int | Literal['auto']" in (
        capsys.readouterr().err
    )
