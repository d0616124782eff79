"""A trained model as a file for where there is no hybridlit."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import __version__
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.atomic_write import atomic_write
from hybridlit.export.description import describe, example
from hybridlit.export.formats import FORMATS, KEY, FormatName
from hybridlit.export.program import WholeModel, exported, require_size
from hybridlit.export.raw import Raw, random_rows, raw_of
from hybridlit.resume.durable import save_durably
from hybridlit.templates import HybridModule

__all__ = ["export_model"]

_ABSOLUTE, _RELATIVE = 1e-6, 1e-5
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
            `hybridlit.load` reads like a checkpoint; `"perceval"` for the circuits of the photonic
            layers alone, with their inputs as symbols, which Perceval reads. The path ends in .pt2,
            .onnx, .pt or .pcvl.

    Returns:
        The file, and a description of it beside it, with `.json` added to its name: columns in
        order, codes of categories, classes, names of targets, versions, and code that runs it. The
        file holds the same under the name `hybridlit`.

    Raises:
        ImportError: If the format needs a package that is missing.
        OSError: If the file cannot be written.
        ValueError: If the model cannot be exported, is unreasonably large, or would predict
            otherwise: by more than 1e-6 + 1e-5 |y| for an output y, a probability or the value of
            a scaled target before the scaling is undone; of a target that is not scaled, by more
            than 1e-5 of its largest value.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from hybridlit import SequentialHybrid
        >>> with TemporaryDirectory() as folder:
        ...     files = export_model(SequentialHybrid(4, 2, 3), f"{folder}/model.pt", "state")
        >>> [file.name for file in files]
        ['model.pt', 'model.pt.json']
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
    if form.make is None and form.of_model is None:
        save_durably({**_checkpoint(model), KEY: text}, path)
    else:
        make = form.of_model or partial(_checked_file, raw, format)
        data = make(model, text)
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(data)
    beside = path.with_name(f"{path.name}.json")
    with atomic_write(beside) as unfinished:
        unfinished.write_bytes(text.encode())
    return [path, beside]


def _checked_file(raw: Raw, format: str, model: HybridModule, about: str) -> bytes:
    """Return the bytes of a file whose outputs have been compared with the model's."""
    require_size(model)
    form, whole, rows = FORMATS[format], WholeModel(model), random_rows(raw, _ROWS)
    assert form.make is not None and form.run is not None
    with torch.no_grad():
        wanted = _scaled(whole, whole(rows))
        whole.make_real()
    program = exported(whole, rows)
    try:
        data = form.make(program, about)
        found = [(form.run(data, some), wanted[: len(some)]) for some in (rows, rows[:1])]
    except Exception as error:  # of any class, from the exporter or the runtime
        why = str(error).strip().partition("\n")[0]
        raise ValueError(f"{type(model).__name__} cannot be made {format}: {why}") from error
    allowed = _allowed(whole, wanted)
    for got, right in found:
        excess, difference = _worst(_scaled(whole, got), right, allowed[: len(right)])
        if excess > 1:
            raise ValueError(
                f"the exported {type(model).__name__} would differ from the model by "
                f"{difference:.2g} on random rows, {excess:.2g} times what is allowed, and was not "
                "written: use format='state', or model.double() before the export. A subclass of a "
                "photonic layer that computes something else than its base cannot be exported"
            )
    return data


def _scaled(whole: WholeModel, values: Tensor) -> Tensor:
    """Values as the network returns them, without an offset that would hide a difference."""
    kept = whole.model.preprocessing
    if kept is not None and not whole.model.task.classifies:
        values = kept.targets(values.double())
    return values.double()


def _allowed(whole: WholeModel, wanted: Tensor) -> Tensor:
    """By how much outputs may differ; where their unit is not known, the largest is 1."""
    sizes, kept = wanted.abs().nan_to_num(), whole.model.preprocessing
    if whole.model.task.classifies or (kept is not None and kept.targets.scaled):
        return _ABSOLUTE + _RELATIVE * sizes
    return _RELATIVE * sizes.amax(0).expand_as(sizes)


def _worst(got: Tensor, wanted: Tensor, allowed: Tensor) -> tuple[float, float]:
    """The worst difference in terms of what is allowed, and as it is; NaN equals NaN."""
    same = (got.isnan() & wanted.isnan()) | (got == wanted)
    errors = (got - wanted).abs().nan_to_num(torch.inf).masked_fill(same, 0.0).flatten()
    excess = torch.where(errors > 0, errors / allowed.flatten(), 0.0)
    worst = excess.argmax()
    return float(excess[worst]), float(errors[worst])


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
