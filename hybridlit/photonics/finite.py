"""NaN and infinity: an error where looking is free, NaN of their sample where it is not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridlit.photonics.kernels.choice import transformed
from hybridlit.photonics.tracing import recording

__all__ = ["can_look_at", "infinity_as_nan", "require_finite", "rows_in_words"]


def can_look_at(tensor: Tensor) -> bool:
    """Return whether reading a value costs no synchronisation and is possible at all.

    Args:
        tensor: any tensor.

    Returns:
        False on accelerators, while a graph is traced, and under ``torch.func``.
    """
    return tensor.is_cpu and not recording() and not transformed(tensor)


def require_finite(x: Tensor, name: str) -> None:
    """Raise for NaN and infinity, if looking costs no synchronisation.

    Args:
        x: values of samples, shape (batch, ...), or of one sample.
        name: what to call it.

    Raises:
        ValueError: with the rows of the first dimension.
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
    """Name rows for a message.

    Args:
        chosen: True for each that is meant, shape (batch,).

    Returns:
        At most five of their numbers, and how many more there are.
    """
    rows = chosen.nonzero().flatten().tolist()
    return f"row(s) {rows[:5]}" + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def infinity_as_nan(x: Tensor) -> Tensor:
    """Turn infinity into NaN where :func:`require_finite` could not look: no squashing hides NaN.

    Args:
        x: any values.

    Returns:
        The same on the CPU, else a tensor of the same shape.
    """
    return x if can_look_at(x) else x.masked_fill(~torch.isfinite(x), math.nan)
