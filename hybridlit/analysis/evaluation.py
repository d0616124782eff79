"""Losses and outputs of a model on batches of data, outside any Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor, nn

from hybridlit.templates import HybridModule

__all__ = ["LossFunction", "collect", "loss_function", "to_device_of"]

LossFunction = Callable[[Any, Any], Tensor]
"""From (model, batch) to the mean loss of the batch, a scalar that can be differentiated."""


def loss_function(model: nn.Module, loss: LossFunction | None = None) -> LossFunction:
    """Return how the loss of a model on a batch is computed.

    Args:
        model: The model.
        loss: A function of (model, batch), for models that are no `HybridModule`.

    Returns:
        `loss`, or what a `HybridModule` trains with, without any logging.

    Raises:
        TypeError: If the model is no `HybridModule` and `loss` is None.
    """
    if loss is not None:
        return loss
    if isinstance(model, HybridModule):
        return _loss_of_a_template
    raise TypeError(
        f"{type(model).__name__} is no HybridModule, so its loss is unknown: give "
        "loss=lambda model, batch: ..., which returns the mean loss of a batch"
    )


def collect(model: HybridModule, batches: Iterable[Any]) -> tuple[Tensor, Tensor]:
    """Run a model over batches as it is, without gradients.

    Args:
        model: The model, in the mode it is to be run in.
        batches: Batches as its data loader yields them.

    Returns:
        Outputs of shape (rows, output_dim) and prepared targets, on the CPU.

    Raises:
        ValueError: If there are no batches.
    """
    outputs, targets = [], []
    with torch.no_grad():
        for batch in batches:
            inputs, given = model.unpack(to_device_of(model, batch))
            result = model(inputs)
            outputs.append(result.cpu())
            targets.append(model.prepare_targets(result, given).cpu())
    if not outputs:
        raise ValueError("batches must hold at least one batch, got none")
    return torch.cat(outputs), torch.cat(targets)


def to_device_of(model: nn.Module, batch: Any) -> Any:
    """Move a batch, any nested structure of tensors, to where the model's parameters are.

    Args:
        model: The model.
        batch: The batch.

    Returns:
        The batch on the device.
    """
    first = next(model.parameters(), None)
    return batch if first is None else move_data_to_device(batch, first.device)


def _loss_of_a_template(model: HybridModule, batch: Any) -> Tensor:
    inputs, given = model.unpack(batch)
    outputs = model(inputs)
    return model.loss(outputs, model.prepare_targets(outputs, given))
