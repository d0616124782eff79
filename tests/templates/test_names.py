"""One name for one thing: former names go on working, unknown ones are told the nearest."""

import warnings

import pytest
import torch
import yaml

from hybridlit.cli import main
from hybridlit.recipe.building import model_of_recipe
from hybridlit.templates import (
    HybridModule,
    HybridNetwork,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)

RENAMED = [ParallelHybrid, ResidualHybrid, ParallelBankHybrid]


@pytest.mark.parametrize("kind", RENAMED)
@pytest.mark.parametrize("width", [3, None])
def test_the_former_name_means_the_same_and_is_told(kind, width, tmp_path, make_trainer):
    torch.manual_seed(0)
    with pytest.warns(DeprecationWarning, match="quantum_input_dim is called quantum_dim now"):
        old = kind(5, 2, quantum_input_dim=width)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        new = kind(5, 2, quantum_dim=width)
    assert dict(old.hparams) == dict(new.hparams) and "quantum_input_dim" not in new.hparams
    assert "quantum_input_dim" not in old.hparams_initial
    x = torch.randn(4, 5)
    assert torch.equal(old(x), new(x)) and old.encoded_dim == new.encoded_dim
    trainer = make_trainer()
    trainer.strategy.connect(old)
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    kept = torch.load(tmp_path / "old.ckpt", weights_only=True)["hyper_parameters"]
    assert kept["quantum_dim"] == width and "quantum_input_dim" not in kept


def test_both_names_must_agree():
    with pytest.raises(ValueError, match="quantum_dim=3 contradicts quantum_input_dim=4"):
        ParallelHybrid(5, 2, quantum_dim=3, quantum_input_dim=4)
    with pytest.raises((TypeError, ValueError), match="quantum_input_dim must be"):
        ParallelHybrid(5, 2, quantum_input_dim="3")


def test_a_class_of_the_users_may_have_an_argument_of_that_name():
    class Mine(HybridNetwork):
        def __init__(self, *args, quantum_input_dim=7, **kwargs):
            super().__init__(*args, **kwargs)

    class Passing(ParallelHybrid):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    assert Mine(input_dim=3, output_dim=2).hparams.quantum_input_dim == 7
    with pytest.warns(DeprecationWarning):
        passing = Passing(5, 2, quantum_input_dim=3)
    assert passing.hparams.quantum_dim == 3 and passing._stored["quantum_dim"] == 3


@pytest.mark.parametrize("kind", [SequentialHybrid, *RENAMED])
@pytest.mark.parametrize(
    ("given", "meant"), [("n_mode", "n_modes"), ("quantum_dims", "quantum_dim"), ("lr", None)]
)
def test_an_unknown_argument_names_template_nearest_and_list(kind, given, meant):
    arguments = dict(input_dim=5, output_dim=2)
    if kind is SequentialHybrid:
        arguments["quantum_dim"] = 2
    with pytest.raises(TypeError, match=f"{kind.__name__} has no argument '{given}'") as caught:
        kind(**arguments, **{given: 3})
    assert ("did you mean" in str(caught.value)) == (meant is not None)
    assert meant is None or f"{meant!r}?" in str(caught.value)
    assert f"help({kind.__name__}), help(HybridNetwork), help(HybridModule)" in str(caught.value)


@pytest.mark.parametrize("kind", [SequentialHybrid, *RENAMED])
def test_an_argument_of_the_circuit_goes_into_an_experiment(kind):
    with pytest.raises(TypeError, match=r"give experiment=hybridlit\.Experiment\(circuit=\.\.\."):
        kind(input_dim=5, output_dim=2, quantum_dim=2, circuit=[])


# --- YAML and the command line --------------------------------------------------------------------


def recipe(path, **given):
    content = {
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {"class_path": "ResidualHybrid", "init_args": dict(input_dim=13, output_dim=3)},
        "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "wine"}},
    }
    content["model"]["init_args"] |= given
    path.write_text(yaml.safe_dump(content))
    return path


def test_recipes_with_the_former_name(tmp_path):
    for width, expected in [(3, 3), (None, 64)]:
        path = recipe(tmp_path / "old.yaml", quantum_input_dim=width, n_modes=6)
        with pytest.warns(DeprecationWarning):
            assert model_of_recipe(path).encoded_dim == expected
    assert model_of_recipe(recipe(tmp_path / "new.yaml")).encoded_dim == 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*logging interval.*")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_runs_with_the_former_name_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = recipe(tmp_path / "old.yaml", quantum_input_dim=3)
    main(["fit", f"--config={path}"])
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    content = torch.load(last, weights_only=True)  # as 0.1.0 would have written it
    arguments = content["hyper_parameters"]
    arguments["quantum_input_dim"] = arguments.pop("quantum_dim")
    for name in ("experiment", "quantum_dim"):
        arguments.pop(name, None)
    torch.save(content, last)
    main(["fit", f"--config={path}", f"--ckpt_path={last}", "--trainer.max_epochs=2"])
    main(["test", f"--config={path}", f"--ckpt_path={last}"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*logging interval.*")
def test_a_run_does_not_note_a_former_name_that_was_not_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["fit", f"--config={recipe(tmp_path / 'new.yaml', quantum_dim=3)}"])
    (settings,) = (tmp_path / "runs").rglob("config.yaml")
    arguments = yaml.safe_load(settings.read_text())["model"]["init_args"]
    assert arguments["quantum_dim"] == 3 and "quantum_input_dim" not in arguments
    main(["fit", f"--config={settings}"])


@pytest.mark.parametrize("command", ["fit", "draw"])
def test_an_unknown_argument_in_yaml(command, tmp_path, capsys):
    path = recipe(tmp_path / "wrong.yaml", n_mode=3)
    with pytest.raises(SystemExit) as caught:
        main([command, f"--config={path}"])
    said = str(caught.value) + capsys.readouterr().err
    assert "ResidualHybrid has no argument 'n_mode' (did you mean 'n_modes'?)" in said


@pytest.mark.parametrize("part", [torch.nn.L1Loss(), torch.nn.Parameter(torch.zeros(2))])
def test_a_part_of_a_methods_name_is_refused(part):
    """Python would find the method first: `self.loss = L1Loss()` changed no loss."""
    model = HybridModule(output_dim=1, task="regression")
    with pytest.raises(ValueError, match=r"'loss' is a method of .* override loss\(\)"):
        model.loss = part
    model.criterion = part
    assert model.criterion is part
