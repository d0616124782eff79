"""Constant tables on a device, made once, so that a training step copies nothing there."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.internals.torch import constant_in_graphs, is_transformed
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.tracing import unrecorded

__all__ = ["occupations", "of_modes", "on_device"]

_MOST = 256
_kept: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()
_lock = threading.RLock()  # what makes a table may need another one


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # whoever held it is not in this process


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def on_device(
    key: Hashable, make: Callable[[], Iterable[npt.NDArray[Any]]], device: torch.device
) -> tuple[Tensor, ...]:
    """Return arrays as tensors on a device, the same ones for the same key, not to be written to.

    `make` makes the arrays if they are not kept yet, one by one to save memory; `key` says what
    they depend on, and whose they are. Of several threads that ask at once one makes them. Call it
    where `torch.compile` does not look, in what is `constant_in_graphs`.
    """
    place = (key, device)
    with _lock:
        found = _kept.get(place)
        if found is not None:
            _kept.move_to_end(place)  # what a step needs is not what goes
            return found
        with torch.inference_mode(False), unrecorded():  # whoever comes next needs them too
            found = tuple(torch.tensor(array, device=device) for array in make())
            # A tensor made while compiling or under torch.func means nothing outside of it.
            if all(type(tensor) is Tensor and not is_transformed(tensor) for tensor in found):
                # torch.compile(dynamic=True) takes the sizes of constants other than parameters
                # for unknown.
                found = tuple(torch.nn.Parameter(tensor, requires_grad=False) for tensor in found)
                _kept[place] = found
                if len(_kept) > _MOST:
                    _kept.popitem(last=False)
        return found


@constant_in_graphs
def occupations(
    modes: int, photons: int, space: ComputationSpace, real: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """Return the photons in each mode of all states as real numbers, shape (D, modes).

    Alone in a tuple: `torch.compile` takes a tensor for one constant, whatever the arguments.
    """
    dtype = np.float64 if real == torch.float64 else np.float32

    def make() -> Iterator[npt.NDArray[Any]]:
        yield FockSpace(modes, photons, space).states.astype(dtype)

    return on_device(("occupations", modes, photons, space, dtype), make, device)


def of_modes(columns: Tensor, modes: Sequence[int]) -> Tensor:
    """Return columns of matrices by their number: a list as an index would be copied in each step.

    Args:
        columns: Shape (..., columns).
        modes: Which, in any order.

    Returns:
        Shape (..., modes).
    """
    if tuple(modes) == tuple(range(columns.shape[-1])):
        return columns
    return columns.index_select(-1, _places(tuple(modes), columns.device)[0])


@constant_in_graphs
def _places(modes: tuple[int, ...], device: torch.device) -> tuple[Tensor, ...]:
    return on_device(("modes", modes), lambda: [np.array(modes, dtype=np.int64)], device)
