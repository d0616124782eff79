"""What a stranger has to know of an exported model: as JSON, and as code that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hybridlit import __version__
from hybridlit.export.formats import FORMATS
from hybridlit.export.raw import Raw
from hybridlit.templates import HybridModule
from hybridlit.templates.prediction import class_labels

__all__ = ["describe", "example"]

_TABLE = """import json

import numpy as np
import pandas as pd

about = json.load(open({about!r}, encoding="utf-8"))

def code(cell, column):  # words to numbers
    whole = isinstance(cell, float) and cell.is_integer()  # 1.0 where others are missing is 1
    word = str(int(cell) if whole else cell).strip()
    if column["kind"] == "boolean":
        return column["codes"][word.lower()]
    return column["codes"].get(word, column["unknown"])

table = pd.read_csv("new.csv", skipinitialspace=True)
columns = about["input"]["columns"]
rows = np.empty((len(table), len(columns)))
for index, column in enumerate(columns):
    cells = table[column["name"]]
    if "codes" in column:  # what is missing stays NaN
        cells = cells.map(lambda cell: code(cell, column), na_action="ignore")
    rows[:, index] = cells"""

_ARRAY = """import json

import numpy as np

about = json.load(open({about!r}, encoding="utf-8"))
rows = np.load("new.npy").astype({dtype!r})  # shape (rows, {shape})"""

_IMAGE = """import json

import numpy as np
from PIL import Image, ImageOps

about = json.load(open({about!r}, encoding="utf-8"))
height, width = about["input"]["size"]
upright = ImageOps.exif_transpose(Image.open("new.png")).convert("RGBA")
image = Image.new("RGBA", upright.size, "white")
image.alpha_composite(upright)
image = image.convert(about["input"]["mode"])
image = image.resize((width, height), Image.Resampling.BILINEAR)
pixels = np.asarray(image).reshape(height, width, -1)
rows = np.moveaxis(pixels, 2, 0)[None].copy()  # shape (1, channels, height, width), uint8"""


def describe(model: HybridModule, raw: Raw, format: str) -> dict[str, Any]:
    """Return what is to be known of an exported model, in plain values for JSON."""
    outputs = model.task.output_dim
    names = ["target"] if model.preprocessing is None else model.preprocessing.targets.names
    if model.task.classifies:
        labels = class_labels(model)
        columns = labels if outputs > 1 else labels[-1:]
        output = {"name": "probabilities", "of": names[0], "classes": labels, "columns": columns}
    else:
        fits = len(names) == outputs
        columns = names if fits else [f"target_{index}" for index in range(outputs)]
        output = {"name": "values", "columns": columns}
    facts = {} if model.preprocessing is None else model.preprocessing.facts
    return {
        "format": format,
        "model": type(model).__name__,
        "task": model.task.name,
        "input": {
            "name": "rows",
            "shape": ["batch", *raw.shape],
            "dtype": str(raw.dtype).removeprefix("torch."),
            **raw.about,
        },
        "output": {**output, "shape": ["batch", outputs]},
        "trained_on": facts,
        "versions": {"hybridlit": __version__, "torch": torch.__version__},
    }


def example(about: dict[str, Any], path: Path) -> str:
    """Return code that runs an exported model where there is no hybridlit."""
    form = FORMATS[about["format"]]
    run = form.example.format(path=path.name)
    if form.make is None:
        return run
    given = about["input"]
    head = _ARRAY if given.get("columns") is None else _TABLE
    head = _IMAGE if given["kind"] == "image" else head
    shape = ", ".join(map(str, given["shape"][1:]))
    head = head.format(about=f"{path.name}.json", dtype=given["dtype"], shape=shape)
    lines = f"{head}\n{run}\nprint(about['output']['columns'])\nprint(outputs)".splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    return "\n".join([*imports, "", *(line for line in lines if line and line not in imports)])
