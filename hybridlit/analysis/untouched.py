"""Look at a model without changing it: what an analysis does to it is undone, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["random_state_kept", "untouched"]


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Restore a model, and all random number generators, at the end of a block.

    Restored are the values of parameters and buffers, gradients, which parameters require a
    gradient, the mode (training or evaluation) and plain attributes of every module, and the
    generators of torch (CPU and accelerators), numpy and Python; after an error or Ctrl-C as well.
    Tensors are restored in place, so optimizers keep theirs; parameters and buffers that the block
    assigns anew, as `self.mean = 0.9 * self.mean + ...` does, give way to those from before.
    Modules that the block exchanges it must put back itself.

    Args:
        model: The model. For the time of the block its parameters and buffers are held twice.

    Yields:
        Nothing.
    """
    attributes = {module: dict(vars(module)) for module in model.modules()}  # modes among them
    registered = {
        module: (dict(module._parameters), dict(module._buffers)) for module in attributes
    }
    gradients = {p: (p.requires_grad, p.grad) for p in model.parameters()}
    kept_gradients = {
        p: grad.detach().clone() for p, (_, grad) in gradients.items() if grad is not None
    }
    tensors = [_own_elements(tensor) for tensor in [*model.parameters(), *model.buffers()]]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
        with random_state_kept():
            yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
            for parameter, (needed, grad) in gradients.items():
                parameter.requires_grad_(needed)
                if grad is not None:
                    grad.copy_(kept_gradients[parameter])
                parameter.grad = grad
        for module, before in attributes.items():
            for name in vars(module).keys() - before.keys():
                del vars(module)[name]
            vars(module).update(before)
            parameters, buffers = registered[module]
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)


def _own_elements(tensor: Tensor) -> Tensor:
    """View a tensor so that no two elements share memory: nothing can be written into others."""
    if tensor.layout is not torch.strided or 0 not in tensor.stride():
        return tensor
    return tensor.detach()[
        tuple(slice(1) if stride == 0 else slice(None) for stride in tensor.stride())
    ]


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the generators of torch (CPU and accelerators), numpy and Python at the end.

    Yields:
        Nothing.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
