"""The state of all random number generators, cheap enough to be noted after each step."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hybridlit.internals.numpy import global_generator_is_at

__all__ = ["RandomState"]


class RandomState(NamedTuple):
    """The state of all global generators, as they give it; `cuda` is empty before its first use."""

    torch: Tensor
    cuda: list[Tensor]
    numpy: Any
    python: Any

    @classmethod
    def now(cls, before: RandomState | None = None) -> RandomState:
        """Return the present state; of one from `before`, what has not moved is not read anew."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        if before is not None and global_generator_is_at(before.numpy):
            numpy = before.numpy
        else:
            numpy = np.random.get_state()
        return cls(torch.get_rng_state(), cuda, numpy, random.getstate())

    def restore(self) -> None:
        """Put the generators into this state."""
        torch.set_rng_state(self.torch.cpu())
        for device, own in enumerate(self.cuda[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(own.cpu(), device)
        np.random.set_state(self.numpy)
        random.setstate(self.python)

    def plain(self) -> dict[str, Any]:
        """Return the state in types that `torch.load(weights_only=True)` takes."""
        version, words, gauss = self.python
        return {
            "torch": self.torch,
            "cuda": self.cuda,
            "numpy": [self.numpy[0], torch.from_numpy(self.numpy[1].astype("i8")), *self.numpy[2:]],
            "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> RandomState:
        """Return the state that `plain` has described."""
        kind, keys, *rest = plain["numpy"]
        version, words, gauss = plain["python"]
        return cls(
            plain["torch"],
            plain["cuda"],
            (kind, keys.numpy().astype("u4"), *rest),
            (version, tuple(words.tolist()), gauss),
        )
