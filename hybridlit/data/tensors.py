"""Arrays of any kind as tensors, or an error that says which value cannot be one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["as_tensor", "check_distinct", "in_default_dtype"]


def as_tensor(array: npt.ArrayLike | Tensor, name: str) -> Tensor:
    """Return a checked array as a CPU tensor.

    Args:
        array: Array, table or tensor of any real dtype and byte order.
        name: What it is, for the message.

    Returns:
        float64 for real values, int64 for integers and bools, of the same shape.

    Raises:
        TypeError: If it is not real.
        ValueError: If a value is not finite, or an integer beyond int64.
    """
    if not isinstance(array, Tensor):
        values = np.asarray(array)
        kind = values.dtype.kind
        if kind not in "biuf":
            raise TypeError(
                f"{name} must hold real numbers, got dtype {values.dtype}; convert it with "
                ".astype(float), or encode words as numbers"
            )
        if kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name} must be below 2**63, got integers up to {values.max()}")
        # a copy: torch takes no other byte order than this machine's, and no read-only memory
        wanted = np.float64 if kind == "f" else np.int64
        array = torch.from_numpy(np.array(values, wanted, order="C"))
    tensor = array.detach().cpu()
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got dtype {tensor.dtype}")
    if not tensor.is_floating_point():
        return tensor.long()
    bad = (~torch.isfinite(tensor)).nonzero()
    if len(bad):
        raise ValueError(
            f"{name} must be finite, got {len(bad)} NaN or infinite values, the first at index "
            f"{tuple(bad[0].tolist())}: drop or fill these rows"
        )
    return tensor.double()


def in_default_dtype(scaled: Tensor, given: Tensor, name: str) -> Tensor:
    """Return scaled values in torch's default dtype.

    Args:
        scaled: The values in float64.
        given: What they were before scaling, of the same shape, for the message.
        name: What they are, for the message.

    Returns:
        The same values, rounded.

    Raises:
        ValueError: If one is too large for the dtype.
    """
    dtype = torch.get_default_dtype()
    cast = scaled.to(dtype)
    bad = (~torch.isfinite(cast)).nonzero()
    if len(bad):
        index = tuple(bad[0].tolist())
        raise ValueError(
            f"{name} must be at most {torch.finfo(dtype).max:.2g} after scaling, the largest "
            f"number of {dtype}, got {given[index].item():.6g} at index {index}, scaled to "
            f"{scaled[index].item():.6g}: choose 'standard' scaling, or give smaller units"
        )
    return cast


def check_distinct(given: Tensor, cast: Tensor) -> None:
    """Refuse features that vary as they were given and are constant in torch's default dtype.

    Args:
        given: Training inputs of shape (rows, ...), float64.
        cast: What `in_default_dtype` made of them.

    Raises:
        ValueError: If there is such a feature.
    """
    low, high = given.amin(0), given.amax(0)
    lost = ((high > low) & (cast.amax(0) == cast.amin(0))).nonzero()
    if len(lost):
        index = tuple(lost[0].tolist())
        raise ValueError(
            f"inputs must vary in {cast.dtype} where they vary, got feature {list(index)} from "
            f"{low[index].item()!r} to {high[index].item()!r}, which is constant there: choose "
            "scaling='standard', or subtract a constant"
        )
