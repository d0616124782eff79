"""What raw rows are, said to somebody who has no hybridlit, and random ones like them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hybridlit.data.columns import TRUTHS
from hybridlit.data.files import MISSING_WORDS
from hybridlit.templates import HybridModule

__all__ = ["RAW", "Raw", "random_rows", "raw_of"]


class Raw(NamedTuple):
    """Raw rows as an exported model takes them.

    Attributes:
        shape: Of one row.
        dtype: Of all.
        about: What else is to be known, in plain values for JSON.
        low: Smallest values to try it with, of a shape that broadcasts to `shape`.
        high: Largest values.
        whole: Where only whole numbers mean something.
        gaps: Whether NaN means that a value is missing, and is filled.
        lacking: Widths of what is side by side and may be missing as a whole, NaN as well.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    about: dict[str, Any]
    low: Tensor
    high: Tensor
    whole: Tensor = torch.tensor(False)
    gaps: bool = False
    lacking: Sequence[int] = ()


_MISSING = {"missing_words": sorted(MISSING_WORDS)}


def _array(inputs: Any) -> Raw:
    low, high = inputs.low.cpu(), inputs.high.cpu()
    columns = None
    if inputs.raw_names is not None:
        ends = zip(inputs.raw_names, low.tolist(), high.tolist(), strict=True)
        columns = [{"name": name, "kind": "number", "low": a, "high": b} for name, a, b in ends]
    about = {"columns": columns, **({} if columns is None else _MISSING)}
    return Raw(inputs.shape, torch.float64, about, low, high)


def _table(inputs: Any) -> Raw:
    columns: list[dict[str, Any]] = []
    filled = inputs.missing == "impute"
    for column in inputs.columns:
        about = {"name": column.name, "kind": column.kind}
        if column.kind == "number":
            about |= {"low": column.low, "high": column.high}
        elif column.kind == "boolean":
            words = {word: int(code) for pair in TRUTHS for word, code in pair.items()}
            about |= {"codes": {**words, "1": 1, "0": 0}, "case": "any"}
        else:
            about["codes"] = {str(label): code for code, label in enumerate(column.labels)}
            about["unknown"] = -1
        about["missing"] = "NaN, which is filled" if filled else "none; NaN comes out as NaN"
        columns.append(about)
    # of categories, `low` and `high` are the first and the last code of the training rows
    ends = [[column.low, column.high] for column in inputs.columns]
    low, high = torch.tensor(ends, dtype=torch.float64).T
    whole = torch.tensor([column.kind != "number" for column in inputs.columns])
    about = {"columns": columns, **_MISSING}
    return Raw((len(columns),), torch.float64, about, low, high, whole, filled)


def _chip(inputs: Any) -> Raw:
    """A table of voltages, then of the modes that light enters."""
    found = _table(inputs)
    modes = torch.arange(len(inputs.columns)) - inputs.heaters
    entered = (modes >= 0) & (modes < inputs.lights)
    last = inputs.first + inputs.modes - 1
    found.about["light_enters"] = f"modes {inputs.first} to {last}, each row different ones"
    return found._replace(whole=found.whole | entered)


def _image(inputs: Any) -> Raw:
    about = {"mode": inputs.mode, "size": list(inputs.size), "axes": "channels, height, width"}
    about["pixels"] = "0 to 255; what is transparent is white, 16 bits are divided by 257"
    ends = torch.tensor(0), torch.tensor(255)
    return Raw(inputs.shape, torch.uint8, about, *ends, whole=torch.tensor(True))


def _sequence(inputs: Any) -> Raw:
    about = {"axes": "steps, features", "missing": "NaN in front of shorter sequences"}
    ends = inputs.low.cpu(), inputs.high.cpu()
    return Raw(inputs.shape, torch.float64, about, *ends, gaps=True)


def _multimodal(inputs: Any) -> Raw:
    named = [{"name": name, "shape": shape} for name, shape in inputs.shapes.items()]
    about = {"inputs": named, "missing": "NaN in all values of an input that a row lacks"}
    ends = inputs.low.cpu(), inputs.high.cpu()
    return Raw(inputs.shape, torch.float64, about, *ends, lacking=inputs.widths)


RAW: dict[str, Callable[[Any], Raw]] = {
    "array": _array,
    "chip": _chip,
    "table": _table,
    "image": _image,
    "multimodal": _multimodal,
    "sequence": _sequence,
}
"""From the `Inputs` of a kind of data to what its raw rows are: a row for each of `INPUTS`."""


def raw_of(model: HybridModule) -> Raw:
    """Return what the raw rows of a model are; without preprocessing, what its network takes."""
    if model.preprocessing is not None:
        inputs = model.preprocessing.inputs
        found = RAW[inputs.kind](inputs)
        return found._replace(about={"kind": inputs.kind, **found.about})
    shape = model.hparams.get("input_shape") or [model.hparams.get("input_dim")]
    if None in shape:
        raise ValueError(
            f"{type(model).__name__} says nothing of its inputs: train it with a data module of "
            "hybridlit, which tells it, or give it an argument input_dim or input_shape"
        )
    assert isinstance(model.dtype, torch.dtype)  # Lightning's annotation allows a name
    about = {"kind": "prepared", "columns": None}
    return Raw(tuple(shape), model.dtype, about, torch.tensor(-2.0), torch.tensor(2.0))


def random_rows(raw: Raw, rows: int) -> Tensor:
    """Return raw rows that are drawn evenly from their range, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(rows, *raw.shape, generator=generator, dtype=torch.float64)
    values = raw.low + share * (raw.high - raw.low)
    values = torch.where(raw.whole, values.round(), values)
    if raw.gaps:
        missing = torch.rand(values.shape, generator=generator) < 0.1
        values = values.masked_fill(missing, math.nan)
    if raw.lacking:
        lost = torch.rand(rows, len(raw.lacking), generator=generator) < 0.2
        lost[lost.all(1), 0] = False  # something is there
        missing = lost.repeat_interleave(torch.tensor(raw.lacking), 1)
        values = values.masked_fill(missing, math.nan)
    return values.to(raw.dtype)
