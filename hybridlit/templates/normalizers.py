"""Fits the `NormalizationLayer`s of a model by passing over the training data before training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hybridlit.blocks import NormalizationLayer
from hybridlit.internals.lightning import load_training_data
from hybridlit.undisturbed import undisturbed

__all__ = ["fit_normalizers", "generators_of"]


class _Reached(Exception):
    """Ends a forward at the layer being fitted: what follows depends on its statistics."""


def fit_normalizers(
    model: nn.Module, trainer: Trainer, forward: Callable[[Any], object]
) -> list[str]:
    """Fit every `NormalizationLayer` of a model that has seen no training data; return their names.

    Each layer costs one pass over the training data up to that layer, in the order in which the
    model reaches them, so that a later layer sees what the earlier ones, already fitted, give it.
    The model, on its device, runs on a batch by `forward` in evaluation mode without gradients.
    Random number generators and modes are left as they were, so that training itself is the same as
    with a layer fitted beforehand. Several processes pool their statistics.
    """
    waiting = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, NormalizationLayer) and not module.fitted
    }
    if not waiting:
        return []
    load_training_data(trainer)
    loader = trainer.train_dataloader
    batches = trainer.num_training_batches
    if not isinstance(loader, DataLoader) or not 0 < batches < math.inf:
        raise RuntimeError(
            f"cannot fit {sorted(waiting)}: that needs one training DataLoader with a length above "
            "0; call .fit(x) on these layers with their training inputs before Trainer.fit"
        )
    fitted: list[str] = []
    with undisturbed(model, evaluation=True, generators=generators_of(loader)), torch.no_grad():
        while waiting:
            name = _fit_first(waiting, trainer, islice(loader, int(batches)), forward)
            _pool(waiting.pop(name), trainer)
            fitted.append(name)
    rank_zero_info(f"Fitted the normalization of {', '.join(fitted)} to the training data.")
    return fitted


def _fit_first(
    waiting: dict[str, NormalizationLayer],
    trainer: Trainer,
    batches: Iterator[Any],
    forward: Callable[[Any], object],
) -> str:
    """Fit the first of the layers that the model reaches, and return its name."""
    reached: list[str] = []

    def stop(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if not reached or reached[0] == name:
                reached[:] = [name]
                waiting[name].partial_fit(inputs[0])
                raise _Reached

        return hook

    hooks = [layer.register_forward_pre_hook(stop(name)) for name, layer in waiting.items()]
    plugin = trainer.precision_plugin
    try:
        for batch in batches:
            batch = trainer.strategy.batch_to_device(plugin.convert_input(batch))
            with plugin.forward_context():
                try:
                    forward(batch)
                except _Reached:
                    continue
            raise RuntimeError(
                f"cannot fit {sorted(waiting)}: the forward pass did not reach them; call .fit(x) "
                "on them, or remove them from the model"
            )
    finally:
        for handle in hooks:
            handle.remove()
    return reached[0]


def _pool(layer: NormalizationLayer, trainer: Trainer) -> None:
    """Give every process the statistics over the data of all processes."""
    if trainer.world_size == 1:
        return
    own = torch.cat([layer.count.double()[None], layer.mean.double(), layer.std.double()])
    layer.reset()
    for row in trainer.strategy.all_gather(own):
        mean, std = row[1:].chunk(2)
        layer.merge(int(row[0]), mean, std)


def generators_of(loader: DataLoader[Any]) -> list[torch.Generator]:
    """Return the random number generators of a loader's own."""
    owners = (loader, loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in owners]
    return [generator for generator in found if isinstance(generator, torch.Generator)]
