"""`hybridlit draw`, and models and data from recipes and checkpoints."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from digits_folder import write_digits
from lightning.pytorch import Trainer
from torch import nn

from hybridlit import ParallelHybrid, SequentialHybrid, SklearnDataModule, mark_photonic
from hybridlit.cli import main
from hybridlit.cli.loading import load_model, load_run
from hybridlit.recipe.building import datamodule_of_recipe, model_of_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


class Twins(SequentialHybrid):
    """A model with two photonic layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.second = self.make_quantum(3, 4)


class Foreign(SequentialHybrid):
    """A model with a layer of another library."""

    def build_quantum(self):
        layer = mark_photonic(nn.Linear(2, 4))
        layer.output_size = 4
        return layer


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recipe(place):
    def write(name="SequentialHybrid", **changes):
        arguments = dict(input_dim=4, quantum_dim=2, output_dim=3, n_modes=4, n_photons=2)
        content = {
            "model": {"class_path": name, "init_args": arguments | changes},
            "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
        }
        path = place / "flowers.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return write


@pytest.fixture
def run(recipe, place):
    """Train from a recipe; the path of the last checkpoint."""
    quiet = ["accelerator=cpu", "max_epochs=1", "enable_progress_bar=false"]
    quiet += ["enable_model_summary=false"]
    main(["fit", "--config", recipe(), *(f"--trainer.{option}" for option in quiet)])
    return place / "runs" / "flowers" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.fixture
def bare(place):
    """A checkpoint of a Trainer, without the class of its model as before version 0.2."""
    trainer = Trainer(
        max_epochs=0, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    model = SequentialHybrid(input_dim=4, quantum_dim=2, output_dim=3, n_modes=5)
    trainer.fit(model, SklearnDataModule("iris"))
    trainer.save_checkpoint(place / "bare.ckpt")
    content = torch.load(place / "bare.ckpt", weights_only=True)
    del content["hybridlit_class"]
    torch.save(content, place / "bare.ckpt")
    return place / "bare.ckpt"


def test_a_recipe_is_drawn_on_the_terminal(recipe, capsys):
    main(["draw", "--config", recipe()])
    out = capsys.readouterr().out
    assert "0  |1> ●──┤     ├──[π x0]" in out
    assert "4 modes, 2 photons" in out and "4 outputs" in out


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (index % 4 != 0))
        for index, path in enumerate(RECIPES)
    ],
)
def test_all_recipes_can_be_drawn(path, place, monkeypatch, capsys):
    write_digits(path, place, monkeypatch)
    main(["draw", "--config", str(path)])
    enters = "light in one mode" if path.stem.startswith("chip_twin") else "photons"
    assert enters in capsys.readouterr().out


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("txt", b" ")]
)
def test_drawings_become_files(suffix, start, recipe, place, capsys):
    mesh = ["--mesh"] if suffix != "txt" else []
    main(["draw", "--config", recipe(), "--out", f"pictures/circuit.{suffix}", *mesh])
    path = place / "pictures" / f"circuit.{suffix}"
    assert path.read_bytes().startswith(start)
    assert capsys.readouterr().out.strip() == f"pictures/circuit.{suffix}"


def test_several_circuits_are_all_drawn(recipe, place, capsys):
    path = recipe(f"{__name__}.Twins")
    main(["draw", "--config", path])
    out = capsys.readouterr().out
    assert "quantum_layer\n" in out and "second\n" in out
    main(["draw", "--config", path, "--out", "c.svg"])
    assert {p.name for p in place.glob("*.svg")} == {"c-quantum_layer.svg", "c-second.svg"}


def test_a_checkpoint_is_drawn_with_what_it_has_learned(run, capsys):
    capsys.readouterr()
    main(["draw", "--ckpt", str(run)])
    (factor, _) = torch.load(run, weights_only=True)["state_dict"]["quantum_layer.bandwidth"][:2]
    assert f"[{factor:.3g}π x0]" in capsys.readouterr().out


def test_a_run_brings_model_and_data_back(run):
    model, data = load_run(run)
    assert type(model) is SequentialHybrid and type(data) is SklearnDataModule
    assert not model.training and data.hparams["dataset"] == "iris"
    kept = torch.load(run, weights_only=True)["state_dict"]
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    assert trainer.validate(model, data, verbose=False)[0]["val/loss"] > 0
    moved = run.parents[2] / "moved.ckpt"
    moved.write_bytes(run.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no .*config\.yaml: the settings of .* not known"):
        load_run(moved)


def test_a_checkpoint_without_its_class_needs_one(bare, capsys):
    with pytest.raises(ValueError, match="give template, such as 'SequentialHybrid'"):
        load_model(bare)
    assert load_model(bare, "SequentialHybrid").quantum_layer.experiment.n_modes == 5
    assert type(load_model(bare, "hybridlit.SequentialHybrid")) is SequentialHybrid
    for name in ("NoSuchHybrid", "no.such.Hybrid"):
        with pytest.raises(ValueError, match=f"there is no class '{name}'"):
            load_model(bare, name)
    with pytest.raises(ValueError, match=r"torch\.nn\.Linear is no HybridModule"):
        load_model(bare, "torch.nn.Linear")
    capsys.readouterr()
    main(["draw", "--ckpt", str(bare), "--template", "SequentialHybrid"])
    assert "5 modes" in capsys.readouterr().out


@pytest.mark.slow
def test_a_process_of_its_own_draws_a_checkpoint_of_fit(run):
    command = [sys.executable, "-m", "hybridlit", "draw", "--ckpt", str(run)]
    drawn = subprocess.run(command, capture_output=True, text=True)
    assert drawn.returncode == 0 and "modes" in drawn.stdout, drawn.stderr


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"_instantiator": "trap.make"}, r"trap\.make"),
        ({"_class_path": "trap.Mine"}, r"trap\.Mine"),
        ({"front": {"class_path": "trap.Front"}}, r"trap\.Front"),
        ({"front": ["{class_path: 'trap.Front'}"]}, r"trap\.Front"),
    ],
)
@pytest.mark.parametrize("command", ["load_model", "draw", "analyze"])
def test_a_checkpoint_cannot_have_code_imported(command, changes, named, bare, place):
    (place / "trap.py").write_text("raise SystemExit('imported')")
    (place / "config.yaml").write_text("{}")
    content = torch.load(bare, weights_only=True)
    content["hyper_parameters"] |= {"_class_path": "hybridlit.SequentialHybrid"} | changes
    (place / "checkpoints").mkdir()
    path = place / "checkpoints" / "foreign.ckpt"
    torch.save(content, path)
    with pytest.raises((ValueError, SystemExit), match=rf"class {named}, which is not imported"):
        if command == "load_model":
            load_model(path)
        else:
            main([command, "--ckpt", str(path)])
    assert "trap" not in sys.modules


def test_recipes_give_models_and_data(recipe):
    path = recipe("ParallelHybrid", quantum_dims=None)
    with pytest.raises(ValueError, match=r"has no argument 'quantum_dims' .* 'quantum_dim'\?"):
        model_of_recipe(path)
    path = recipe(n_modes=6)
    model = model_of_recipe(path)
    assert model.training and model.quantum_layer.experiment.n_modes == 6
    assert len(datamodule_of_recipe(path).test[0]) == 30
    wine = next(p for p in RECIPES if p.stem == "wine_parallel")
    assert type(model_of_recipe(wine)) is ParallelHybrid


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give one of --config and --ckpt, got neither"),
        (["--config", "a", "--ckpt", "b"], "got both"),
        (["--config", "none.yaml"], "no file none.yaml"),
        (["--ckpt", "none.ckpt"], "no file none.ckpt"),
        (["--config", "list.yaml"], "list.yaml has no section 'model'"),
        (["--config", "no.yaml"], "no.yaml is no YAML file"),
        (["--ckpt", "list.yaml"], "list.yaml is damaged: the file is truncated or no checkpoint"),
        (["--ckpt", "dict.ckpt"], "dict.ckpt is no checkpoint of Lightning"),
        (["--config", "list.yaml", "--out", "c.gif"], "out must end in .txt, .svg, .png, .pdf"),
        (["--config", "list.yaml", "--mesh"], "mesh needs a figure"),
    ],
)
def test_mistakes_are_named(options, message, place):
    (place / "list.yaml").write_text("[1, 2]")
    (place / "no.yaml").write_text("a: [")
    torch.save({}, place / "dict.ckpt")
    with pytest.raises(SystemExit) as stop:
        main(["draw", *options])
    assert str(stop.value).startswith("hybridlit draw: ") and message in str(stop.value)


def test_models_without_a_circuit_of_ours_are_named(recipe):
    with pytest.raises(SystemExit, match=r"no photonic module .with quantum: mlp"):
        main(["draw", "--config", recipe(quantum="mlp")])
    with pytest.raises(SystemExit, match=r"only modules of other libraries: .'quantum_layer'"):
        main(["draw", "--config", recipe(f"{__name__}.Foreign")])


def test_unknown_options_and_arguments_are_named(recipe, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["draw", "--confg", "x"])
    assert stop.value.code == 2 and "confg" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="widht"):
        main(["draw", "--config", recipe(widht=3)])
    with pytest.raises(SystemExit, match="n_modes must be at least 2"):
        main(["draw", "--config", recipe(n_modes=1)])
