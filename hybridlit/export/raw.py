"""What raw rows are, said to somebody who has no hybridlit, and random ones like them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hybridlit.data.columns import TRUTHS
from hybridlit.templates import HybridModule

__all__ = ["RAW", "Raw", "raw_of"]


class Raw(NamedTuple):
    """Raw rows as an exported model takes them.

    Attributes:
        shape: Of one row.
        dtype: Of all.
        about: What is to be known, in plain values for JSON.
        random: From a number of rows and a generator to random ones, like those of the training.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    about: dict[str, Any]
    random: Callable[[int, torch.Generator], Tensor]


def _array(inputs: Any) -> Raw:
    low, high = inputs.low.double().cpu(), inputs.high.double().cpu()
    columns = None
    if inputs.raw_names is not None:
        ends = zip(inputs.raw_names, low.tolist(), high.tolist(), strict=True)
        columns = [{"name": name, "kind": "number", "low": a, "high": b} for name, a, b in ends]
    return Raw(inputs.shape, torch.float64, {"columns": columns}, _between(low, high))


def _table(inputs: Any) -> Raw:
    columns, low, high = [], [], []
    for column in inputs.describe()["columns"]:
        about = {"name": column["name"], "kind": column["kind"]}
        if column["kind"] == "number":
            about |= {"low": column["low"], "high": column["high"]}
        elif column["kind"] == "boolean":
            codes = [(word, int(code)) for pair in TRUTHS for word, code in pair.items()]
            spelt = [[form(w), c] for w, c in codes for form in (str, str.capitalize, str.upper)]
            about["codes"] = [[True, 1], [False, 0], *spelt]
        else:
            about["codes"] = [[label, code] for code, label in enumerate(column["labels"])]
            about["unknown"] = -1
        filled = inputs.missing == "impute"
        about["missing"] = "NaN, which is filled" if filled else "none; NaN comes out as NaN"
        columns.append(about)
        number = column["kind"] == "number"
        low.append(column["low"] if number else 0)
        high.append(column["high"] if number else max(len(column["labels"]), 2) - 1)
    whole = torch.tensor([column["kind"] != "number" for column in columns])
    between = _between(torch.tensor(low).double(), torch.tensor(high).double())

    def random(rows: int, generator: torch.Generator) -> Tensor:
        values = between(rows, generator)
        values = torch.where(whole, values.round(), values)
        gaps = torch.rand(values.shape, generator=generator) < 0.1
        return values.masked_fill(gaps, math.nan) if inputs.missing == "impute" else values

    return Raw((len(columns),), torch.float64, {"columns": columns}, random)


def _image(inputs: Any) -> Raw:
    def random(rows: int, generator: torch.Generator) -> Tensor:
        return torch.randint(256, (rows, *inputs.shape), generator=generator, dtype=torch.uint8)

    about = {"mode": inputs.mode, "size": list(inputs.size), "axes": "channels, height, width"}
    return Raw(inputs.shape, torch.uint8, about, random)


def _sequence(inputs: Any) -> Raw:
    steps, features = inputs.shape
    between = _between(inputs.low.double().cpu(), inputs.high.double().cpu())

    def random(rows: int, generator: torch.Generator) -> Tensor:
        values = between(rows * steps, generator).reshape(rows, steps, features)
        there = torch.randint(1, steps + 1, (rows, 1, 1), generator=generator)
        return values.masked_fill(torch.arange(steps)[:, None] < steps - there, math.nan)

    about = {"axes": "steps, features", "missing": "NaN in front of shorter sequences"}
    return Raw(inputs.shape, torch.float64, about, random)


RAW: dict[str, Callable[[Any], Raw]] = {
    "array": _array,
    "table": _table,
    "image": _image,
    "sequence": _sequence,
}
"""From the `Inputs` of a kind of data to what its raw rows are: a row for each of `INPUTS`."""


def raw_of(model: HybridModule) -> Raw:
    """Return what the raw rows of a model are; without preprocessing, what its network takes."""
    if model.preprocessing is not None:
        inputs = model.preprocessing.inputs
        found = RAW[inputs.kind](inputs)
        return found._replace(about={"kind": inputs.kind, **found.about})
    given = model.hparams
    shape = given.get("input_shape") or [given.get("input_dim")]
    if None in shape:
        raise ValueError(
            f"{type(model).__name__} says nothing of its inputs: train it with a data module of "
            "hybridlit, which tells it, or give it an argument input_dim or input_shape"
        )

    dtype = model.dtype
    assert isinstance(dtype, torch.dtype)  # Lightning's annotation allows a name

    def random(rows: int, generator: torch.Generator) -> Tensor:
        return torch.randn(rows, *shape, generator=generator, dtype=dtype)

    return Raw(tuple(shape), dtype, {"kind": "prepared", "columns": None}, random)


def _between(low: Tensor, high: Tensor) -> Callable[[int, torch.Generator], Tensor]:
    def random(rows: int, generator: torch.Generator) -> Tensor:
        share = torch.rand(rows, *low.shape, generator=generator, dtype=low.dtype)
        return low + share * (high - low)

    return random
