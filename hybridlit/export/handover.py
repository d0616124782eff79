"""A trained model as a file for where there is no hybridlit."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from lightning import __version__
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.export.description import describe, example
from hybridlit.export.formats import FORMATS, KEY, FormatName
from hybridlit.export.program import WholeModel, exported, require_size
from hybridlit.export.raw import Raw, random_rows, raw_of
from hybridlit.resume.durable import save_durably
from hybridlit.templates import HybridModule

__all__ = ["export_model"]

_TOLERANCE = 1e-5
_ROWS = 16


@checked
def export_model(
    model: HybridModule, path: str | os.PathLike[str], format: FormatName = "pt2"
) -> list[Path]:
    """Write a model as a file that predicts where there is no hybridlit.

    The file takes raw rows, in batches of any size: its graph holds the preprocessing, the network
    in evaluation mode with its photonic layers in real arithmetic, and what turns outputs into
    probabilities or into values in their own units. Before it is kept it is read back, and its
    outputs for random rows are compared with the model's.

    Args:
        model: A trained model; it stays as it is.
        path: Where to write. What stands there is replaced once the new file is complete.
        format: `"pt2"` for `torch.export.load`; `"onnx"` for ONNX runtimes; `"state"` for weights,
            preprocessing and settings as plain values and tensors without a graph, which
            `hybridlit.load` reads like a checkpoint. The path ends in .pt2, .onnx or .pt.

    Returns:
        The file, and a description of it beside it, with `.json` added to its name: columns in
        order, codes of categories, classes, names of targets, versions, and code that runs it. The
        file holds the same under the name `hybridlit`.

    Raises:
        ImportError: If the format needs a package that is missing.
        OSError: If the file cannot be written.
        ValueError: If the model cannot be exported, is unreasonably large, or would predict
            otherwise by more than 1e-5.
    """
    form = FORMATS[format]
    form.require()
    path = Path(path)
    if path.suffix not in ("", form.suffix) or path.is_dir():
        raise ValueError(f"path must end in {form.suffix} for format={format!r}, got {str(path)!r}")
    raw = raw_of(model)
    about = describe(model, raw, format)
    about["example"] = example(about, path)
    text = json.dumps(about, indent=1, ensure_ascii=False)
    if form.make is None or form.run is None:
        save_durably({**_checkpoint(model), KEY: text}, path)
    else:
        _keep(_checked_file(model, raw, format, text), path)
    beside = path.with_name(f"{path.name}.json")
    _keep(text.encode(), beside)
    return [path, beside]


def _checked_file(model: HybridModule, raw: Raw, format: str, about: str) -> bytes:
    """Return the bytes of a file whose outputs have been compared with the model's."""
    require_size(model)
    form, whole, rows = FORMATS[format], WholeModel(model), random_rows(raw, _ROWS)
    assert form.make is not None and form.run is not None
    with torch.no_grad():
        wanted = whole(rows)
        whole.make_real()
    program = exported(whole, rows)
    try:
        data = form.make(program, about)
        found = [(form.run(data, some), wanted[: len(some)]) for some in (rows, rows[:1])]
    except Exception as error:  # of any class, from the exporter or the runtime
        why = str(error).strip().partition("\n")[0]
        raise ValueError(f"{type(model).__name__} cannot be made {format}: {why}") from error
    for got, right in found:
        difference = _difference(got, right, _spread(model))
        if difference > _TOLERANCE:
            raise ValueError(
                f"the exported {type(model).__name__} would differ from the model by "
                f"{difference:.2g} on random rows, more than {_TOLERANCE:g}, and was not written: "
                "use format='state', or model.double() before the export. A subclass of a photonic "
                "layer that computes something else than its base cannot be exported"
            )
    return data


def _difference(got: Tensor, wanted: Tensor, spread: Tensor) -> float:
    """Largest difference, relative to values above the spread of the targets; NaN equals NaN."""
    same = torch.isnan(got) & torch.isnan(wanted)
    error = (got.double() - wanted.double()).abs() / torch.maximum(wanted.double().abs(), spread)
    worst = error.masked_fill(same, 0.0).max()
    return float("inf") if torch.isnan(worst) else float(worst)


def _spread(model: HybridModule) -> Tensor:
    if model.preprocessing is None or model.task.classifies:
        return torch.ones((), dtype=torch.float64)
    scaler = model.preprocessing.targets.scaler
    return (scaler.scale * scaler.unit).cpu().double()


def _checkpoint(model: HybridModule) -> dict[str, Any]:
    """What a checkpoint holds of the model itself, without the state of its training."""
    found: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": __version__,
        "state_dict": {name: value.cpu() for name, value in model.state_dict().items()},
        model.CHECKPOINT_HYPER_PARAMS_KEY: dict(model.hparams),
    }
    model.on_save_checkpoint(found)
    return found


def _keep(data: bytes, path: Path) -> None:
    """Write a file beside its place and bring it to the disk before it takes it."""
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
