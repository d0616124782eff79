"""What is known of a model's data and its scores, as tables: for reports and cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any

from lightning.pytorch import LightningDataModule

from hybridlit.analysis.report import code
from hybridlit.analysis.scores import COVERAGE, Score, class_shares
from hybridlit.analysis.splits import count_rows
from hybridlit.analysis.statistics import ends
from hybridlit.data.splits import SPLITS
from hybridlit.templates import HybridModule
from hybridlit.templates.predictions.predicting import class_labels
from hybridlit.words import piped, written

__all__ = ["data_tables", "listed", "score_table", "short_table"]

_MANY = 60
"""Columns, classes or settings that are listed at most; how many more there are is said."""


def data_tables(
    model: HybridModule, datamodule: LightningDataModule | None, most: int = _MANY
) -> list[str]:
    """Return paragraphs and tables on the training data, as the model and a data module know them.

    Args:
        model: The model.
        datamodule: The data, set up, if they are there.
        most: Columns and classes that are listed at most.
    """
    known, told = model.preprocessing, dict[str, str]()
    facts = {} if known is None else known.facts
    if "source" in facts:
        told["source"] = code(facts["source"])
    rows = facts.get("rows") or {}
    if datamodule is not None:
        if facts.get("source") != type(datamodule).__name__:
            told["read by"] = code(type(datamodule).__name__)
        rows = {split: count_rows(datamodule, split) for split in SPLITS}
    if facts.get("rows_left_out"):
        told["rows left out, with values missing"] = f"{facts['rows_left_out']:,}"
    for split, count in rows.items():
        if count or split != "calibration":
            told[f"{SPLITS[split]} rows"] = f"{count:,}"
    parts = [listed(told)] if told else ["Nothing is known of them."]
    if model.task.classifies:
        names = [code(name) for name in class_labels(model)]
        shares = [] if datamodule is None else class_shares(model, datamodule)
        columns = [names, [f"{share:.1%}" for share in shares]] if shares else [names]
        what = "class" if model.task.one_class else "label"
        head = (what, "share of the training rows")[: len(columns)]
        parts.append(short_table(head, zip(*columns, strict=True), most))
    if known is not None:
        seen = [(code(name), kind, words) for name, kind, words in known.inputs.seen()]
        if seen:
            parts.append(short_table(("column", "kind", "seen in training"), seen, most))
        else:
            parts.append(f"Inputs: {known.inputs.kind}, rows of shape {known.inputs.shape}.")
    return parts


def score_table(
    model: HybridModule, datamodule: LightningDataModule, found: Sequence[Score]
) -> str:
    """Return the scores of the test rows as a table, what is to be said before it, and behind it.

    Args:
        model: The model.
        datamodule: The data, set up.
        found: What `scores` has found of them.
    """
    rows = [
        (
            code(score.name),
            written(score.found.mean, ".4g"),
            "" if isnan(score.found.low) else ends(score.found, ".4g"),
            f"{score.rows:,}",
            "" if score.constant is None else written(score.constant, ".4g"),
        )
        for score in found
    ]
    head = ("score", "value", "95 % interval", "rows", "constant answer")
    table = short_table(head, rows)
    if found[0].beats_constant is False:
        table += "\n\n**These rows do not show that the model is better than a constant answer.**"
    what = "mean"
    if model.task.classifies:
        each = "class" if model.task.one_class else "value of each label"
        what = f"most frequent {each}"
    return (
        f"{_warning(model, datamodule)}{table}\n\n"
        f"The constant answer is the {what} of the training rows. {COVERAGE}"
    )


def _warning(model: HybridModule, datamodule: LightningDataModule) -> str:
    """What is to be said before scores on data that have changed since the training."""
    own, theirs = model.preprocessing, getattr(datamodule, "preprocessing", None)
    if own is None or theirs is None or own.same_as(theirs):
        return ""
    return (
        "**The data are not those of the training**: they, or how they are split, have changed "
        "since, so that these rows may be rows that the model has learned from.\n\n"
    )


def listed(values: Mapping[str, Any]) -> str:
    """Return values by name as a table without a head."""
    return short_table(("", ""), ((name, str(value)) for name, value in values.items()))


def short_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], most: int = _MANY) -> str:
    """Return a table of the first rows, and how many more there are."""
    lines = list(rows)
    left_out = len(lines) - most
    more = f"\n\n... and {left_out:,} more." if left_out > 0 else ""
    return piped(head, lines[:most]) + more
