"""Whatever a user can mistype is one line with exit code 2, and none of it from his files."""

from pathlib import Path

import pytest
import yaml

from hybridlit.cli import main

RECIPE = Path(__file__).parents[2] / "recipes" / "iris_sequential.yaml"
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(words, capsys):
    """What a command says as it ends with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    *_, said = lines = capsys.readouterr().err.splitlines()
    ours = [line for line in lines if line.startswith("hybridlit")]
    assert ours == [said] and "Traceback" not in "".join(lines) and "usage" not in "".join(lines)
    assert not Path("runs").exists()
    return said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trainer.max_epoch=3", "no option --trainer.max_epoch (did you mean '--trainer.max_ep"),
        ("--conf=x", "there is no option --conf (did you mean '--config'?)"),
        ("--modle.n_modes=3", "there is no option --modle.n_modes (did you mean '--model'?)"),
        ("stray", "there is no place for the word 'stray'"),
        ("mine.yaml", "for the word 'mine.yaml'; a recipe is given by --config mine.yaml"),
        ("--model.n_mode=3", "SequentialHybrid has no argument 'n_mode' (did you mean 'n_modes'?)"),
        ("--model.n_modes=few", "n_modes must be int, got 'few'"),
        ("--model.dropout=x", "dropout must be a number, got 'x'"),
        ("--model.n_modes=1", "n_modes must be at least 2, got 1"),
        ("--model.schedule=cosin", "] or a dictionary, got 'cosin' (did you mean 'cosine'?)"),
        ("--model.front=cn", "] or a dictionary or null, got 'cn' (did you mean 'cnn'?)"),
        ("--model=SequentialHybird", "class 'SequentialHybird' (did you mean 'SequentialHybrid'?)"),
        (
            "--model=no_such.Xyzzy",
            "no class 'no_such.Xyzzy': No module named 'no_such'; classes of",
        ),
        ("--model=hybridlit.Sequential", "'hybridlit.Sequential' (did you mean 'SequentialHybr"),
        ("--model=torch.nn.Linear", "model: torch.nn.Linear is no HybridModule"),
        ("--data.dataset=irs", "dataset must be one of ['digits', 'iris', "),
        ("--trainer.max_epochs=abc", "trainer.max_epochs must be int or null, got 'abc'"),
        ("--trainer.callbacks=EarlyStoping", "'EarlyStoping' (did you mean 'EarlyStopping'?)"),
        ("--trainer.accelerator=gpuu", "gpuu"),
        ("--trainer={a: [}", "trainer: Unable to load config '{a: [}'"),
        ("--model.input_dim=5", "input_dim=5, but a row of SklearnDataModule has 4 feat"),
        ("--ckpt=none.ckpt", "no file none.ckpt; give a checkpoint, such as runs/NAME"),
        ("--config=none.yaml", "no file none.yaml"),
    ],
)
def test_mistakes_in_options(option, said, capsys):
    found = refused(["fit", f"--config={RECIPE}", option, *QUIET], capsys)
    assert found.startswith("hybridlit fit: ") and said in found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer": {"max_epoch": 3}}, "there is no setting 'trainer.max_epoch' in a recipe (did"),
        ({"modle": {"class_path": "x"}}, "no setting 'modle' in a recipe (did you mean 'model'?)"),
        ({"data": {"class_path": "SklearnDataModule", "init_arg": {}}}, "nothing but init_args"),
        (
            {"data": {"class_path": "SklearnDataModule", "init_args": {"batchsize": 3}}},
            "SklearnDataModule has no argument 'batchsize' (did you mean 'batch_size'?)",
        ),
        ({"trainer": {"callbacks": [{"class_path": "Nothing"}]}}, "there is no class 'Nothing'"),
        (
            {"trainer": {"callbacks": {"class_path": "EarlyStopping", "init_args": {"mon": 1}}}},
            "EarlyStopping has no argument 'mon'",
        ),
    ],
)
def test_mistakes_in_a_recipe(changes, said, place, capsys):
    content = yaml.safe_load(RECIPE.read_text())
    content.update(changes)
    (place / "mine.yaml").write_text(yaml.safe_dump(content))
    assert said in refused(["fit", "--config=mine.yaml"], capsys)


@pytest.mark.parametrize("option", ["--config", "--data", "--model", "--trainer"])
def test_a_table_in_the_place_of_settings_is_not_printed(option, place, capsys):
    (place / "table.csv").write_text("name,illness\n" + "Ada,gout\n" * 9)
    said = refused(["fit", f"--config={RECIPE}", f"{option}=table.csv"], capsys)
    assert "Ada" not in said and "illness" not in said


@pytest.mark.parametrize("words", [["draw", "--confg=x"], ["analyze", "--ckp=x"], ["plan", "x"]])
def test_mistakes_in_other_verbs(words, capsys):
    assert refused(words, capsys).startswith(f"hybridlit {words[0]}: there is no ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit"], "hybridlit fit: give --data and --model, or a recipe by --config"),
        (["analyze"], "hybridlit analyze: give --ckpt"),
        (
            ["plan", "--modes=3"],
            "hybridlit plan: give --modes and --photons, a --budget or a --config",
        ),
        (["test", "--ckpt"], "hybridlit test: argument --ckpt/--ckpt_path: expected one argument"),
    ],
)
def test_what_is_missing(words, said, capsys):
    assert refused(words, capsys) == said


def test_where_an_error_comes_from_is_shown_when_asked_for(place, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", f"--config={RECIPE}", "--model.n_modes=1", "--traceback"])
    shown = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback (most recent call last)" in shown
    assert shown.splitlines()[-1] == "hybridlit fit: n_modes must be at least 2, got 1"


def test_an_error_of_another_package_says_how_to_find_it(place, capsys):
    (place / "own_layer.py").write_text(
        "import hybridlit, torch\n"
        "class Mine(hybridlit.SequentialHybrid):\n"
        "    def forward(self, x):\n"
        "        return torch.nn.functional.linear(x, None)\n"
    )
    said = refused(["fit", f"--config={RECIPE}", "--model=own_layer.Mine", *QUIET], capsys)
    assert said.endswith("(TypeError; --traceback shows where)")
