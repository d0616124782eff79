"""The operations of torch that run in a block, counted below autograd. Seen in torch 2.13 and 2.14.

`torch.utils._python_dispatch` and `torch.utils._pytree` are not documented, nor is that a storage
is the same Python object as long as anything holds it. If they go: `torch.profiler` on a step with
numbers, which needs its memory and time.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["CountedOperations"]


class CountedOperations(TorchDispatchMode):
    """Within its block: how many operations there are, and what they compute, write and hold.

    On the meta device everything is counted as on another one, and nothing is computed.

    Attributes:
        count: Operations.
        flops: Floating-point operations of matrix products and convolutions; of complex numbers
            four times as many.
        written: Bytes that results take which are new.
        held: Bytes of these that are in use now.
        peak: The most that were in use at a time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from torch.utils.flop_counter import flop_registry

        self._formulas = flop_registry
        self._storages: weakref.WeakSet[UntypedStorage] = weakref.WeakSet()
        self.count = self.flops = self.written = self.held = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count it."""
        given = (each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor))
        self._storages.update(each.untyped_storage() for each in given)  # were there before
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        for tensor in tensors:
            self._hold(tensor.untyped_storage())
        self.count += 1
        formula = self._formulas.get(func.overloadpacket)
        if formula is not None:
            four = 4 if any(each.is_complex() for each in tensors) else 1
            self.flops += four * formula(*args, **(kwargs or {}), out_val=result)
        aside = 0
        if "convolution" in str(func):
            aside = sum(t.nbytes for t in tree_leaves((args, result)) if isinstance(t, Tensor))
        self.peak = max(self.peak, self.held + aside)
        return result

    def _hold(self, storage: UntypedStorage) -> None:
        if storage not in self._storages:
            self._storages.add(storage)
            size = storage.nbytes()
            self.held += size
            self.written += size
            weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.held -= size
