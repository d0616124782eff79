"""The text of a first recipe: settings that train well, and comments for a first reader.

Batch sizes and epochs are a start for tables of 150 to 3,000 rows, where they were tried; the
comments tell what to change first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Setting", "first_recipe", "plain_yaml"]

Setting = tuple[str, str]
"""A line of YAML, and what is said of it, or nothing."""

_SIZES = ((400, 16, 60), (2_000, 32, 60), (10_000, 64, 60), (100_000, 256, 30))
"""Training rows below which a batch has so many rows, and a run so many epochs."""

_MOST = (1024, 10)

_COLUMN = 30
"""Where comments begin."""


def first_recipe(
    head: Sequence[str],
    rows: int,
    task: str,
    data: str,
    own: Sequence[Setting],
    front: Sequence[Setting] = (),
) -> str:
    """Return the text of a recipe, lines of comment on top, for so many training rows.

    `data` is the class of the data module, `own` are its arguments besides those that all have, and
    `front` are arguments of the model that say what comes before its first layer.
    """
    batch, epochs = next(((b, e) for below, b, e in _SIZES if rows < below), _MOST)
    trainer = [
        ("accelerator: cpu", "small models are fastest there; auto: a GPU if there is one"),
        (f"max_epochs: {epochs}", "passes through the training rows, at most"),
        ("callbacks:", ""),
        ("- class_path: lightning.pytorch.callbacks.EarlyStopping", ""),
        ("  init_args:", ""),
        ("    monitor: val/loss", "the run ends once this has not fallen"),
        (f"    patience: {epochs // 2}", "for so many epochs; the best one is kept"),
    ]
    model = [
        ("input_dim: auto", "counted in the data"),
        ("output_dim: auto", "likewise"),
        (f"task: {task}", ""),
        *front,
        ("hidden_dims: [64, 64]", "widths of the classical layers"),
        ("dropout: 0.3", "share of hidden values left out in training, against overfitting"),
        ("quantum_dim: 5", "numbers that go into the circuit, a learned projection"),
        ("n_modes: 6", "size of the circuit: hybridlit plan tells what it costs"),
        ("n_photons: 2", ""),
        ("classical_lr: 0.003", "learning rates: of the classical parameters,"),
        ("quantum_lr: 0.01", "and of the photonic ones"),
        ("weight_decay: 0.3", "against overfitting as well; 0: none"),
        ("schedule: cosine", "rates fall to 0 by the end of the run"),
    ]
    module = [
        *own,
        ("val_fraction: 0.2", "share of the rows by which the best epoch is chosen"),
        ("test_fraction: 0.2", "share of those that are looked at once, at the end"),
        (f"batch_size: {batch}", "rows in a step"),
        ("seed: 0", "which rows are for what: keep it, so that test rows stay test rows"),
    ]
    lines = [
        ("seed_everything: 0", "the first weights: another number makes another run"),
        ("trainer:", ""),
        *_indented(trainer, 2),
        ("model:", ""),
        ("  class_path: ResidualHybrid", "a classical network with a photonic correction"),
        ("  init_args:", ""),
        *_indented(model, 4),
        ("data:", ""),
        (f"  class_path: {data}", ""),
        ("  init_args:", ""),
        *_indented(module, 4),
    ]
    comments = [f"# {line}".rstrip() for line in head]
    return "\n".join([*comments, *(_line(*setting) for setting in lines)]) + "\n"


def plain_yaml(value: Any) -> str:
    """Return a name, a path or a list of them as YAML has it in a line."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _indented(settings: Sequence[Setting], spaces: int) -> list[Setting]:
    return [(" " * spaces + setting, comment) for setting, comment in settings]


def _line(setting: str, comment: str) -> str:
    return f"{setting:<{_COLUMN}}  # {comment}" if comment else setting
