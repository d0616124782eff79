"""What hybridlit uses of torch that torch does not document. Seen in torch 2.13 and 2.14.

What runs in every call of a photonic layer is bound here as it is: a function around it would cost
as much again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as every
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = [
    "PROGRESS_OF_SCHEDULERS",
    "StorageWeakRef",
    "applied",
    "constant_in_graphs",
    "contents",
    "forward_mode",
    "hooked",
    "is_compiled",
    "is_tracing",
    "is_transformed",
    "is_vectorized",
    "metadata",
    "norms",
    "own_attributes",
    "plainly_running",
    "registered",
    "set_rates",
    "subtracted",
    "takes_scaled_gradients",
    "transforming",
    "unrecorded",
]

_core: Any = torch._C
_F = TypeVar("_F", bound=Callable[..., Any])

# --- what is at work while a function runs --------------------------------------------------------

is_tracing: Callable[[], bool] = _core._is_tracing
"""Whether `torch.jit.trace` records. If it goes: `torch.jit.is_tracing()`, which calls it."""

transforming: Callable[[], bool] = _core._are_functorch_transforms_active
"""Whether any `torch.func` transform is at work, be it on other tensors.

Nodes of autograd without a rule for transforms refuse to run inside of one. If it goes:
`torch._C._functorch.maybe_current_level() is not None`, or ask each tensor (`is_transformed`).
"""

is_transformed: Callable[[Tensor], bool] = _core._functorch.is_functorch_wrapped_tensor
"""Whether a tensor wraps another for `torch.func`, and has no memory of its own.

If it goes: `tensor.data_ptr()` raises for such a tensor.
"""

is_vectorized: Callable[[Tensor], bool] = _core._functorch.is_legacy_batchedtensor
"""Whether a tensor is a batch as `torch.autograd.grad(is_grads_batched=True)` makes them.

If it goes, so have these batches, or they are those of `torch.func.vmap`: see `is_transformed`.
"""


_dispatching: Callable[[], int] = _core._len_torch_dispatch_stack
"""How many modes see every operation: counters, fake tensors, whatever a `TorchDispatchMode` does.

If it goes: `torch.utils._python_dispatch.is_in_torch_dispatch_mode()`.
"""


def forward_mode() -> bool:
    """Return whether derivatives of forward mode are being taken, by `jvp` or `jacfwd`.

    Only plain torch operations have them, so nothing else may run then. It is true inside of
    `torch.func.jvp`, `jacfwd` and `hessian`, and of a `dual_level`. If it goes: the level that
    `forward_ad.enter_dual_level` returns tells how many are open.
    """
    return forward_ad._current_level >= 0


def plainly_running() -> bool:
    """Return whether operations just run: nothing records, transforms or watches each of them."""
    return not (
        torch.compiler.is_compiling()
        or is_tracing()
        or transforming()
        or forward_ad._current_level >= 0
        or _dispatching()
    )


@contextmanager
def unrecorded() -> Iterator[None]:
    """Keep `torch.jit.trace` from recording how a constant or an operator's result is made.

    If it goes, `torch.jit.trace` has gone as well, which torch has deprecated: leave it out.
    """
    state = _core._get_tracing_state()
    if state is not None:
        _core._set_tracing_state(None)
    try:
        yield
    finally:
        if state is not None:
            _core._set_tracing_state(state)


def applied(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """Return what `function.apply` calls where no transform of `torch.func` is at work.

    It saves a dozen Python calls. If it goes: `function.apply`.
    """
    above: Any = super(torch.autograd.Function, function)
    apply: Callable[..., Any] = above.apply
    return apply


# --- what torch.compile is told and has done ------------------------------------------------------


def constant_in_graphs(function: _F) -> _F:
    """Mark a function whose result `torch.compile` is to take for a constant.

    As `torch.compiler.assume_constant_result` does, without importing the compiler, which takes
    longer than everything else here together. If it goes: that function.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def is_compiled(module: nn.Module) -> bool:
    """Tell whether `torch.compile` has wrapped a module, or `module.compile()` been called.

    If it goes: `isinstance(module, torch._dynamo.OptimizedModule)`, which is slow to import.
    """
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


# --- modules --------------------------------------------------------------------------------------


def registered(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the dictionaries in which a module has its own parameters and buffers, to be changed.

    If it goes: `register_parameter`, `register_buffer` and `delattr`, name by name.
    """
    return module._parameters, module._buffers


contents: Callable[[nn.Module], tuple[dict[str, Any], ...]] = attrgetter(
    "_parameters", "_buffers", "_modules"
)
"""The dictionaries in which a module has its parameters, buffers and modules.

Its attributes say the same, by a Python call for each. If it goes: those.
"""


def hooked(module: nn.Module) -> bool:
    """Return whether calling a module does more than its `forward`.

    If it goes: call the module.
    """
    return bool(
        module._forward_hooks or module._forward_pre_hooks
        or module._backward_hooks or module._backward_pre_hooks
        or every._global_forward_hooks or every._global_forward_pre_hooks
        or every._global_backward_hooks or every._global_backward_pre_hooks
    )  # fmt: skip


def metadata(state: object) -> MutableMapping[str, dict[str, Any]] | None:
    """Return what a state dict of `nn.Module.state_dict` says of each module, by its name.

    `torch.save` keeps it. None for a plain dictionary, which has none. If it goes: a buffer of the
    module, or `get_extra_state`, which adds a key to the state dict.
    """
    found: MutableMapping[str, dict[str, Any]] | None = getattr(state, "_metadata", None)
    return found


def own_attributes() -> frozenset[str]:
    """Return the names of what a module keeps of parameters, buffers, hooks and mode.

    That is what `nn.Module` sets, but for its modules. If `_modules` is another name: what
    `named_children` reads.
    """
    return frozenset(vars(nn.Module())) - {"_modules"}


# --- optimizers and their schedulers --------------------------------------------------------------

PROGRESS_OF_SCHEDULERS = ("_step_count", "_last_lr")
"""Attributes that every `LRScheduler` saves: how often it stepped, and its latest rates.

If one goes: leave it out of the state, which is loaded without it as well.
"""


def set_rates(scheduler: LRScheduler) -> None:
    """Let `get_last_lr` of a scheduler return the rates that the optimizer has now.

    If it goes: override `get_last_lr`.
    """
    scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]


def takes_scaled_gradients(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer gets gradients as `GradScaler` made them, as `fused=True` ones do.

    If it goes, see how `GradScaler.step` decides whether to unscale before the step.
    """
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


# --- many tensors at once -------------------------------------------------------------------------


def norms(tensors: list[Tensor]) -> Sequence[Tensor]:
    """Return the norm of each tensor. If it goes: `torch.linalg.vector_norm`, one by one."""
    return torch._foreach_norm(tensors)


def subtracted(tensors: list[Tensor], others: list[Tensor]) -> Sequence[Tensor]:
    """Return each tensor minus its other one. If it goes: one by one."""
    return torch._foreach_sub(tensors, others)


# `StorageWeakRef`: a key that names a storage without keeping its memory. If it goes:
# `weakref.ref(tensor.untyped_storage())`, where that keeps its identity.
