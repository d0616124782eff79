"""`hybridlit fit --budget` and `hybridlit plan --budget`."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from hybridlit import load
from hybridlit.cli import main
from hybridlit.photonics import sizes as memory
from hybridlit.photonics.speed import Speed, assume_speed

SPEED = Speed("float32", 1e-4, (10**4, 10**8), (5e-10, 1e-9), 5e-10, 5e-6, 2e-11, 2e-10)
RECIPE = """
model:
  class_path: SequentialHybrid
  init_args: {input_dim: auto, output_dim: auto, quantum_dim: 3, n_modes: 6, n_photons: 3}
data:
  class_path: SklearnDataModule
  init_args: {dataset: iris, batch_size: 32}
trainer:
  max_epochs: 1
  accelerator: cpu
  devices: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assume_speed(SPEED)
    Path("recipe.yaml").write_text(RECIPE)
    yield
    assume_speed(None)


def run(*words):
    main(["fit", "--config", "recipe.yaml", *words])


@pytest.mark.slow
def test_the_circuit_is_chosen_said_and_kept(capsys):
    run("--budget", "1GiB, 1s, 2000 parameters")
    said = capsys.readouterr().out
    modes, photons = map(int, re.search(r"parameters: (\d+) modes and (\d+) photon", said).groups())
    assert (modes, photons) != (6, 3)
    assert "instead of 6 and 3" in said
    folder = Path("runs/recipe/version_0")
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["budget"] is None
    assert saved["model"]["init_args"]["n_modes"] == modes
    [best] = (folder / "checkpoints").glob("best*.ckpt")
    model = load(best)
    assert (model.hparams["n_modes"], model.hparams["n_photons"]) == (modes, photons)
    assert (folder / "hparams.yaml").read_text().count(f"n_modes: {modes}\n") == 1
    assert model.cost(32).peak_bytes <= 2**30

    # a run that goes on keeps its circuit, whatever the machine is like by then
    run("--budget", "400 parameters", "--ckpt", "last", "--trainer.max_epochs", "2")
    assert "keeps the circuit of its checkpoint" in capsys.readouterr().out
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["hyper_parameters"]["n_modes"] == modes
    assert last["epoch"] == 1


@pytest.mark.slow
def test_weights_are_drawn_as_without_a_budget(capsys):
    short = ["--trainer.max_steps", "1", "--trainer.logger", "false"]
    run("--budget", "ascella", *short, "--trainer.default_root_dir", "one")
    run(
        "--model.n_modes",
        "12",
        "--model.n_photons",
        "6",
        *short,
        "--trainer.default_root_dir",
        "two",
    )
    one, two = (
        torch.load(next(Path(each).rglob("last.ckpt")), weights_only=True)["state_dict"]
        for each in ("one", "two")
    )
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.slow
def test_a_recipe_may_have_a_budget_and_an_experiment(capsys):
    circuit = "n_modes: 6, n_photons: 3"
    whole = RECIPE.replace(circuit, f"experiment: {{circuit_type: series, {circuit}}}")
    Path("recipe.yaml").write_text(f"budget: ascella\n{whole}")
    run("--trainer.logger", "false", "--trainer.fast_dev_run", "true")
    assert "Budget of ascella: 12 modes and 6 photons" in capsys.readouterr().out


def test_without_a_budget_nothing_is_made_smaller(capsys, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2**30)
    with pytest.raises(SystemExit):
        run("--model.n_modes", "24", "--model.n_photons", "12")
    said = capsys.readouterr().err
    assert "834,451,800 states" in said
    assert said.rstrip().endswith(
        "or --budget machine, for the largest circuit of this kind that fits"
    )


@pytest.mark.parametrize(
    "words,message",
    [
        (
            ["--budget", "9 parameters"],
            r"no circuit is within the budget 9 parameters: 2 modes and 1 photon",
        ),
        (["--budget", "1parsec"], r"the word '1parsec', which is none of"),
        (["--budget", "1MiB", "--model.quantum", "mlp"], "leave the budget out"),
        (["--budget", "1MiB", "--trainer.devices", "2"], "a budget is for one process"),
    ],
)
def test_refusals_are_one_line(capsys, words, message):
    with pytest.raises(SystemExit):
        run(*words)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("hybridlit fit: ")
    assert re.search(message, said)
    assert not Path("runs").exists()


def test_a_plan_is_of_the_largest_circuit(capsys):
    main(["plan", "--budget", "ascella"])
    assert capsys.readouterr().out.startswith("12 modes, 6 photons, fock space, batch of 64")
    main(["plan", "--budget", "1MiB", "--photons", "2", "--features", "3"])
    assert ", 2 photons" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["plan", "--modes", "5"])
    assert "give --modes and --photons, a --budget or a --config" in capsys.readouterr().err


def test_a_plan_of_a_recipe_builds_nothing(capsys):
    recipes = Path(__file__).parents[2] / "recipes"
    main(["plan", "--config", str(recipes / "digits_noisy.yaml")])
    assert "120 by [0,1,2,3,4,5,6,7]==3" in capsys.readouterr().out
    main(["plan", "--config", str(recipes / "iris_circuit.yaml"), "--batch", "16"])
    found = capsys.readouterr().out
    assert found.startswith("quantum_layer: 4 modes, 2 photons, fock space, batch of 16, float32")
    assert "states             10" in found
    text = (recipes / "iris_sequential.yaml").read_text()
    larger = text.replace("n_modes: 5", "n_modes: 40").replace("n_photons: 2", "n_photons: 12")
    Path("larger.yaml").write_text(larger)
    main(["plan", "--config", "larger.yaml"])
    assert "does not fit       40 modes and 12 photons" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["plan", "--config", "larger.yaml", "--modes", "5"])
    assert "leave modes, photons, features, budget out" in capsys.readouterr().err
    Path("twin.yaml").write_text(text.replace("dropout: 0.0", "quantum: mlp"))
    with pytest.raises(SystemExit):
        main(["plan", "--config", "twin.yaml"])
    assert "the model of twin.yaml has no circuit to plan" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["plan", "--config", str(recipes / "chip_twin.yaml")])
    assert "has no circuit to plan, but a ChipLayer\n" in capsys.readouterr().err
