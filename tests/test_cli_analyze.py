"""`hybridlit analyze` on a run that the command line has made, as a user would."""

import re
from pathlib import Path

import pytest
import torch

from hybridlit.cli import main

pytest.importorskip("matplotlib", reason="analysis extra")
pytest.importorskip("sklearn", reason="recipes extra")

RECIPES = Path(__file__).parents[1] / "recipes"

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of one epoch of the smallest recipe."""
    place = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main(["fit", f"--config={RECIPES / 'iris_sequential.yaml'}", "--trainer.max_epochs=1"])
    return next(place.glob("runs/iris_sequential/version_0/checkpoints/last.ckpt"))


def test_a_report_of_all_that_there_is(trained, capsys):
    before = torch.load(trained, weights_only=True)["state_dict"]
    main(["analyze", f"--ckpt={trained}", "--seeds=2", "--arms=[linear,untrained]"])
    path = Path(capsys.readouterr().out.strip())
    assert path == trained.parents[1] / "report.html"
    page = path.read_text()
    for heading in ("In short", "The model", "What it costs", "What it contributes"):
        assert f"<h2>{heading}</h2>" in page
    for word in ("quantum_layer", "linear", "untrained", "permutation", "reinitialised", "x1"):
        assert word in page
    assert page.count("data:image/png") >= 6
    after = torch.load(trained, weights_only=True)["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_retraining_as_markdown(trained, tmp_path, capsys):
    out = tmp_path / "report.md"
    main(["analyze", f"--ckpt={trained}", "--retrain=false", f"--out={out}", "--batches=2"])
    files = [Path(line) for line in capsys.readouterr().out.split()]
    assert files[0] == out and all(file.is_file() for file in files)
    text = out.read_text()
    assert "as trained" in text and "trained again" not in text
    assert set(re.findall(r"\]\((.+\.png)\)", text)) == {file.name for file in files[1:]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--out=report.pdf"], "out must end in .html or .md, got 'report.pdf'"),
        (["--arms=[magic]"], "magic"),
        (["--seeds=1"], "seeds"),
        (["--ckpt=nowhere/checkpoints/last.ckpt"], "nowhere"),
    ],
)
def test_what_cannot_be_is_said(trained, change, message):
    arguments = ["analyze", f"--ckpt={trained}", "--max_epochs=1", *change]
    with pytest.raises(SystemExit, match=f"hybridlit analyze: .*{re.escape(message)}"):
        main(arguments)
