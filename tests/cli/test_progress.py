"""The progress bar of the command line: seldom drawn, and never missing the end."""

import re

import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel

from hybridlit.cli import progress
from hybridlit.cli.progress import CalmProgressBar, timed


class Model(BoringModel):
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.ones(()), prog_bar=True)


@pytest.mark.parametrize(("seconds", "drawn"), [(0.0, [1, 2, 3, 4]), (1e9, [1, 4])])
def test_the_first_batch_and_the_last_are_drawn_and_others_if_it_is_time(
    seconds, drawn, monkeypatch, make_trainer
):
    monkeypatch.setattr(progress, "_SECONDS", seconds)
    seen = {"train": [], "val": []}

    class Watched(CalmProgressBar):
        def get_metrics(self, trainer, pl_module):
            seen["train"].append(self.train_progress_bar.n)
            return super().get_metrics(trainer, pl_module)

        def on_validation_end(self, trainer, pl_module):
            seen["val"].append(self.val_progress_bar.n)
            super().on_validation_end(trainer, pl_module)

    batches = dict(limit_train_batches=4, limit_val_batches=3, num_sanity_val_steps=0)
    make_trainer([Watched()], enable_progress_bar=True, **batches).fit(Model())
    assert sorted(set(seen["train"])) == drawn
    assert seen["val"] == [3]


@pytest.mark.parametrize(
    ("seconds", "lines"),
    [
        (0.0, [f"{epoch}{batch}" for epoch in range(3) for batch in (", batch 1 of 2", "")]),
        (1e9, ["0", "2"]),
    ],
)
def test_a_file_gets_lines_at_both_ends_and_now_and_then(
    seconds, lines, monkeypatch, capsys, make_trainer
):
    monkeypatch.setattr(progress, "_SECONDS_OF_LINES", seconds)
    shown = progress.progress_shown()  # pytest is no terminal
    batches = dict(max_epochs=3, limit_train_batches=2, limit_val_batches=1)
    make_trainer([shown], enable_progress_bar=True, **batches).fit(Model())
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert [line.partition(", after 0:00:0")[0] for line in found] == [f"Epoch {e}" for e in lines]
    assert found[-1].endswith(", val/loss 1")


def test_a_number_of_steps_does_not_shorten_an_epoch(monkeypatch, capsys, make_trainer):
    monkeypatch.setattr(progress, "_SECONDS_OF_LINES", 0.0)
    batches = dict(max_epochs=-1, max_steps=4, limit_train_batches=3, limit_val_batches=1)
    make_trainer([progress.progress_shown()], enable_progress_bar=True, **batches).fit(Model())
    places = re.findall(r"^Epoch (\d), batch (\d of \d)", capsys.readouterr().out, re.M)
    assert places[:2] == [("0", "1 of 3"), ("0", "2 of 3")]
    assert all(place == ("1", "1 of 3") for place in places[2:])


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(progress.progress_shown(), CalmProgressBar)


def test_what_is_done_is_said_before_and_its_time_after(capsys):
    with pytest.raises(KeyboardInterrupt), timed("The data"):
        assert capsys.readouterr().err == "The data ... "
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "0.0 s\n"
