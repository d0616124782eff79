"""Arrays and tables of any kind as tensors, or an error that says which value cannot be one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = [
    "CHANNELS",
    "as_tensor",
    "channels_last",
    "check_distinct",
    "column_names",
    "in_default_dtype",
    "in_order",
    "load_arrays",
]

CHANNELS = (1, 3, 4)
"""Numbers of channels that an image can have: grey, colours, colours with opacity."""


def as_tensor(array: npt.ArrayLike | Tensor, name: str, gaps: bool = False) -> Tensor:
    """Return an array of any real dtype and byte order, or columns by name, as a CPU tensor.

    Real values become float64, integers and bools int64; `name` is for the message. With `gaps`,
    rows of a real array may be NaN in all their values.
    """
    if isinstance(array, Mapping) and array:
        array = np.stack([np.asarray(column) for column in array.values()], 1)
    if not isinstance(array, Tensor):
        values = np.asarray(array)
        kind = values.dtype.kind
        if kind not in "biuf":
            raise TypeError(
                f"{name} must hold real numbers, got dtype {values.dtype}; convert it with "
                ".astype(float), or encode words as numbers"
            )
        if kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name} must be below 2**63, got larger integers")
        # a copy: torch takes no other byte order than this machine's, and no read-only memory
        wanted = np.float64 if kind == "f" else np.int64
        array = torch.from_numpy(np.array(values, wanted, order="C"))
    tensor = array.detach().cpu()
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got dtype {tensor.dtype}")
    if not tensor.is_floating_point():
        return tensor.long()
    bad = ~torch.isfinite(tensor)
    if gaps and len(tensor):
        bad[tensor.reshape(len(tensor), -1).isnan().all(1)] = False
    bad = bad.nonzero()
    if len(bad):
        raise ValueError(
            f"{name} must be finite, got {len(bad)} NaN or infinite values, the first at index "
            f"{tuple(bad[0].tolist())}: drop or fill these rows"
        )
    return tensor.double()


def load_arrays(path: str | os.PathLike[str]) -> Any:
    """Return the array of a .npy, or the arrays of a .npz by name."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:  # numpy would advise to load code
        raise ValueError(
            f"path must be a .npy or .npz with arrays of numbers, got {path}, which is none"
        ) from error


def in_default_dtype(scaled: Tensor, name: str) -> Tensor:
    """Round scaled values to torch's default dtype, unless one is too large for it."""
    dtype = torch.get_default_dtype()
    cast = scaled.to(dtype)
    bad = (~torch.isfinite(cast)).nonzero()
    if len(bad):
        raise ValueError(
            f"{name} must be at most {torch.finfo(dtype).max:.2g} after scaling, the largest "
            f"number of {dtype}, got {len(bad)} larger ones, the first at index "
            f"{tuple(bad[0].tolist())}: choose 'standard' scaling, or give smaller units"
        )
    return cast


def channels_last(shape: Sequence[int]) -> bool:
    """Say whether a row of a shape such as (28, 28, 3) is an image whose channels are last."""
    return len(shape) == 3 and shape[2] in CHANNELS and min(shape[:2]) > max(CHANNELS)


def check_distinct(given: Tensor, cast: Tensor) -> None:
    """Refuse features that vary in the training inputs given, and are constant after the cast."""
    varies, seen = given.amax(0) > given.amin(0), cast.amax(0) > cast.amin(0)
    lost = (varies & ~seen).nonzero()
    if len(lost):
        raise ValueError(
            f"inputs must vary in {cast.dtype} where they vary, got feature {lost[0].tolist()}, "
            "which is constant there: choose scaling='standard', or subtract a constant"
        )


def column_names(table: Any) -> list[Any] | None:
    """Return the names of the columns of a table or a dictionary, in order; None without names."""
    columns = table if isinstance(table, Mapping) else getattr(table, "columns", None)
    return None if columns is None else list(columns)


def in_order(table: Any, names: list[Any] | None, argument: str) -> Any:
    """Bring the columns of a table into the order of the training inputs, `names`.

    What has no names is taken as it is. Other columns, or names that occur twice in another order,
    are a `ValueError` that names the `argument`.
    """
    given = column_names(table)
    if given is None or names is None or given == names:
        return table
    if len(set(given)) < len(given) or set(given) != set(names):
        missing = [name for name in names if name not in given]
        unknown = [name for name in given if name not in names]
        raise ValueError(
            f"{argument} must have the columns of the training inputs, {names}, got {given}: "
            f"missing {missing}, unknown {unknown}"
        )
    return {name: table[name] for name in names} if isinstance(table, Mapping) else table[names]
