"""The page for a laboratory: its pieces of Python are one script, which does what it says."""

import re
from pathlib import Path

import pandas
import pytest
from pages import blocks

from hybridlit.cli import main
from hybridlit.templates.chip.steering import amplitude_fidelity

PAGE = Path(__file__).parents[3] / "recipes" / "CHIP.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {}
    for piece in blocks(PAGE, "python"):
        exec(piece, said)
        if "trainer.test" in piece:
            twin = said["twin"]
            assert twin.course.converged and float(twin.course.misfit) < 1.2
    assert len(pandas.read_csv("next.csv")) == len(set(said["chosen"].tolist())) == 10
    chip, wanted = said["chip"], said["splitter"]
    found = chip.layer.matrices(chip.heaters(said["voltages"]))
    assert amplitude_fidelity(found, wanted[None]) > 0.999 and said["fidelity"] > 0.999
    assert said["both"].quantum_layer.overlap.item() == pytest.approx(0.92, abs=0.01)
    true = (chip.layer.phases / 2).sin().square().numpy()
    assert (abs(said["reflectivities"].learned - true) < 0.02).all()


@pytest.mark.filterwarnings("ignore")
def test_its_command_reads_its_table(tmp_path, monkeypatch, capsys):
    """As far as the first batches."""
    page = PAGE.read_text(encoding="utf-8")
    (command,) = re.findall(r"^hybridlit (fit .*)$", page, re.MULTILINE)
    (tmp_path / "recipes").symlink_to(PAGE.parent)
    monkeypatch.chdir(tmp_path)
    exec(blocks(PAGE, "python")[0], {})
    main([*command.split(), "--trainer.fast_dev_run=2", "--trainer.enable_progress_bar=false"])
    # of three modes: 6 offsets, 12 responses, 36 of crosstalk
    assert re.search(r"HeaterResponse\W+54\b", capsys.readouterr().out)
