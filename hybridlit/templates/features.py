"""Checks of a template's inputs: their dtype against the model's, and the order of their axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

__all__ = ["check_dtype", "looks_channels_last"]

_PRECISIONS = {
    torch.float16: "16-true",
    torch.bfloat16: "bf16-true",
    torch.float32: "32-true",
    torch.float64: "64-true",
}
_CHANNELS = (1, 3, 4)  # grey, colours, colours with opacity


def check_dtype(model: LightningModule, x: Tensor) -> None:
    """Refuse inputs that the model's first layer would not take.

    Args:
        model: The model.
        x: Its inputs, floating.

    Raises:
        TypeError: If they are not of the model's dtype, outside autocast or in float64.
    """
    own = model.dtype
    if x.dtype == own:
        return
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if own not in dtypes and len(dtypes) == 1:
        own = dtypes.pop()  # a module around the model was cast, which Lightning does not see
    mixed = torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64
    if x.dtype != own and not mixed:
        given, mine = (str(dtype).removeprefix("torch.") for dtype in (x.dtype, own))
        raise TypeError(
            f"x is {given} and the model is {mine}: use x.to(torch.{mine}), or compute in {given} "
            f"with model.to(torch.{given}) or Trainer(precision={_PRECISIONS.get(x.dtype)!r}), or "
            "mix 32 and 16 bits with torch.autocast or Trainer(precision='bf16-mixed')"
        )


def looks_channels_last(shape: Sequence[int]) -> bool:
    """Say whether a shape meant as [channels, height, width] has its channels last.

    Args:
        shape: Shape of one input.

    Returns:
        True for shapes such as [28, 28, 3], whose width alone could be a number of colours.
    """
    return len(shape) == 3 and shape[2] in _CHANNELS and min(shape[:2]) > max(_CHANNELS)
