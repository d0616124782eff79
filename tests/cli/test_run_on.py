"""Predictions whose circuits run on a processor, by the command line."""

import numpy as np
import pandas as pd
import pytest
import yaml

from hybridlit.cli import main

pcvl = pytest.importorskip("perceval")

from fake_platform import FakeHandler, fake_computer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")

MODEL = {"input_dim": "auto", "output_dim": "auto", "quantum_dim": 2, "n_modes": 3}
MODEL |= {"n_photons": 2, "task": "multiclass"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of one epoch, and six rows without and with their targets."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        generator = np.random.default_rng(0)
        table = pd.DataFrame(generator.normal(size=(60, 2)), columns=["a", "b"])
        table["kind"] = np.where(table["a"] > 0, "high", "low")
        table.to_csv("rows.csv", index=False)
        table[:6].to_csv("new.csv", index=False)
        recipe = {
            "model": {"class_path": "SequentialHybrid", "init_args": MODEL},
            "data": {
                "class_path": "TableDataModule",
                "init_args": {"path": "rows.csv", "target": "kind"},
            },
            "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        main(["fit", "--config", "recipe.yaml"])
    return folder


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    monkeypatch.chdir(place)


def shares(path):
    return pd.read_csv(path)[["probability_high", "probability_low"]].to_numpy()


RUN = "runs/recipe/version_0"
COMMAND = ["run-on", "--ckpt", "last", "--input", "new.csv"]


def test_a_local_simulator_predicts_what_predict_does(place, capsys):
    main(["predict", "--ckpt", "last", "--input", "new.csv", "--output", "usual.csv"])
    usual = capsys.readouterr().out
    main(COMMAND)
    said = capsys.readouterr()
    assert "SLOS: 6 rows, in 1 job; probabilities\n" in said.err
    assert f"Predictions for 6 rows on SLOS: {RUN}/on-SLOS.csv" in said.out
    assert usual[usual.index("Scores") :] in said.out
    assert np.abs(shares(f"{RUN}/on-SLOS.csv") - shares("usual.csv")).max() < 1e-5
    with np.load(f"{RUN}/on-SLOS/counts.npz") as found:
        assert found["quantum_layer counts"].shape == (6, 6)
        assert found["quantum_layer outcomes"].tolist()[0] == [2, 0, 0]


def test_a_remote_platform_gets_each_row_once(place, capsys, monkeypatch):
    handler = FakeHandler()
    monkeypatch.setattr(pcvl.RemoteConfig, "get_token", lambda self: "a")
    monkeypatch.setattr(pcvl, "QuandelaCommunicationLayer", lambda *_: None)
    computer = fake_computer(handler)
    monkeypatch.setattr(pcvl, "RemoteComputer", lambda _: computer)
    given = ["--processor", "sim:fake", "--shots", "500", "--rows_per_job", "4"]
    main([*COMMAND, *given, "--estimate"])
    words = "sim:fake: 6 rows, in 2 jobs; 3,000 kept events from at most 6,000 shots"
    assert words in capsys.readouterr().err and not handler.sent
    main([*COMMAND, *given])
    assert len(handler.sent) == 6
    main([*COMMAND, *given])
    assert len(handler.sent) == 6 and "6 of them known" in capsys.readouterr().err
    assert (shares(f"{RUN}/on-sim-fake.csv").sum(1) - 1 < 1e-6).all()
    computer.specs.constraints = {"max_mode_count": 2}
    error(["--processor", "sim:fake", "--shots", "5"], "takes at most 2 modes", capsys)


def error(options, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith("hybridlit run-on: ") and words in line


def test_what_cannot_be_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(pcvl.RemoteConfig, "get_token", lambda self: "")
    given = ["--processor", "qpu:belenos", "--shots", "10"]
    error(given, "the platform 'qpu:belenos' needs a token: set the environment", capsys)
    error(["--processor", "slos"], "processor must be a local simulator", capsys)
    error(["--output", "new.csv"], "output must be another file than input", capsys)
    error(["--output", "new.txt"], "output must end in", capsys)
