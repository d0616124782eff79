"""The parameters of circuits, and the circuits that they and features make, lowered for kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.photonics.circuit.data_phases import (
    LinearMap,
    hides_terms,
    tuned,
    turned_back,
    without_turns,
)
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.circuit.lowering import Lowering, Slots
from hybridlit.photonics.circuit.matrices import Product, drawn
from hybridlit.photonics.finite import can_look_at
from hybridlit.photonics.interferometer import haar_phases, unitaries
from hybridlit.photonics.noise.phases import Off, Settings
from hybridlit.photonics.outcomes import RareOutcomesError
from hybridlit.photonics.propagation import LargePhasesError
from hybridlit.photonics.tracing import recording, refuse_onnx

__all__ = ["CircuitParameters", "in_double", "in_single"]

_Result = TypeVar("_Result")


class CircuitParameters(nn.Module):
    """Trainable angles and bandwidths of one circuit, or of several of one shape.

    Args:
        lowering: What follows from the circuit.
        count: Number of circuits with parameters of their own; None: one without that dimension.
        trained: Whether the angles are parameters; else a buffer.
        use_bandwidth_tuning: Whether each encoded phase has a factor to learn.
        place: Device.
        dtype: `torch.float32` or `torch.float64`.

    Attributes:
        phases: The trainable angles in radians, shape `lowering.phases_shape` behind `count`.
        bandwidth: Factor of each encoded phase, one for both of a beam splitter, shape
            (encoded phases,) behind `count`, or None.
    """

    phases: Tensor
    encoding: Tensor
    tuned_by: Tensor
    _half_turns: Tensor | None
    _turns: bool
    _widest: float
    _product: Product | None
    given = False
    _settings: Settings | None = None
    _settings_made: Settings | None = None
    """The same as they were made: a device may have no values, or no float64."""

    def __init__(
        self,
        lowering: Lowering,
        count: int | None,
        trained: bool,
        use_bandwidth_tuning: bool,
        place: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.lowering = lowering
        self.count = count
        self.columns, self._modes = lowering.columns, lowering.modes
        stack = () if count is None else (count,)
        phases = torch.empty(*stack, *lowering.phases_shape, device=place, dtype=dtype)
        if trained and phases.numel():
            self.phases = nn.Parameter(phases)
        else:
            self.register_buffer("phases", phases)
        self.bandwidth: nn.Parameter | None = None
        if use_bandwidth_tuning:
            factors = torch.empty(*stack, lowering.bandwidths, device=place, dtype=dtype)
            self.bandwidth = nn.Parameter(factors)
        for constant in ("encoding", "tuned_by"):
            self.register_buffer(constant, None, persistent=False)
        self._set_constants()

    def reset_phases(self) -> None:
        """Draw Haar-random interferometers and set every bandwidth to 1; leave the readout.

        Angles of a circuit of components begin with their `init`. Those without are drawn: in a
        phase shifter uniformly, in a beam splitter such that its reflectance is uniform.
        """
        like: dict[str, Any] = dict(dtype=self.phases.dtype, device=self.phases.device)
        circuits = 1 if self.count is None else self.count
        if self.lowering.slots is None:
            found = haar_phases(circuits * (self.columns + 1), self._modes, **like)
        else:
            found = drawn(self.lowering.parameters, circuits, **like)
        with torch.no_grad():
            self.phases.copy_(found.view_as(self.phases))
            if self.bandwidth is not None:
                self.bandwidth.fill_(1.0)

    def interferometers(self) -> Tensor:
        """Return the interferometers between the columns of data phases.

        Returns:
            Matrices `[out, in]`, shape (columns + 1, modes, modes), behind `count`; complex.
        """
        return self._matrices(self._set(self.angles()))

    def _matrices(self, settings: Tensor) -> Tensor:
        product = self._product_in(settings.dtype)
        return unitaries(settings) if product is None else product.interferometers(settings)

    def _set(self, angles: Tensor) -> Tensor:
        """What parameters set one by one, if anything: then the product is of that."""
        return angles if self._settings is None else self._settings.of(angles)

    def _off(self) -> Off | None:
        """Draw by how much phases are off this time."""
        if self._settings is None:
            return None
        return self._settings.drawn(self._set(self.angles()).detach(), self.count)

    def _product_in(self, dtype: torch.dtype) -> Product | None:
        """The interferometers as products of constants in a precision, to which none is cast."""
        product, slots = self._product, self._slots
        if product is None or slots is None or product.factor.dtype == dtype:
            return product
        return Product.of(slots, dtype, product.factor.device)

    @property
    def _slots(self) -> Slots | None:
        settings = self._settings
        return self.lowering.slots if settings is None else settings.lowering.slots

    def _set_constants(self) -> None:
        """Fill what follows from the circuit alone.

        `encoding` and `tuned_by` are those of the `LinearMap`. What float64 knows is in no buffer,
        so that no cast reaches it. `_turns` says to take whole turns off without a trial: where a
        phase has been too large, or where large terms may hide.
        """
        dtype = torch.promote_types(self.phases.dtype, torch.float32)
        device, slots = self.phases.device, self._slots
        with torch.inference_mode(False):  # training after inference needs them too
            found = LinearMap.of(self.lowering, dtype, device)
            if self._settings_made is not None:
                self._settings = self._settings_made.on(device)
            self._product = None if slots is None else Product.of(slots, dtype, device)
        self.encoding, self.tuned_by, self._half_turns, self._turns, self._widest = found

    def _at(
        self,
        rows: Tensor,
        inputs: tuple[int, ...],
        simulate: Callable[..., _Result],
        *how: Any,
        off: Off | None = None,
    ) -> _Result:
        """Simulate the circuit of each row; `simulate` gets it lowered, and `how`.

        Whole turns are taken off large data phases, see `circuit.data_phases`. Phases are `off` by
        what was drawn before; None: by what is drawn now.
        """
        angles, encoding, bandwidth = self.angles(), self.encoding, self.bandwidth
        if encoding.dtype != angles.dtype:
            self._set_constants()  # a state of another precision was assigned
            encoding = self.encoding
        settings = self._settings
        off = self._off() if off is None else off
        phases = self._turned(angles, off)
        half_turns = self._half_turns
        looks = all(can_look_at(each) for each in (rows, encoding, bandwidth) if each is not None)
        if not looks:
            refuse_onnx()
        if looks or half_turns is None or rows.is_meta:
            factors = tuned(encoding, bandwidth, self.tuned_by)
            data_phases = factors @ rows.to(encoding.dtype).mT
        else:
            factors = tuned(half_turns, bandwidth, self.tuned_by)
            data_phases = without_turns(factors, rows, encoding.dtype)
        try:
            if looks and half_turns is not None:
                turns = self._turns or settings is not None
                if not turns and self._widest and bandwidth is not None:
                    turns = hides_terms(rows, bandwidth, self._widest)
                if not turns:
                    try:
                        return simulate(self._lowered(phases, data_phases, inputs), *how)
                    except LargePhasesError:
                        self._turns = True
                data_phases = self._turned_back(data_phases, factors, rows)
            if settings is not None and off is not None:
                data_phases = settings.turned_data(data_phases, off)
            return simulate(self._lowered(phases, data_phases, inputs), *how)
        except RareOutcomesError:
            if encoding.dtype == torch.float64:
                raise
        # Once in a while float64 costs less than an outcome that float32 cannot tell from nothing.
        found, kept = self._in_double(rows, inputs, simulate, *how, off=off)
        return in_single(found, kept)  # type: ignore[return-value]  # columns are never rare

    def _in_double(
        self,
        rows: Tensor,
        inputs: tuple[int, ...],
        simulate: Callable[..., Any],
        *how: Any,
        off: Off | None = None,
    ) -> Any:
        """As `_at` with results in float64, from angles and features on.

        Matrices in float32 have its errors for good.
        """
        bandwidth, half_turns, settings = self.bandwidth, self._half_turns, self._settings
        assert half_turns is not None  # only on the CPU rare outcomes raise
        off = self._off() if off is None else off
        phases = self._turned(self.angles().double(), off)
        factors = math.pi * tuned(half_turns, bandwidth, self.tuned_by)
        data_phases = self._turned_back(factors @ rows.to(factors.dtype).mT, factors, rows)
        if settings is not None and off is not None:
            data_phases = settings.turned_data(data_phases, off)
        return in_double(simulate, self._lowered(phases, data_phases, inputs), *how)

    def _turned(self, angles: Tensor, off: Off | None) -> Tensor:
        """Interferometers of parameters as kernels take them: matrices, or phases of meshes."""
        settings = self._set(angles)
        if self._settings is not None and off is not None:
            settings = self._settings.turned(settings, off)
        matrices = self._product is not None or self.given
        return self._matrices(settings) if matrices else settings

    def _turned_back(self, data_phases: Tensor, factors: Tensor, rows: Tensor) -> Tensor:
        assert self._half_turns is not None
        with torch.no_grad():  # a checkpoint that computes again must not find more was kept
            half_turns = tuned(self._half_turns, self.bandwidth, self.tuned_by)
            left = turned_back(data_phases, factors, half_turns, rows)
        return left + (data_phases - data_phases.detach())

    def _without_data(self, off: Off | None, dtype: torch.dtype | None = None) -> Tensor:
        """Return the unitary of a circuit without data, shape (..., modes, modes)."""
        if recording():
            refuse_onnx()
        angles = self.angles()
        if self.encoding.dtype != angles.dtype:
            self._set_constants()
        phases = self._set(angles if dtype is None else angles.to(dtype))
        if self._settings is not None and off is not None:
            phases = self._settings.turned(phases, off)
        product = self._product_in(phases.dtype)
        assert product is not None  # circuit types without data are lists of components too
        first, *others = product.of_some_effect(phases).unbind(-3)
        for other in others:
            first = other @ first
        return first

    def _lowered(
        self, interferometers: Tensor, data_phases: Tensor, inputs: tuple[int, ...]
    ) -> Lowered:
        *stack, _, batch = data_phases.shape
        data_phases = data_phases.view(*stack, self.columns, self._modes, batch)
        if self.count is not None and not stack:
            data_phases = data_phases.expand(self.count, -1, -1, -1)
        return Lowered(interferometers, data_phases, inputs)

    def angles(self) -> Tensor:
        """Return the trainable angles as they are simulated, frozen ones as they were given.

        Returns:
            The shape of `phases`, in at least float32.
        """
        # A half-precision state dict loaded with assign=True would otherwise sink the island.
        phases = self.phases
        if self.given:
            phases = self._with_frozen(phases)
        if phases.dtype is torch.float32 or phases.dtype is torch.float64:
            return phases
        return phases.to(torch.float32)

    def _with_frozen(self, phases: Tensor) -> Tensor:
        raise NotImplementedError  # only those that are given have frozen ones

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow `.to()`, `.half()` and the like, but never below float32."""

        def floored(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            low = result.dtype in (torch.float16, torch.bfloat16)
            return tensor.to(result.device) if low else result

        super()._apply(floored, recurse)  # type: ignore[no-untyped-call]
        self._set_constants()  # cast ones would keep float32's error
        return self


def in_double(
    simulate: Callable[..., tuple[Tensor, Tensor | None]], *arguments: Any
) -> tuple[Tensor, Tensor | None]:
    """Simulate a circuit of float64 for a layer of float32, with the amplitudes that enter."""
    exact = [
        each.to(torch.complex128) if isinstance(each, Tensor) and each.is_complex() else each
        for each in arguments
    ]
    return simulate(*exact)


def in_single(found: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return such results as the layer has them."""
    single = torch.complex64 if found.is_complex() else torch.float32
    return found.to(single), (None if kept is None else kept.to(torch.float32))
