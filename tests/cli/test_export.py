"""`hybridlit export`: files of a checkpoint, and the lines that run them."""

import json

import pytest
import torch
from lightning.pytorch import Trainer

import hybridlit
from hybridlit import ArrayDataModule, SequentialHybrid
from hybridlit.cli import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    data = ArrayDataModule(torch.randn(40, 3), torch.arange(40) % 2, batch_size=20)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2), data)
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer.save_checkpoint(path)
    return path


def test_a_graph_and_the_lines_that_run_it(checkpoint, tmp_path, capsys):
    main(["export", f"--ckpt={checkpoint}", f"--out={tmp_path / 'mine.pt2'}"])
    printed = capsys.readouterr().out
    assert printed.startswith("To run it without hybridlit:\n\nimport json")
    assert "program = torch.export.load('mine.pt2').module()" in printed
    assert printed.splitlines()[-2:] == [str(tmp_path / f"mine.pt2{s}") for s in ("", ".json")]
    about = json.loads((tmp_path / "mine.pt2.json").read_text())
    assert about["input"]["shape"] == ["batch", 3]
    assert about["trained_on"]["rows"]["train"] == 24


def test_the_state_loads_like_a_checkpoint(checkpoint, capsys):
    main(["export", f"--ckpt={checkpoint}", "--format=state"])
    path = checkpoint.with_name("model.pt")
    assert str(path) in capsys.readouterr().out
    ours, theirs = hybridlit.load(path), hybridlit.load(checkpoint)
    x = torch.randn(4, 3)
    assert torch.equal(ours(x), theirs(x))
    assert ours.preprocessing.same_as(theirs.preprocessing)


@pytest.mark.parametrize(
    "words,line", [("--format=onnxx", "onnx"), ("--ckpt=none.ckpt", "no file")]
)
def test_errors_are_one_line(words, line, checkpoint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", f"--ckpt={checkpoint}", words])
    assert ended.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("hybridlit export: ")
    assert line in error
