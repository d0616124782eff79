"""`hybridlit lr-find`: two suggestions and a picture, of a recipe or of a checkpoint."""

import pytest
import yaml

from hybridlit.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")

RECIPE = {
    "seed_everything": 3,
    "trainer": {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False},
    "model": {
        "class_path": "SequentialHybrid",
        "init_args": dict(
            input_dim="auto", output_dim="auto", quantum_dim=2, n_modes=4, n_photons=2
        ),
    },
    "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
}
QUICK = ["--points=4", "--steps=5", "--low=1e-3"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def test_a_recipe_gets_two_suggestions_and_a_picture(place, capsys):
    main(["lr-find", "--config=recipe.yaml", *QUICK])
    said = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in said.splitlines()}
    for name, given in (("classical_lr", "0.003"), ("quantum_lr", "0.01")):
        assert lines[name][1] == given and (lines[name][2] == "none" or float(lines[name][2]) > 0)
    assert said.splitlines()[-1] == "learning_rates.png"
    assert (place / "learning_rates.png").stat().st_size > 5000
    main(["lr-find", "--config=recipe.yaml", *QUICK, "--out=there/again.svg"])
    assert capsys.readouterr().out.splitlines()[:-1] == said.splitlines()[:-1], "of the seed"
    assert (place / "there" / "again.svg").is_file()


@pytest.mark.slow
def test_a_trained_model_as_well(place, capsys):
    main(["fit", "--config=recipe.yaml"])
    capsys.readouterr()
    main(["lr-find", "--ckpt=last", *QUICK])
    assert "quantum_lr" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one of --config and --ckpt, got neither"),
        (["--config=recipe.yaml", "--ckpt=last"], "give one of --config and --ckpt, got both"),
        (["--config=recipe.yaml", "--out=a.txt"], "out must end in .svg, .png, .pdf, got 'a.txt'"),
        (["--config=recipe.yaml", "--points=1"], "points must be at least 3, got 1"),
    ],
)
def test_what_is_wrong_is_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["lr-find", *words])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and message in said
