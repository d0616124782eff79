"""Look at a model, and leave everything as it was: one context manager for all who look."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from hybridlit.internals.torch import registered

__all__ = ["kept_environment", "log_nothing", "undisturbed"]

_SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
"""What `seed_everything` of Lightning leaves for later trainings of the process."""


@contextmanager
def undisturbed(
    model: nn.Module | None = None,
    *,
    evaluation: bool = False,
    silent: bool = False,
    whole: bool = False,
    generators: Iterable[torch.Generator] = (),
) -> Iterator[None]:
    """Restore random number generators, and what is told of a model, at the end of a block.

    Restored are the generators of torch (CPU and, once CUDA is in use, all its devices), numpy and
    Python, the seed that Lightning keeps in the environment, and the modes (training or evaluation)
    of a model. Yields nothing.

    Args:
        model: The model that is looked at, if any.
        evaluation: Whether it is in evaluation mode within the block.
        silent: Whether it, a LightningModule, logs nothing meanwhile, even if its `forward` calls
            `self.log`.
        whole: Whether all of it is restored: values of parameters and buffers, gradients, which
            parameters require one, and plain attributes of every module. Tensors are restored in
            place, so optimizers keep theirs; parameters and buffers that the block assigns anew, as
            `self.mean = 0.9 * self.mean + ...` does, give way to those from before. Modules that
            the block exchanges it must put back itself. Parameters and buffers are held twice for
            the time of the block.
        generators: Further generators of torch to restore.
    """
    with ExitStack() as restored:
        restored.enter_context(_random_numbers(generators))
        if model is not None:
            if silent:
                restored.enter_context(_silent(model))
            restored.enter_context(_whole(model) if whole else _modes(model))
            if evaluation:
                model.eval()
        yield


@contextmanager
def _random_numbers(generators: Iterable[torch.Generator]) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    states = [(generator, generator.get_state()) for generator in generators]
    # What CUDA has not begun it need not begin for this: a process that has cannot be forked.
    devices: list[int] | None = None if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices), kept_environment(_SEEDS):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for generator, state in states:
            generator.set_state(state)


@contextmanager
def kept_environment(names: Iterable[str]) -> Iterator[None]:
    """Restore variables of the environment at the end of a block."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)


@contextmanager
def _silent(model: nn.Module) -> Iterator[None]:
    names = [name for name in ("log", "log_dict") if name not in vars(model)]
    vars(model).update(dict.fromkeys(names, log_nothing))
    try:
        yield
    finally:
        for name in names:
            vars(model).pop(name, None)


def log_nothing(*_: object, **__: object) -> None:
    """Stand in for `log` and `log_dict` of a LightningModule."""


@contextmanager
def _modes(model: nn.Module) -> Iterator[None]:
    # a list, and one look at all modules: metrics among them are slow to hash
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _whole(model: nn.Module) -> Iterator[None]:
    attributes = {module: dict(vars(module)) for module in model.modules()}  # modes among them
    entries = {module: [dict(own) for own in registered(module)] for module in attributes}
    gradients = {p: (p.requires_grad, p.grad) for p in model.parameters()}
    kept_gradients = {
        p: grad.detach().clone() for p, (_, grad) in gradients.items() if grad is not None
    }
    tensors = [_own_elements(tensor) for tensor in [*model.parameters(), *model.buffers()]]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
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
            for own, known in zip(registered(module), entries[module], strict=True):
                own.clear()
                own.update(known)


def _own_elements(tensor: Tensor) -> Tensor:
    """View a tensor so that no two elements share memory: nothing can be written into others."""
    if tensor.layout is not torch.strided or 0 not in tensor.stride():
        return tensor
    return tensor.detach()[
        tuple(slice(1) if stride == 0 else slice(None) for stride in tensor.stride())
    ]
