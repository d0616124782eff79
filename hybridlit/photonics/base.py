"""What a photonic layer and a stack of them share: parameters, encoding, checks and precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.argument_types import checked
from hybridlit.checks import precision
from hybridlit.internals.torch import metadata
from hybridlit.photonics.amplitudes import occupied_modes
from hybridlit.photonics.circuit.data_phases import LinearMap, hides_terms, tuned, turned_back
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.description import description, differences
from hybridlit.photonics.experiment import Ansatz, Experiment
from hybridlit.photonics.finite import can_look_at
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.interferometer import cells, haar_phases
from hybridlit.photonics.kernels.choice import kernel_for
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.propagation import LargePhasesError, circuit_columns
from hybridlit.photonics.simulation import probabilities
from hybridlit.photonics.sizes import require_memory
from hybridlit.photonics.tracing import refuse_onnx
from hybridlit.words import in_digits

__all__ = ["PhotonicCircuit"]

_Result = TypeVar("_Result")


class PhotonicCircuit(nn.Module):
    r"""One circuit, or several of one shape: the base of the photonic layers.

    Holds the phases, turns features into data phases and asks `simulation` for outcomes. Its
    own parameters are the photonic ones; a readout's weights belong to a child module.

    A state dict says of which circuit it is, beside the tensors, where torch keeps the versions of
    modules. One of another circuit is refused with a ValueError, even with `strict=False`. One
    that does not say (an older one, a copy by `dict(state)`, a safetensors file) is taken.

    Args:
        ansatz: Experiment and sizes.
        count: Number of circuits with phases of their own, or None for one without that dimension.
        recompute: Simulate again for the gradient instead of keeping intermediate states: less
            memory, up to a third more time. None keeps them up to 5 MiB, while that is faster.
        device: Where parameters and buffers are; None: torch's default.
        dtype: `torch.float32` or `torch.float64`; None: that of the ansatz, or torch's default if
            it is one of them.
    """

    phases: Tensor
    encoding: Tensor
    tuned_by: Tensor
    photons: Tensor
    readout: nn.Module
    _half_turns: Tensor | None
    _turns: bool
    _widest: float

    @checked
    def __init__(
        self,
        ansatz: Ansatz,
        count: int | None,
        recompute: bool | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        circuit = ansatz.experiment
        assert ansatz.output_size is not None  # the ansatz has filled it in
        self.ansatz = ansatz
        self.count = count
        self.recompute = recompute
        self.input_size, self.output_size = ansatz.input_size, ansatz.output_size
        self.input_state = circuit.occupation
        self.fock_space: FockSpace = circuit.fock_space
        self.outcomes = Outcomes(self.fock_space)
        self._description = description(ansatz)
        # torch.compile cannot read what the members of an enum carry
        self._expectation = ansatz.readout.expectation
        self._without_interference = ansatz.readout.distinguishable
        self._has_expectations = self._expectation is not None

        if dtype is None:
            default = torch.promote_types(torch.get_default_dtype(), torch.float32)
            dtype = ansatz.dtype or default
        elif precision(dtype, "dtype") is not (ansatz.dtype or dtype):
            raise ValueError(f"dtype must be {ansatz.dtype} as in the ansatz, got {dtype}")
        try:
            place = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:  # torch asserts that it has CUDA
            raise ValueError(f"device must be one of torch's, got {device!r}: {error}") from error
        if not self._has_expectations:
            # A readout's weights and their gradient stand beside the simulation.
            weights = ansatz.readout.numbers(self.fock_space, self.output_size) * (count or 1)
            if weights + self.fock_space.size > 2**22:
                circuits, more = count or 1, 4 * weights
                require_memory(
                    self.fock_space, circuits, dtype, place.type, more, circuits=circuits
                )

        self._inputs = tuple(mode for mode, photons in enumerate(self.input_state) if photons)
        self._order: tuple[int, ...] | None = None
        factors = circuit.encoding_for(self.input_size)
        self.columns, self._modes = factors.shape[:2]
        stack = () if count is None else (count,)
        like: dict[str, Any] = dict(device=place, dtype=dtype)
        phases = torch.empty(*stack, self.columns + 1, len(cells(circuit.n_modes)), 2, **like)
        if circuit.reservoir_mode:
            self.register_buffer("phases", phases)
        else:
            self.phases = nn.Parameter(phases)
        self.bandwidth: nn.Parameter | None = None
        if circuit.use_bandwidth_tuning:
            encoded = int(factors.any(axis=2).sum())
            self.bandwidth = nn.Parameter(torch.empty(*stack, encoded, **like))
        for constant in ("encoding", "tuned_by", "photons"):
            self.register_buffer(constant, None, persistent=False)
        self._set_constants()
        make = ansatz.readout.module
        self.readout = make(self.fock_space, self.output_size, count, place, dtype)
        self.reset_parameters()

    @property
    def experiment(self) -> Experiment:
        """The circuit's description."""
        return self.ansatz.experiment

    def reset_parameters(self) -> None:
        """Draw Haar-random interferometers, set every bandwidth to 1, and reset the readout."""
        self.reset_phases()
        self._reset_readout()

    def _reset_readout(self) -> None:
        reset = getattr(self.readout, "reset_parameters", None)  # the identity has none
        if reset is not None:
            reset()

    def reset_phases(self) -> None:
        """Draw Haar-random interferometers and set every bandwidth to 1; leave the readout."""
        drawn = haar_phases(
            self.phases.shape[:-3].numel() * (self.columns + 1),
            self.experiment.n_modes,
            dtype=self.phases.dtype,
            device=self.phases.device,
        )
        with torch.no_grad():
            self.phases.copy_(drawn.view_as(self.phases))
            if self.bandwidth is not None:
                self.bandwidth.fill_(1.0)

    def extra_repr(self) -> str:
        """Return sizes, circuit and states for `repr`."""
        circuit = self.experiment
        state = ",".join(str(photons) for photons in self.input_state)
        parts = [
            f"input_size={self.input_size}, output_size={self.output_size}, "
            f"circuit={circuit.circuit_name}",
            f"modes={circuit.n_modes}, photons={circuit.n_photons}, data_columns={self.columns}",
            f"input_state=|{state}>, space={self.fock_space.space.value}",
            f"states={in_digits(self.fock_space.size)}, phases={self.phases.numel()}",
        ]
        if self.count is not None:
            parts.insert(0, f"count={self.count}")
        if circuit.reservoir_mode:
            parts.append("reservoir")
        parts.append(f"kernel={kernel_for(self.fock_space, self.phases)}")
        return ", ".join(parts)

    def __prepare_scriptable__(self) -> Self:
        """Refuse `torch.jit.script`, which asks every module for this."""
        raise NotImplementedError(
            "photonic layers cannot be compiled by torch.jit.script; use "
            "torch.export.export(layer, (x,)), or torch.jit.trace where TorchScript has to be"
        )

    # --- forward ----------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs.

        Args:
            x: Features, shape (..., input_size), real floating.

        Returns:
            Shape (..., output_size); of a stack (..., count, output_size).

        Raises:
            TypeError: If `x` is no floating tensor, or float64 in a float32 layer.
            ValueError: If its width is wrong or, on the CPU, if a feature is not finite or a sample
                has next to no unbunched outcome.
        """
        return self._read(x, self._outputs)

    def _read(self, x: Tensor, read: Callable[[Tensor], Tensor], each: bool = False) -> Tensor:
        """Check features once, and read outcomes outside autocast.

        Args:
            x: Features, shape (..., input_size); with `each` (..., count, input_size).
            read: From rows of features (batch, input_size), or (count, batch, input_size) for a
                stack whose circuits get features of their own, to results of rows, `count` first in
                any stack.
            each: Whether the circuits of a stack get features of their own.

        Returns:
            Shape (..., *outputs), of a stack (..., count, *outputs), in the dtype of `x`; under
            autocast in at least float32.
        """
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
        before = x.shape[:lead]
        if x.shape[lead:] != kept:
            raise ValueError(
                f"x must have shape (..., {f'{self.count}, ' if each else ''}"
                f"input_size={self.input_size}), got {tuple(x.shape)}"
            )
        rows = x if lead == 1 else x.reshape(math.prod(before), *kept)
        if each:
            rows = rows.transpose(0, 1)
        device = x.device.type
        autocast = device != "meta" and torch.is_autocast_enabled(device)
        if autocast:
            with torch.autocast(device, enabled=False):
                result = read(rows)
        else:
            result = read(rows)
        if self.count is not None:
            result = result.transpose(0, 1)
        if not autocast:
            if result.is_floating_point():
                result = result.to(x.dtype)
        elif result.dtype == torch.float64:  # autocast casts no float64, so that a Linear raises
            result = result.to(torch.promote_types(x.dtype, torch.float32))
        return result if lead == 1 else result.reshape(before + result.shape[1:])

    # --- readings of rows: what subclasses say ----------------------------------------------------

    def _outputs(self, rows: Tensor) -> Tensor:
        """Outputs (..., batch, output_size)."""
        if self._has_expectations:
            return self._expectations(rows)
        outputs: Tensor = self.readout(self._probabilities(rows)[0])
        return outputs

    def _probabilities(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Probabilities (..., batch, D), and what they summed to (..., batch) if unbunched."""
        photons = self._order or self._occupied()
        return self._at(rows, photons, probabilities, self.outcomes, self.recompute)

    def _expectations(self, rows: Tensor) -> Tensor:
        """Photon-number expectations (..., batch, outputs), if the strategy is one."""
        columns = self._columns(rows, self._inputs)
        assert self._expectation is not None
        outputs = self._expectation(columns.flatten(2), self.photons)
        return outputs.view(*columns.shape[2:], self.output_size)

    def _columns(self, rows: Tensor, inputs: tuple[int, ...]) -> Tensor:
        """Columns of the circuit's unitary, shape (modes, inputs, ..., batch), complex."""
        return self._at(rows, inputs, circuit_columns)

    def _occupied(self) -> tuple[int, ...]:
        """The input mode of each photon, in the order of computation."""
        if self._order is None:  # expectations serve any number of photons, and seldom ask for it
            self._order = tuple(occupied_modes(self.input_state))
        return self._order

    # --- from features to the kernels -------------------------------------------------------------

    def _at(
        self, rows: Tensor, inputs: tuple[int, ...], simulate: Callable[..., _Result], *how: Any
    ) -> _Result:
        """Simulate the circuit of each row; `simulate` gets it lowered, and `how`.

        Whole turns are taken off large data phases, see `circuit.data_phases`.
        """
        phases, encoding, bandwidth = self._circuit_phases(), self.encoding, self.bandwidth
        if encoding.dtype != phases.dtype:
            self._set_constants()  # a state of another precision was assigned
            encoding = self.encoding
        factors = tuned(encoding, bandwidth, self.tuned_by)
        data_phases = factors @ rows.to(encoding.dtype).mT
        half_turns, looks = self._half_turns, can_look_at(data_phases)
        if not looks:
            refuse_onnx()
        if half_turns is not None:
            turns = self._turns or not looks
            if not turns and self._widest and bandwidth is not None:
                turns = hides_terms(rows, bandwidth, self._widest)
            if not turns:
                try:
                    return simulate(self._lowered(phases, data_phases, inputs), *how)
                except LargePhasesError:
                    self._turns = True
            with torch.no_grad():  # a checkpoint that computes again must not find more was kept
                half_turns = tuned(half_turns, bandwidth, self.tuned_by)
                left = turned_back(data_phases, factors, half_turns, rows)
            data_phases = left + (data_phases - data_phases.detach())
        return simulate(self._lowered(phases, data_phases, inputs), *how)

    def _lowered(self, phases: Tensor, data_phases: Tensor, inputs: tuple[int, ...]) -> Lowered:
        *stack, _, batch = data_phases.shape
        data_phases = data_phases.view(*stack, self.columns, self._modes, batch)
        if self.count is not None and not stack:
            data_phases = data_phases.expand(self.count, -1, -1, -1)
        return Lowered(phases, data_phases, inputs)

    def _circuit_phases(self) -> Tensor:
        # A half-precision state dict loaded with assign=True would otherwise sink the island.
        phases = self.phases
        if phases.dtype is torch.float32 or phases.dtype is torch.float64:
            return phases
        return phases.to(torch.float32)

    def _set_constants(self) -> None:
        """Fill what follows from the experiment alone.

        `encoding` and `tuned_by` are those of the `LinearMap`, `photons` holds the photons in each
        occupied mode. What float64 knows is in no buffer, so that no cast reaches it. `_turns` says
        to take whole turns off without a trial: where a phase has been too large, or where large
        terms may hide.
        """
        dtype = torch.promote_types(self.phases.dtype, torch.float32)
        device = self.phases.device
        photons = [float(self.input_state[mode]) for mode in self._inputs]
        with torch.inference_mode(False):  # training after inference needs them too
            found = LinearMap.of(self.experiment.encoding_for(self.input_size), dtype, device)
            self.photons = torch.tensor(photons, dtype=dtype, device=device)
        self.encoding, self.tuned_by, self._half_turns, self._turns, self._widest = found

    # --- state ------------------------------------------------------------------------------------

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        modules = metadata(destination)  # a plain dict of the caller has none
        if modules is not None:
            modules[prefix[:-1]]["circuit"] = dict(self._description)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *others: Any,
    ) -> None:
        found = differences(local_metadata.get("circuit"), self._description)
        if found:
            raise ValueError(
                f"the state dict is that of another circuit than {prefix[:-1] or 'this layer'}: "
                f"{found}; build the layer as it was saved, or load dict(state_dict), which says "
                "nothing of the circuit, to take the numbers over all the same"
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)
        if self.encoding.device != self.phases.device:  # assigned to a layer on the meta device
            self._set_constants()
            self.readout.to_empty(device=self.phases.device)
            self._reset_readout()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow `.to()`, `.half()` and the like, but never below float32."""

        def floored(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            low = result.dtype in (torch.float16, torch.bfloat16)
            return tensor.to(result.device) if low else result

        empty = self.phases.is_meta
        super()._apply(floored, recurse)  # type: ignore[no-untyped-call]
        self._set_constants()  # cast ones would keep float32's error
        if empty and not self.phases.is_meta:
            self._reset_readout()  # its tables, which are in no state dict
        return self
