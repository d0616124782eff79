"""FedProx: clients stay near the server's weights."""

from __future__ import annotations

from collections.abc import Collection

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["ProximalTerm"]


class ProximalTerm(Callback):
    r"""Adds :math:`\mu (w - w_0)` to the gradient of each step, for weights :math:`w_0` at first.

    That is the gradient of :math:`\mu / 2 \, \lVert w - w_0 \rVert^2`; losses are logged without.

    Args:
        mu: The factor, above 0.
        names: Parameters that it is of, by their names in the model.
    """

    def __init__(self, mu: float, names: Collection[str]) -> None:
        self.mu, self.names = mu, names
        self._first: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the weights of the server."""
        self._first = {
            name: parameter.detach().clone()
            for name, parameter in pl_module.named_parameters()
            if name in self.names
        }

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Add to the gradients, which are unscaled and not clipped yet."""
        for name, parameter in pl_module.named_parameters():
            if name in self._first and parameter.grad is not None:
                parameter.grad.add_(parameter - self._first[name], alpha=self.mu)
