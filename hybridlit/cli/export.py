"""`hybridlit export`: a trained model as a file for where there is no hybridlit."""

from __future__ import annotations

import json
from pathlib import Path

from hybridlit.cli.checkpoints import checkpoint_path, folder_for
from hybridlit.cli.loading import load_model
from hybridlit.export import export_model
from hybridlit.export.formats import FORMATS, FormatName

__all__ = ["export"]


def export(
    ckpt: str, format: FormatName = "pt2", out: str | None = None, template: str | None = None
) -> list[Path]:
    """Write a trained model, preprocessing included, as a file that predicts without hybridlit.

    Args:
        ckpt: Checkpoint of the model: a file, last or best.
        format: What the file is for, pt2 for torch.export, onnx for ONNX runtimes, state for
            weights and preprocessing without a graph, or perceval for the circuits of its photonic
            layers.
        out: File to write. Without it, model.pt2, model.onnx, model.pt or model.pcvl in the folder
            of the run.
            A description of columns, classes and outputs comes beside it, .json added to its name.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.

    Returns:
        The files written, the model first.
    """
    checkpoint = checkpoint_path(ckpt)
    path = folder_for(checkpoint) / f"model{FORMATS[format].suffix}" if out is None else Path(out)
    written = export_model(load_model(checkpoint, template), path, format)
    about = json.loads(written[1].read_text(encoding="utf-8"))
    print(f"To run it without hybridlit:\n\n{about['example']}\n")
    return written
