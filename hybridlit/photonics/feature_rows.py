"""Features of any leading shape -> rows that a circuit reads, and its results back again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hybridlit.checks import integer
from hybridlit.photonics.described import DescribedCircuit
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.state_rows import state_rows

__all__ = ["FeatureRows"]


class FeatureRows(DescribedCircuit):
    """Circuits that take features as layers do.

    Attributes:
        input_size: Number of features.
        input_space: The basis of a state that enters.
    """

    input_size: int
    input_space: FockSpace

    def _read(
        self,
        x: Tensor | int | None,
        read: Callable[..., Tensor],
        each: bool = False,
        state: Tensor | None = None,
        alike: bool = True,
    ) -> Tensor:
        """Check features once, and read outcomes outside autocast.

        Args:
            x: Features, shape (..., input_size); with `each` (..., count, input_size).
            read: From rows of features (batch, input_size), or (count, batch, input_size) for a
                stack whose circuits get features of their own, to results of rows, `count` first in
                any stack.
            each: Whether the circuits of a stack get features of their own.
            state: Input states, which `read` then gets as well, shape (circuits or 1, samples, K).
            alike: Whether rows without features have the same results, so that one is enough.

        Returns:
            Shape (..., *outputs), of a stack (..., count, *outputs), in the dtype of `x`; under
            autocast in at least float32.
        """
        if (  # plain rows, of which there is nothing more to check in a small step
            type(x) is Tensor
            and state is None
            and x.dim() == 2
            and self.count is None
            and x.shape[1:] == (self.input_size,) != (0,)
            and x.dtype is torch.float32
            and x.is_cpu
            and not torch.is_autocast_enabled("cpu")
        ):
            result = read(x)
            return result.to(x.dtype) if result.is_floating_point() else result
        x, before, rows = self._rows(x, each, state)
        given: tuple[Tensor, ...] = (rows,)
        if self.input_size == 0:
            rows = rows[..., :1, :] if alike else rows  # one for all
            given = (rows,)
        if state is not None:
            double = self.angles().dtype == torch.float64
            states, before = state_rows(state, before, self.input_space, self.count, double)
            given = rows, states
        device = x.device.type
        autocast = device != "meta" and torch.is_autocast_enabled(device)
        if autocast:
            with torch.autocast(device, enabled=False):
                result = read(*given)
        else:
            result = read(*given)
        if self.count is not None:
            result = result.transpose(0, 1)
        if self.input_size == 0:
            result = result.expand(math.prod(before), *result.shape[1:])
        if not autocast:
            if result.is_floating_point():
                result = result.to(x.dtype)
        elif result.dtype == torch.float64:  # autocast casts no float64, so that a Linear raises
            result = result.to(torch.promote_types(x.dtype, torch.float32))
        return result if len(before) == 1 else result.reshape(before + result.shape[1:])

    def _rows(
        self, x: Tensor | int | None, each: bool, state: Tensor | None
    ) -> tuple[Tensor, tuple[int, ...], Tensor]:
        """Return checked features, their leading shape, and their rows as for `read`."""
        if self.input_size == 0 and not isinstance(x, Tensor):
            if x is not None:
                sizes: tuple[int, ...] = (integer(x, "x", 0),)
            else:
                sizes = () if state is None else state.shape[:-1]
            x = self.phases.new_empty(*sizes, *(self.count or 1,) * each, 0)
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"x must be a real floating tensor, got {got}; use x.float()")
        if x.dtype == torch.float64 and self.phases.dtype != torch.float64:
            raise TypeError(
                "x must not be more precise than the layer, got float64 for a float32 layer; use "
                "x.float(), or layer.double() to compute in float64"
            )
        kept = (self.count, self.input_size) if each else (self.input_size,)
        lead = x.dim() - len(kept)
        before: tuple[int, ...] = x.shape[:lead]
        if x.shape[lead:] != kept:
            raise ValueError(
                f"x must have shape (..., {f'{self.count}, ' if each else ''}"
                f"input_size={self.input_size}), got {tuple(x.shape)}"
            )
        rows = x if lead == 1 else x.reshape(math.prod(before), *kept)
        return x, before, rows.transpose(0, 1) if each else rows
