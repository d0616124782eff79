"""`hybridlit calibrate`: what a checkpoint's probabilities and errors are worth, kept in it."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule

from hybridlit.analysis.calibration import calibrate as calibrated, require_same_data
from hybridlit.cli.checkpoints import checkpoint_path
from hybridlit.cli.loading import datamodule_of_run, load_model
from hybridlit.resume.durable import save_durably
from hybridlit.resume.lock import FolderLock
from hybridlit.templates import HybridModule
from hybridlit.templates.predictions.calibration import CALIBRATION_KEY
from hybridlit.words import plural

__all__ = ["calibrate"]


def calibrate(
    ckpt: str, input: str | None = None, output: str | None = None, template: str | None = None
) -> list[Path]:
    """Calibrate a checkpoint: temperature of its probabilities, held-out rows for its coverage.

    hybridlit predict then gives probabilities at that temperature, and with --coverage 0.9 sets of
    labels or intervals that hold the truth that often. The temperature is from the validation rows
    of the run. Held-out rows are those of the calibration_fraction of its data module, or of a file
    that neither training nor the choice of a checkpoint has seen.

    Args:
        ckpt: Checkpoint: a file, last or best.
        input: Held-out rows with their targets: a table (.csv, .tsv, .parquet, .npz), or a folder
            of images in folders of their classes. Without it, those of the run's data.
        output: Checkpoint to write, .ckpt. Without it, what is found is added to the checkpoint
            itself, nothing else of which changes.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.

    Returns:
        The checkpoint written.
    """
    checkpoint = checkpoint_path(ckpt)
    path = checkpoint if output is None else Path(output)
    if path.suffix != ".ckpt":
        raise ValueError(f"output must end in .ckpt, got {path.name!r}")
    lock = FolderLock(str(path.parent))
    if not lock.take():  # before anything is read: a run may write the checkpoint anew
        raise ValueError(
            f"{path.parent} is in use by a run ({lock.owner}): wait for its end, or give output"
        )
    try:
        model = load_model(checkpoint, template)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = calibrated(model, _data(model, checkpoint, input, template), rows=input)
        for each in told:
            print(f"hybridlit calibrate: {each.message}", file=sys.stderr)
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        content[CALIBRATION_KEY] = found.state()
        save_durably(content, path)
    finally:
        lock.release()
    if found.temperature is not None:
        count = found.facts.get("validation_rows")  # not of a temperature that was set by hand
        rows = "" if count is None else f", from {plural(count, 'validation row')}"
        print(f"Temperature {found.temperature:.3f}{rows}")
    if found.scores is None:
        print("No rows were held out, so that there is no coverage: give --input")
    else:
        count = len(found.scores)
        most = math.floor(1e4 * count / (count + 1)) / 1e4  # rounded up it would be refused
        print(f"{plural(count, 'row')} held out: hybridlit predict --coverage takes up to {most}")
    return [path]


def _data(
    model: HybridModule, checkpoint: Path, input: str | None, template: str | None
) -> LightningDataModule | None:
    """The data of the run; without them, as they were, a file will do if it is given."""
    try:
        data = datamodule_of_run(checkpoint, template)
        require_same_data(model, data)
        return data
    except (FileNotFoundError, ValueError) as error:
        if input is None:
            raise
        new = "" if model.calibration is None else "new "
        print(f"hybridlit calibrate: no {new}temperature, since {error}", file=sys.stderr)
        return None
