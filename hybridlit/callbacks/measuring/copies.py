"""Run a copy of a model on a training batch, so that training itself sees nothing of it."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import Precision
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from hybridlit.internals.lightning import attached_trainer
from hybridlit.undisturbed import log_nothing

__all__ = ["copy_of", "has_forward", "inputs_of", "run_forward"]

Module = TypeVar("Module", bound=nn.Module)


def copy_of(model: Module) -> Module:
    """Copy a model that may be in the middle of training.

    Activations that it keeps as attributes are copied without their graph. A LightningModule comes
    with its Trainer, but logs nothing.
    """
    activations = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    copied = copy.deepcopy(model, activations)
    if isinstance(copied, LightningModule) and isinstance(model, LightningModule):
        copied.trainer = attached_trainer(model)
        copied.log = copied.log_dict = log_nothing  # type: ignore[method-assign]
    return copied


def has_forward(model: LightningModule) -> bool:
    """Tell whether a LightningModule defines what it computes, not only how it is trained."""
    return is_overridden("forward", model, LightningModule)


def inputs_of(model: LightningModule, batch: Any) -> Any:
    """Return what `forward` takes of a batch of training data.

    That is what its `unpack(batch)` returns first, if it has that method, as a `HybridModule` does;
    otherwise the first entry of a tuple or list, or the batch.
    """
    unpack = getattr(model, "unpack", None)
    if callable(unpack):
        return unpack(batch)[0]
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def run_forward(model: LightningModule, batch: Any, precision: Precision) -> Any:
    """Run a model on a batch, both converted to a Trainer's precision, as that Trainer would."""
    with precision.forward_context():
        return model(inputs_of(model, batch))
