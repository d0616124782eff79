"""`hybridlit program`: voltages at which a chip does what is wanted, through its twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.cli.checkpoints import checkpoint_path, folder_for
from hybridlit.cli.loading import load_model
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.programming import program as programmed
from hybridlit.templates.predictions.table import WRITERS, Predictions
from hybridlit.words import plural

__all__ = ["program"]


def program(
    ckpt: str,
    unitary: str,
    out: str | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    template: str | None = None,
) -> None:
    """Find the voltages at which a chip does what is wanted, through its trained twin.

    Args:
        ckpt: Checkpoint of a ChipTwin: a file, last or best.
        unitary: Wanted unitary matrix, output by input, or several behind one another: a file of
            numpy, .npy.
        out: Table to write, .csv, .tsv, .parquet or .npz, a row for each matrix: the voltages, and
            the amplitude fidelity that the twin expects. Without it, voltages.csv in the folder of
            the run.
        limits: The least and the largest voltage of the heaters, 0 or more.
        template: Class of a checkpoint that hybridlit fit has not made, such as ChipTwin.
    """
    checkpoint = checkpoint_path(ckpt)
    path = folder_for(checkpoint) / "voltages.csv" if out is None else Path(out)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"out must end in one of {', '.join(WRITERS)}, got {path.name!r}")
    if Path(unitary).suffix.lower() != ".npy":
        raise ValueError(f"unitary must be a file of numpy, .npy, got {unitary!r}")
    wanted = np.load(unitary, allow_pickle=False)
    model = load_model(checkpoint, template)
    heaters = getattr(model, "classical_pre", None)
    layer = getattr(model, "quantum_layer", None)
    if not isinstance(heaters, HeaterResponse) or not isinstance(layer, ChipLayer):
        raise ValueError(
            f"ckpt must be of the twin of a chip, whose heaters are known, got a "
            f"{type(model).__name__}: train a ChipTwin first"
        )
    found = programmed(heaters, layer, wanted, limits)
    names = getattr(model.preprocessing, "names", None) or []
    del names
    return None
