"""What the model of a recipe costs, before any of it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hybridlit.recipe.building import model_of_section
from hybridlit.templates import HybridModule
from hybridlit.templates.cost import ModelCost, cost_of
from hybridlit.templates.sizes import Sizes, sizes_of
from hybridlit.undisturbed import undisturbed

__all__ = ["cost_of_model", "dtype_of", "empty_model", "rows_of"]


def cost_of_model(
    section: Mapping[str, Any],
    sizes: Any,
    batch_size: int = 64,
    dtype: torch.dtype = torch.float32,
) -> ModelCost:
    """Return what a model costs of which nothing is built but shapes: see `HybridModule.cost`.

    Args:
        section: The section `model` of a recipe.
        sizes: The data module or loader that it would be trained on, or what `sizes_of` has
            returned of it, so that data are asked once for many models.
        batch_size: Rows of a batch, at least 1.
        dtype: Precision of the model, `torch.float64` for `Trainer(precision="64-true")`.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If the section is wrong, or the cost of the model cannot be told.

    Example:
        >>> from hybridlit import SklearnDataModule
        >>> section = {"class_path": "SequentialHybrid", "init_args": {"quantum_dim": 2}}
        >>> section["init_args"] |= {"input_dim": "auto", "output_dim": "auto", "n_modes": 6}
        >>> cost_of_model(section, SklearnDataModule("iris")).states
        56
    """
    return cost_of(empty_model(section, sizes_of(sizes), dtype), batch_size)


def empty_model(section: Mapping[str, Any], sizes: Sizes, dtype: torch.dtype) -> HybridModule:
    """Build the model of a section without numbers, on the meta device."""
    with undisturbed(), torch.device("meta"):
        return model_of_section(section, sizes).to(dtype)


def dtype_of(settings: Mapping[str, Any]) -> torch.dtype:
    """Return the precision that a recipe trains in, as far as costs go."""
    precision = str((settings.get("trainer") or {}).get("precision"))
    return torch.float64 if precision in ("64", "64-true") else torch.float32


def rows_of(data: Any) -> int:
    """Return how many rows a batch of a data module has, which may be set up for that.

    Raises:
        ValueError: If that is not known.
    """
    rows = getattr(data, "batch_size", None)
    if rows is None:
        data.prepare_data()
        data.setup("fit")
        rows = getattr(data.train_dataloader(), "batch_size", None)
    if not isinstance(rows, int):
        raise ValueError(
            f"a cost is of training steps of a known number of rows, and {type(data).__name__} "
            "has no integer attribute batch_size: add it"
        )
    return rows
