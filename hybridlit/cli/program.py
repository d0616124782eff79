"""`hybridlit program`: voltages at which a chip does what is wanted, through its twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridlit.cli.checkpoints import checkpoint_path, folder_for
from hybridlit.cli.loading import load_model
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.templates import HybridModule
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.predictions.table import WRITERS, Predictions
from hybridlit.words import plural

__all__ = ["program"]


def program(
    ckpt: str,
    unitary: str,
    out: str | None = None,
    limits: list[float] | None = None,
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
        limits: The least and the largest voltage, 0 or more. Without it, those of the model.
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
    if not isinstance(model, ChipTwin):
        raise ValueError(f"ckpt must be of a ChipTwin, got one of a {type(model).__name__}")
    found = model.program(wanted, limits)
    heaters = found.voltages.shape[1]
    columns = zip(_names(model, heaters), found.voltages.mT.tolist(), strict=True)
    table = Predictions({**dict(columns), "fidelity": found.fidelity.tolist()})
    rows = plural(len(table), "row")
    print(f"Voltages of {heaters} heaters, {rows}: {table.write(path)}")
    mean, least = float(found.fidelity.mean()), float(found.fidelity.min())
    print(f"Expected amplitude fidelity: {mean:.5f} in the mean, {least:.5f} at least")


def _names(model: HybridModule, heaters: int) -> list[str]:
    """Names of the columns of voltages in the table that the twin was trained on."""
    if isinstance(model.preprocessing, Preprocessing):
        names = model.preprocessing.inputs.raw_names or []
        return names[:heaters]
    return [f"v{heater}" for heater in range(heaters)]
