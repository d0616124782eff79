"""`hybridlit card` on a run that the command line has made."""

import json
import re
from pathlib import Path

import pytest

from hybridlit.cli import main

pytest.importorskip("sklearn", reason="recipes extra")

RECIPE = Path(__file__).parents[2] / "recipes" / "iris_sequential.yaml"

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of one epoch."""
    place = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main(["fit", f"--config={RECIPE}", "--trainer.max_epochs=1"])
    return next(place.glob("runs/iris_sequential/version_0"))


def card_of(run, capsys, *options):
    capsys.readouterr()
    main(["card", f"--ckpt={run / 'checkpoints' / 'last.ckpt'}", *options])
    return Path(capsys.readouterr().out.splitlines()[0])


def test_a_card_of_a_run(run, capsys):
    path = card_of(run, capsys)
    assert path == run / "card.md"
    text = path.read_text()
    for wanted in (
        "| epochs until then | 1 |",
        "| trainer: `max_epochs` | `1` |",
        "| data: `dataset` | `iris` |",
        "| data: `batch_size` | `16` |",
        "| `val/loss` | ",
        "| test rows | 30 |",
        "| `accuracy` |",
        "on disk",
        "](card-1.png)",
    ):
        assert wanted in text, wanted
    assert "num_workers" not in text and "barebones" not in text  # as by default
    assert f"not measured: `hybridlit analyze --ckpt {run}/checkpoints/last.ckpt`" in text


def test_a_card_as_a_page(run, tmp_path, capsys):
    page = card_of(run, capsys, f"--out={tmp_path / 'card.html'}")
    assert ">Scores on the test rows</h2>" in page.read_text()


@pytest.mark.slow
def test_the_verdict_of_the_analysis_is_in_the_card(run, capsys):
    last = run / "checkpoints" / "last.ckpt"
    main(["analyze", f"--ckpt={last}", "--retrain=false", "--batches=2", "--baselines=false"])
    assert capsys.readouterr().out.split()[-1] == str(run / "report.json")
    left = json.loads((run / "report.json").read_text())
    assert left["study"]["metric"] == "acc" and left["study"]["score"] is not None
    text = card_of(run, capsys).read_text()
    assert left["conclusion"] in text and "--retrain=false" in text
    assert "of another checkpoint" not in text
    main(["calibrate", f"--ckpt={last}"])  # which changes the file, and no weight
    text = card_of(run, capsys).read_text()
    assert "another checkpoint" not in text and "were not calibrated" not in text
    (run / "report.json").write_text(json.dumps(left | {"sha256": "0"}))
    assert "of another checkpoint of the run, `last.ckpt`" in card_of(run, capsys).read_text()
    (run / "report.json").write_text("{")
    assert re.search("not known: `.*report.json`", card_of(run, capsys).read_text())


def test_a_checkpoint_alone_is_not_enough_for_scores(run, tmp_path, capsys):
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    main(["card", f"--ckpt={alone}"])
    text = (tmp_path / "card.md").read_text()
    assert re.search("not measured: no .*config.yaml", text) and "| training rows | 90 |" in text


def test_a_card_is_html_or_markdown(run, capsys):
    with pytest.raises(SystemExit):
        main(["card", f"--ckpt={run / 'checkpoints' / 'last.ckpt'}", "--out=card.pdf"])


def test_data_that_are_not_there_are_told_in_a_line(run, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes((run / "checkpoints/last.ckpt").read_bytes())
    data = {"class_path": "TableDataModule", "init_args": {"path": "gone.csv", "target": "y"}}
    (folder / "config.yaml").write_text(json.dumps({"data": data}))
    main(["card", f"--ckpt={folder / 'checkpoints' / 'last.ckpt'}"])
    said = "not measured: path must be a file, got 'gone.csv', which is not there\n\n"
    assert said in (folder / "card.md").read_text()
