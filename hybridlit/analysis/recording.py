"""What modules take and give while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.utils.module_tracker import ModuleTracker

__all__ = ["Call", "copied", "recorded", "with_hooks"]

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")
Value = TypeVar("Value")


class Call(NamedTuple):
    """One call of a module.

    Attributes:
        args: What it took by position.
        kwargs: What it took by name.
        output: What it gave.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def given(self) -> Any:
        """Its first argument, by position or by name; None if there is none."""
        return next(iter((*self.args, *self.kwargs.values())), None)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return what it took for a parameter of its `forward`, by position or by name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)


def copied(value: Value, device: torch.device | str | None = None) -> Value:
    """Return detached copies of all tensors in a nested structure, a `Call` for instance.

    What follows may change the tensors themselves in place, as `nn.ReLU(inplace=True)` does.

    Args:
        value: The structure.
        device: Where the copies are; None: where each tensor is.

    Returns:
        The same structure.
    """

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().to(device or tensor.device, copy=True)

    found: Value = apply_to_collection(value, Tensor, copy, allow_frozen=True)
    return found


@contextmanager
def recorded(
    modules: Mapping[Key, nn.Module], keep: Callable[[Call], Kept]
) -> Iterator[dict[Key, list[Kept]]]:
    """Record what modules take and give until the block ends, by error or Ctrl-C as well.

    Every call counts once: what activation checkpoints compute again in the backward pass is no
    call. Compiled models run as they were written meanwhile, see `with_hooks`.

    Args:
        modules: The modules, by name or whatever else tells them apart.
        keep: From a call to what is kept of it, at once: `copied` for values, the call itself for
            tensors with their graph, or as little as is needed.

    Yields:
        What was kept, in order, for each module.
    """
    found: dict[Key, list[Kept]] = {key: [] for key in modules}
    tracker = ModuleTracker()  # which knows whether a backward pass is going on

    def hook(kept: list[Kept], _: nn.Module, *call: Any) -> None:
        if not tracker.is_bw:
            kept.append(keep(Call(*call)))

    with with_hooks() as hooks:
        for key, module in modules.items():
            handle = module.register_forward_hook(partial(hook, found[key]), with_kwargs=True)
            hooks.callback(handle.remove)
        yield found


@contextmanager
def with_hooks() -> Iterator[ExitStack]:
    """Let forward hooks do their work in a block, in compiled models too, which ignore new ones.

    Yields:
        To which the removal of the hooks is given.
    """
    with torch.compiler.set_stance("force_eager"), ExitStack() as hooks:
        yield hooks
