"""The processes that train one model together, as `torch.distributed` numbers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["alone", "every_rank", "in_turns", "rank", "summed", "world_size"]


_alone: ContextVar[bool] = ContextVar("_alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Let this process compute without the others, as if there were none, until the block ends."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def world_size() -> int:
    """Return how many processes there are; 1 without a process group."""
    grouped = distributed.is_available() and distributed.is_initialized() and not _alone.get()
    return distributed.get_world_size() if grouped else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


def summed(own: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, each of which must ask for it.

    It has a gradient: that of the sum of what all processes make of it.
    """
    if world_size() == 1:
        return own
    found: Tensor = _Sum.apply(own)  # type: ignore[no-untyped-call]
    return found


def every_rank(own: Any) -> list[Any]:
    """Return what every process has, in order; each must ask for it."""
    if world_size() == 1:
        return [own]
    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, own)
    return found


def in_turns(shares: Sequence[Any]) -> Tensor | None:
    """Put together the rows of which each process has taken every n-th; None if they are no such.

    Example:
        >>> in_turns([torch.tensor([0, 2, 4]), torch.tensor([1, 3])])
        tensor([0, 1, 2, 3, 4])
    """
    if not all(isinstance(share, Tensor) and share.dim() for share in shares):
        return None
    rows, count = sum(map(len, shares)), len(shares)
    if [len(share) for share in shares] != [len(range(i, rows, count)) for i in range(count)]:
        return None
    whole = torch.cat(list(shares))
    for number, share in enumerate(shares):
        whole[number::count] = share
    return whole


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        whole = own.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)
