"""Losses and outputs of a model on batches of data, outside any Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import move_data_to_device
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from hybridlit.templates import HybridModule

__all__ = ["LossFunction", "collect", "loss_function", "rows_in", "tensors_in", "to_device_of"]

LossFunction = Callable[[Any, Any], Tensor]
"""From (model, batch) to the mean loss of the batch, a scalar that can be differentiated."""


def loss_function(model: nn.Module, loss: LossFunction | None = None) -> LossFunction:
    """Return `loss`, or what a `HybridModule` trains with, without any logging.

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


def collect(
    model: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[Any, Any], tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a model over at least one batch as it is, without gradients.

    Args:
        model: The model.
        batches: Batches as its data loader yields them.
        forward: From (model, batch) to outputs and targets; None: what a `HybridModule` returns,
            and its prepared targets.

    Returns:
        Outputs and targets of shape (rows, ...), on the CPU.
    """
    outputs, targets = [], []
    with torch.no_grad():
        for batch in batches:
            result, wanted = (forward or _run_template)(model, to_device_of(model, batch))
            outputs.append(result.cpu())
            targets.append(wanted.cpu())
    if not outputs:
        raise ValueError("batches must hold at least one batch, got none")
    return torch.cat(outputs), torch.cat(targets)


def _run_template(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    inputs, given = model.unpack(batch)
    if model.dtype != torch.float32:  # Trainer brings inputs into the precision of such a model
        inputs = apply_to_collection(
            inputs, Tensor, lambda each: each.to(model.dtype) if each.is_floating_point() else each
        )
    outputs = model(inputs)
    return outputs, model.prepare_targets(outputs, given)


def to_device_of(model: nn.Module, batch: Any) -> Any:
    """Move a batch, any nested structure of tensors, to where the model's parameters are."""
    first = next(model.parameters(), None)
    return batch if first is None else move_data_to_device(batch, first.device)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(item)


def rows_in(batch: Any) -> int | None:
    """Return the number of rows of a batch, by its first tensor that has any; None without one."""
    return next((len(tensor) for tensor in tensors_in(batch) if tensor.dim()), None)


def _loss_of_a_template(model: HybridModule, batch: Any) -> Tensor:
    return model.loss_of(batch, *_run_template(model, batch))
