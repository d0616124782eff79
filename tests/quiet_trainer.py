"""A Trainer of one epoch that shows, logs and saves nothing, unless it is told to."""

from lightning.pytorch import Trainer


def quiet(**changes):
    options = dict(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return Trainer(**(options | changes))
