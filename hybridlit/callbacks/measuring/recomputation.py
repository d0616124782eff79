"""Modules that keep nothing but their inputs for the backward pass, and run again there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["recompute", "stop_recomputing"]


def recompute(module: nn.Module) -> None:
    """Let a module keep nothing but its input in training."""
    saved = module.state_dict()
    # what is not saved with a model follows from what is, and does not change in training
    buffers = [name for name, _ in module.named_buffers() if name in saved]
    module.forward = partial(_recomputed, module, module.forward, buffers)


def stop_recomputing(module: nn.Module) -> None:
    """Undo `recompute`; on a copy of the module, too."""
    forward = vars(module).pop("forward").args[1]
    if getattr(forward, "__func__", None) is not type(module).forward:
        module.forward = forward  # others had replaced it before


def _recomputed(
    module: nn.Module, forward: Callable[..., Any], buffers: list[str], *args: Any, **kwargs: Any
) -> Any:
    if not (module.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    contexts = partial(_contexts, module, buffers)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _contexts(
    module: nn.Module, buffers: list[str]
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    before = {name: module.get_buffer(name).clone() for name in buffers}
    return nullcontext(), _as_before(module, before, torch.get_default_dtype())


@contextmanager
def _as_before(module: nn.Module, before: dict[str, Tensor], dtype: torch.dtype) -> Iterator[None]:
    """Run a module with the buffers and the default dtype it had, and without changing its own."""
    now, ambient = {name: module.get_buffer(name) for name in before}, torch.get_default_dtype()
    _set_buffers(module, {name: value.clone() for name, value in before.items()})
    torch.set_default_dtype(dtype)  # the backward pass runs outside the Trainer's precision
    try:
        yield
    finally:
        torch.set_default_dtype(ambient)
        _set_buffers(module, now)


def _set_buffers(module: nn.Module, values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, value)
