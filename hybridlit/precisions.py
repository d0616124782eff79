"""Precisions by name: those of photonic circuits, and those that a Trainer gives the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["CORES", "PRECISIONS", "CoreName", "Precision", "check_dtype"]

CORES = {"float32": torch.float32, "float64": torch.float64}
"""What photonic circuits compute in; they never go below float32."""

if TYPE_CHECKING:
    CoreName: TypeAlias = str
else:
    CoreName = Literal[tuple(CORES)]


class Precision(NamedTuple):
    """What `Trainer(precision=...)` makes of the classical parts of a model.

    Attributes:
        stored: The dtype of parameters and inputs.
        effect: What it does to the classical parts, in a sentence.
    """

    stored: torch.dtype
    effect: str


PRECISIONS = {
    "32-true": Precision(torch.float32, "classical parts are stored and computed in float32"),
    "64-true": Precision(torch.float64, "classical parts are stored and computed in float64"),
    "bf16-mixed": Precision(
        torch.float32,
        "classical parts are stored in float32 and computed in bfloat16 where autocast deems it "
        "safe",
    ),
    "16-mixed": Precision(
        torch.float32,
        "classical parts are stored in float32 and computed in float16 where autocast deems it "
        "safe, with a scaled loss, and steps whose gradients overflow are skipped",
    ),
    "bf16-true": Precision(
        torch.bfloat16,
        "classical parts are stored and computed in bfloat16, which rounds away updates below "
        "about 1/256 of a weight",
    ),
    "16-true": Precision(
        torch.float16,
        "classical parts are stored and computed in float16 without a loss scale, so gradients "
        "below 6e-8 become 0",
    ),
}
"""The precisions of Lightning's Trainer that change a model, by name."""


def check_dtype(x: Tensor, model: nn.Module, own: torch.dtype) -> None:
    """Refuse inputs that the first layer of a model would not take, outside autocast or in float64.

    Args:
        x: The inputs.
        model: The model.
        own: Its dtype, as a LightningModule tells it.
    """
    if x.dtype == own:
        return
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if own not in dtypes and len(dtypes) == 1:
        own = dtypes.pop()  # a module around the model was cast, which Lightning does not see
    mixed = torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64
    if x.dtype != own and not mixed:
        precision = next((n for n, each in PRECISIONS.items() if each.stored == x.dtype), None)
        given, mine = (str(dtype).removeprefix("torch.") for dtype in (x.dtype, own))
        raise TypeError(
            f"x is {given} and the model is {mine}: use x.to(torch.{mine}), or compute in "
            f"{given} with model.to(torch.{given}) or Trainer(precision={precision!r}), or "
            "mix 32 and 16 bits with torch.autocast or Trainer(precision='bf16-mixed')"
        )
