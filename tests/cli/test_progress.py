"""The progress bar of the command line: seldom drawn, and never missing the end."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from hybridlit.cli import progress
from hybridlit.cli.progress import CalmProgressBar, timed


class Model(BoringModel):
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.ones(()), prog_bar=True)


@pytest.mark.parametrize(("seconds", "drawn"), [(0.0, [1, 2, 3, 4]), (1e9, [1, 4])])
def test_the_first_batch_and_the_last_are_drawn_and_others_if_it_is_time(
    seconds, drawn, tmp_path, monkeypatch
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

    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        limit_train_batches=4,
        limit_val_batches=3,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[Watched()],
    )
    trainer.fit(Model())
    assert sorted(set(seen["train"])) == drawn
    assert seen["val"] == [3]


def test_what_is_done_is_said_before_and_its_time_after(capsys):
    with pytest.raises(KeyboardInterrupt), timed("The data"):
        assert capsys.readouterr().err == "The data ... "
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "0.0 s\n"
