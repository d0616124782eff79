"""What a stranger has to know of an exported model: as JSON, and as code that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hybridlit import __version__
from hybridlit.data.files import EXACT_INTEGERS, NONE
from hybridlit.export.formats import FORMATS
from hybridlit.export.raw import Raw
from hybridlit.templates import HybridModule
from hybridlit.templates.predictions.predicting import class_labels, output_names

__all__ = ["describe", "example"]

_TABLE = """import json

import numpy as np
import pandas as pd

about = json.load(open({about!r}, encoding="utf-8"))

several = len(pd.read_csv("new.csv", nrows=0).columns) > 1  # of one column, blank lines are rows

def read(missing, **options):
    return pd.read_csv("new.csv", skipinitialspace=True, index_col=False, low_memory=False,
                       skip_blank_lines=several, keep_default_na=False, na_values=missing,
                       **options)

missing = about["input"]["missing_words"]
table, texts = read([*missing, {none!r}]), read(missing, dtype=str)

def words(name):  # 007 is no 7, and None is missing among numbers alone
    cells, text = table[name], texts[name]
    if pd.api.types.is_numeric_dtype(cells) and text.str.fullmatch({exact!r}).any():
        return text.str.strip().where(cells.notna())
    return text if pd.api.types.infer_dtype(cells) == "string" else cells

def alike(word):  # what else may stand for a category: 7 for 007, 1.0 for 1, true for True
    try:
        return word if "_" in word else str(float(word))
    except ValueError:
        return word.lower() if word.lower() in ("true", "false") else word

def code(cell, column):  # words to numbers
    whole = isinstance(cell, float) and cell.is_integer()  # 1.0 where others are missing is 1
    word, codes = str(int(cell) if whole else cell).strip(), column["codes"]
    if word.lower() in ("", "nan"):
        return np.nan
    if column["kind"] == "boolean":
        return codes[word.lower()]
    near = {{alike(label): number for label, number in codes.items()}}
    return codes.get(word, near.get(alike(word), column["unknown"]))

columns = about["input"]["columns"]
rows = np.empty((len(table), len(columns)))
for index, column in enumerate(columns):
    cells = table[column["name"]]
    if "codes" in column:  # what is missing stays NaN
        cells = words(column["name"]).map(lambda cell: code(cell, column), na_action="ignore")
    rows[:, index] = cells"""

_ARRAY = """import json

import numpy as np

about = json.load(open({about!r}, encoding="utf-8"))
rows = np.load("new.npy").astype({dtype!r})  # shape (rows, {shape})"""

_NAMED = """import json

import numpy as np

about = json.load(open({about!r}, encoding="utf-8"))
arrays = np.load("new.npz")  # of shapes (rows, ...), NaN where a row lacks one
parts = [arrays[each["name"]] for each in about["input"]["inputs"]]
flat = [part.reshape(len(part), -1) for part in parts]
rows = np.concatenate(flat, 1).astype({dtype!r})  # shape (rows, {shape})"""

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
    targets = model.preprocessing and model.preprocessing.targets
    names = targets.names if targets else ["target"]
    if model.task.one_class:
        labels = class_labels(model)
        columns = labels if outputs > 1 else labels[-1:]
        output = {"name": "probabilities", "of": names[0], "classes": labels, "columns": columns}
    elif model.task.classifies:
        pairs = targets.pairs if targets else None
        output = {"name": "probabilities", "columns": output_names(model), "classes": pairs or []}
    else:
        output = {"name": "values", "columns": output_names(model)}
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
    head = {"image": _IMAGE, "multimodal": _NAMED}.get(given["kind"], head)
    shape = ", ".join(map(str, given["shape"][1:]))
    names = dict(about=f"{path.name}.json", dtype=given["dtype"], shape=shape)
    head = head.format(**names, none=NONE, exact=EXACT_INTEGERS)
    lines = f"{head}\n{run}\nprint(about['output']['columns'])\nprint(outputs)".splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    return "\n".join([*imports, "", *(line for line in lines if line and line not in imports)])
