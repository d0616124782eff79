"""Which kernel simulates: the compiled one on the CPU where it can, torch everywhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hybridlit.internals.torch import forward_mode, is_vectorized, transforming
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.kernels import compiled

__all__ = [
    "KERNELS",
    "chosen_kernel",
    "compiled_refuses",
    "forward_mode",
    "kernel_for",
    "refuse_batches",
    "serves_any",
    "transforming",
    "use_kernel",
]

KERNELS = ("auto", "compiled", "torch")


# Not a context variable, which torch.compile cannot read; it guards on this.
class _Choice(threading.local):
    kernel = "auto"


_choice = _Choice()


@contextmanager
def use_kernel(name: str) -> Iterator[None]:
    """Force a kernel inside a `with` block, for tests and debugging.

    The choice belongs to the thread that enters the block: other threads, also those started
    inside, choose for themselves, from `"auto"` on. A process forked inside, such as a worker of
    a `DataLoader`, begins with it. A backward pass, wherever and whenever it runs, takes the
    kernel that its forward pass took; so does what `torch.compile` and `torch.export` made.

    Args:
        name: `"compiled"` for the CPU kernel, an error where it cannot serve; `"torch"` for
            torch operations; `"auto"` for the usual choice.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> with use_kernel("torch"):
        ...     kernel_for(FockSpace(6, 3), torch.zeros(1))
        'torch'
    """
    if name not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(map(repr, KERNELS))}, got {name!r}")
    before, _choice.kernel = _choice.kernel, name
    try:
        yield
    finally:
        _choice.kernel = before


def chosen_kernel() -> str:
    """Return what `use_kernel` says in this thread, for a backward pass to remember."""
    return _choice.kernel


def kernel_for(space: FockSpace, like: Tensor, chosen: str | None = None) -> str:
    """Return the kernel that simulates a space, `"compiled"` or `"torch"`.

    Args:
        space: The outcomes.
        like: A tensor of the device and real dtype in question.
        chosen: What `chosen_kernel` returned for the forward pass; None: what it returns now.

    Raises:
        ValueError: If the compiled kernel is forced but cannot serve.
    """
    chosen = chosen or _choice.kernel
    if chosen == "torch":
        return "torch"
    reason = compiled_refuses(space, like.device.type, like.dtype)
    if reason is None:
        return "compiled"
    if chosen == "compiled":
        raise ValueError(f"the compiled kernel cannot serve {space}: {reason}; use 'auto'")
    return "torch"


def serves_any(like: Tensor) -> bool:
    """Return whether the compiled kernel may serve tensors like a given one, if sizes fit.

    False also if torch operations are forced.
    """
    return _choice.kernel != "torch" and like.is_cpu and like.dtype in compiled.MOST_PHOTONS


def refuse_batches(*grads: Tensor | None) -> None:
    """Raise for gradients that are a batch, as `is_grads_batched` makes them, without memory."""
    for grad in grads:
        if grad is not None and is_vectorized(grad):
            raise NotImplementedError(
                "photonic layers take no batches of gradients (is_grads_batched=True, "
                "vectorize=True); use torch.func.jacrev or torch.func.vmap"
            )


def compiled_refuses(space: FockSpace, device: str, dtype: torch.dtype) -> str | None:
    """Return why the compiled kernel cannot serve a type of device and a real dtype, if it cannot.

    The reason is for a message.
    """
    if device != "cpu":
        return f"it runs on the CPU, got {device}"
    if dtype not in compiled.MOST_PHOTONS:
        return f"it computes in float32 or float64, got {dtype}"
    if space.photons == 0:
        return "it starts with the first of the photons"
    if space.photons > compiled.MOST_PHOTONS[dtype]:
        return f"{dtype} overflows beyond {compiled.MOST_PHOTONS[dtype]} photons"
    few = space.modes + space.photons <= 27  # at most 26 over 13 states
    if not few and _most_on_the_way(space) > compiled.most_states(space.modes):
        most = compiled.most_states(space.modes)
        return f"with {space.modes} modes it has links for {most} states of as many photons"
    return None


def _most_on_the_way(space: FockSpace) -> int:
    """Return the number of states of so many photons as there are most states of."""
    photons = space.photons
    if space.unbunched:  # which falls behind half a photon a mode
        photons = min(photons, max(1, space.modes // 2))
    return FockSpace(space.modes, photons, space.space).size
