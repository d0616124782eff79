"""Many tensors in one: a checkpoint has an entry for each tensor, and entries take time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["packed", "unpacked"]


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Put tensors of any shapes and dtypes into one of bytes, with how to take it apart."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = [tensor.reshape(-1).view(torch.uint8) for tensor in kept.values()]
    return {
        "content": torch.cat(content) if content else torch.empty(0, dtype=torch.uint8),
        "kinds": {
            name: (str(tensor.dtype).removeprefix("torch."), list(tensor.shape))
            for name, tensor in kept.items()
        },
    }


def unpacked(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take apart what `packed` put together; tensors by name, on the CPU."""
    tensors: dict[str, Tensor] = {}
    place = 0
    for name, (dtype, shape) in content["kinds"].items():
        empty = torch.empty(shape, dtype=getattr(torch, dtype))
        size = empty.numel() * empty.element_size()
        # a clone, since memory must begin at a multiple of the element's size
        part = content["content"][place : place + size].clone()
        tensors[name] = part.view(empty.dtype).reshape(shape)
        place += size
    return tensors
