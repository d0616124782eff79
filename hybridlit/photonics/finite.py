"""NaN and infinity: an error where looking is free, NaN of their sample where it is not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.internals.torch import is_transformed
from hybridlit.photonics.tracing import recording

__all__ = ["can_look_at", "infinity_as_nan", "require_finite", "rows_in_words"]


def can_look_at(tensor: Tensor) -> bool:
    """Return whether reading a value costs no synchronisation and is possible at all.

    It is not on accelerators, while a graph is traced, and under `torch.func`.
    """
    return tensor.is_cpu and not recording() and not is_transformed(tensor)


def require_finite(x: Tensor, name: str) -> None:
    """Raise for NaN and infinity, if looking costs no synchronisation.

    Args:
        x: Values of samples, shape (batch, ...), or of one sample.
        name: What to call it.

    Raises:
        ValueError: With the rows of the first dimension.
    """
    if not can_look_at(x) or bool(torch.isfinite(x).all()):
        return
    bad = ~torch.isfinite(x.detach())
    bad = bad.reshape(len(x), -1).any(1) if x.dim() > 1 else bad.any()[None]
    raise ValueError(
        f"{name} must be finite, got NaN or infinity in {rows_in_words(bad)}: clean the data, or "
        "look for a diverging layer before this one"
    )


def rows_in_words(chosen: Tensor) -> str:
    """Name the rows that are True, of shape (batch,): at most five numbers, and how many more."""
    rows = chosen.nonzero().flatten().tolist()
    return f"row(s) {rows[:5]}" + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def infinity_as_nan(x: Tensor) -> Tensor:
    """Turn infinity into NaN where `require_finite` could not look: no squashing hides NaN."""
    return x if can_look_at(x) else x.masked_fill(~torch.isfinite(x), math.nan)
