"""Digests that tell whether numbers are the same to the last bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["digest_of"]


def digest_of(tensors: Iterable[Tensor], *more: bytes) -> str:
    """Return the SHA-256 of dtypes, shapes and numbers, and of more bytes, in their order.

    Args:
        tensors: On any device, dense.
        more: For instance names.
    """
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().flatten()
        found.update(values.view(torch.uint8).numpy().tobytes())
    for each in more:
        found.update(hashlib.sha256(each).digest())
    return found.hexdigest()
