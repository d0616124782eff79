"""What a photonic layer and a stack of them share: parameters, encoding, checks and precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.argument_types import checked
from hybridlit.internals.torch import metadata
from hybridlit.photonics import simulation
from hybridlit.photonics.amplitudes import occupied_modes
from hybridlit.photonics.description import description, differences
from hybridlit.photonics.experiment import Ansatz, CircuitType, Experiment
from hybridlit.photonics.finite import can_look_at
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.interferometer import cells, haar_phases
from hybridlit.photonics.kernels.choice import kernel_for
from hybridlit.photonics.kernels.compiled import PHASE_BOUND
from hybridlit.photonics.propagation import LargePhasesError, circuit_columns
from hybridlit.photonics.sizes import require_memory
from hybridlit.photonics.tracing import refuse_onnx
from hybridlit.words import in_digits

__all__ = ["PhotonicCircuit"]

_Result = TypeVar("_Result")

_REACH_BOUND = PHASE_BOUND * (1 + 2**-12)
"""For the terms of a sum: beyond rounding, so that one of them alone is above `PHASE_BOUND`."""


class PhotonicCircuit(nn.Module):
    r"""One circuit, or several of one shape: the base of the photonic layers.

    Holds the phases, turns features into data phases and asks :mod:`simulation` for outcomes. Its
    own parameters are the photonic ones; a readout's weights belong to a child module.

    A state dict says of which circuit it is, beside the tensors, where torch keeps the versions of
    modules. One of another circuit is refused with a ValueError, even with ``strict=False``. One
    that does not say (an older one, a copy by ``dict(state)``, a safetensors file) is taken.

    Args:
        ansatz: experiment and sizes.
        count: number of circuits with phases of their own, or None for one without that dimension.
        recompute: simulate again for the gradient instead of keeping intermediate states: less
            memory, up to a third more time. None keeps them up to 5 MiB, while that is faster.
    """

    phases: Tensor
    encoding: Tensor
    tuned_by: Tensor
    photons: Tensor
    readout: nn.Module
    _half_turns: Tensor | None
    _turns: bool

    @checked
    def __init__(self, ansatz: Ansatz, count: int | None, recompute: bool | None = None) -> None:
        super().__init__()
        circuit = ansatz.experiment
        assert ansatz.output_size is not None  # the ansatz has filled it in
        self.ansatz = ansatz
        self.count = count
        self.recompute = recompute
        self.input_size, self.output_size = ansatz.input_size, ansatz.output_size
        self.input_state = circuit.occupation
        self.fock_space: FockSpace = circuit.fock_space
        self._description = description(ansatz)
        # torch.compile cannot read what the members of an enum carry
        self._expectation = ansatz.readout.expectation
        self._without_interference = ansatz.readout.distinguishable
        self._has_expectations = self._expectation is not None

        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        if not self._has_expectations:
            # A readout's weights and their gradient stand beside the simulation.
            weights = ansatz.readout.numbers(self.fock_space, self.output_size) * (count or 1)
            if weights + self.fock_space.size > 2**22:
                require_memory(
                    self.fock_space, count or 1, dtype, "cpu", 4 * weights, circuits=count or 1
                )

        self._inputs = [mode for mode, photons in enumerate(self.input_state) if photons]
        # expectations serve any number of photons, and seldom ask for one after the other
        self._order = None if self._has_expectations else occupied_modes(self.input_state)
        factors = circuit.encoding_for(self.input_size)
        self.columns = len(factors)
        stack = () if count is None else (count,)
        phases = torch.empty(*stack, self.columns + 1, len(cells(circuit.n_modes)), 2, dtype=dtype)
        if circuit.reservoir_mode:
            self.register_buffer("phases", phases)
        else:
            self.phases = nn.Parameter(phases)
        self.bandwidth: nn.Parameter | None = None
        if circuit.use_bandwidth_tuning:
            encoded = int(factors.any(axis=2).sum())
            self.bandwidth = nn.Parameter(torch.empty(*stack, encoded, dtype=dtype))
        for constant in ("encoding", "tuned_by", "photons"):
            self.register_buffer(constant, None, persistent=False)
        self._set_constants()
        make = ansatz.readout.module
        self.readout = make(self.fock_space, self.output_size, count, phases.device, dtype)
        self.reset_parameters()

    @property
    def experiment(self) -> Experiment:
        """The circuit's description."""
        return self.ansatz.experiment

    def reset_parameters(self) -> None:
        """Draw Haar-random interferometers, set every bandwidth to 1, and reset the readout."""
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
        reset = getattr(self.readout, "reset_parameters", None)  # the identity has none
        if reset is not None:
            reset()

    def extra_repr(self) -> str:
        """Return sizes, circuit and states for ``repr``."""
        circuit = self.experiment
        kind = (
            "explicit" if circuit.circuit_type is None else CircuitType(circuit.circuit_type).value
        )
        state = ",".join(str(photons) for photons in self.input_state)
        parts = [
            f"input_size={self.input_size}, output_size={self.output_size}, circuit={kind}",
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
        """Refuse ``torch.jit.script``, which asks every module for this."""
        raise NotImplementedError(
            "photonic layers cannot be compiled by torch.jit.script; use "
            "torch.export.export(layer, (x,)), or torch.jit.trace where TorchScript has to be"
        )

    # --- for subclasses: rows are features (batch, input_size), or (count, batch, input_size) for a
    # stack whose circuits get features of their own; results have `count` first in any stack.

    def _probabilities(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Probabilities (..., batch, D), and what they summed to (..., batch) if unbunched."""
        return self._at(
            rows,
            lambda phases, data_phases: simulation.probabilities(
                phases, data_phases, self._occupied(), self.fock_space, self.recompute
            ),
        )

    def _occupied(self) -> list[int]:
        """The input mode of each photon, in the order of computation."""
        if self._order is None:
            self._order = occupied_modes(self.input_state)
        return self._order

    def _expectations(self, rows: Tensor) -> Tensor:
        """Photon-number expectations (..., batch, outputs), if the strategy is one."""
        columns = self._columns(rows, self._inputs)
        assert self._expectation is not None
        outputs = self._expectation(columns.flatten(2), self.photons)
        return outputs.view(*columns.shape[2:], self.output_size)

    def _columns(self, rows: Tensor, inputs: Sequence[int]) -> Tensor:
        """Columns of the circuit's unitary, shape (modes, inputs, ..., batch), complex."""
        return self._at(
            rows, lambda phases, data_phases: circuit_columns(phases, data_phases, inputs)
        )

    def _island(self, x: Tensor, compute: Callable[[Tensor], Tensor], lead: int = 1) -> Tensor:
        """Run ``compute`` outside autocast on ``x`` with its leading dimensions merged into one.

        Args:
            x: checked features, shape (..., *kept), where the last ``lead`` dimensions are kept.
            compute: from (batch, *kept) to (batch, *outputs).
            lead: number of trailing dimensions to keep.

        Returns:
            Shape (..., *outputs), in the dtype of ``x``; under autocast in at least float32.
        """
        kept = x.dim() - lead
        before = x.shape[:kept]
        rows = x if kept == 1 else x.reshape(math.prod(before), *x.shape[kept:])
        if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                result = compute(rows)
            if result.dtype == torch.float64:  # autocast casts no float64, so that a Linear raises
                result = result.to(torch.promote_types(x.dtype, torch.float32))
        else:
            result = compute(rows)
            if result.is_floating_point():
                result = result.to(x.dtype)
        return result if kept == 1 else result.reshape(before + result.shape[1:])

    def _check(self, x: Tensor, trailing: tuple[int, ...]) -> None:
        refuse_onnx()
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"x must be a real floating tensor, got {got}; use x.float()")
        if x.dtype == torch.float64 and self.phases.dtype != torch.float64:
            raise TypeError(
                "x must not be more precise than the layer, got float64 for a float32 layer; use "
                "x.float(), or layer.double() to compute in float64"
            )
        if x.shape[-len(trailing) :] != trailing:
            wanted = ", ".join(str(size) for size in trailing[:-1])
            raise ValueError(
                f"x must have shape (..., {wanted + ', ' if wanted else ''}"
                f"input_size={self.input_size}), got {tuple(x.shape)}"
            )

    # --- inside -----------------------------------------------------------------------------------

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

    def _circuit_phases(self) -> Tensor:
        # A half-precision state dict loaded with assign=True would otherwise sink the island.
        phases = self.phases
        if phases.dtype is torch.float32 or phases.dtype is torch.float64:
            return phases
        return phases.to(torch.float32)

    def _at(self, rows: Tensor, compute: Callable[[Tensor, Tensor], _Result]) -> _Result:
        """Compute from the phases of the circuit and of the data (..., columns, modes, batch).

        Whole turns are taken off data phases that are large. To look for them costs more than a
        small circuit, and kernels look at every phase anyway: they refuse large ones, once.
        """
        phases, encoding = self._circuit_phases(), self.encoding
        if encoding.dtype != phases.dtype:
            self._set_constants()  # a state of another precision was assigned
            encoding = self.encoding
        data_phases = self._tuned(encoding) @ rows.to(encoding.dtype).mT
        half_turns = self._half_turns
        if half_turns is not None:
            if can_look_at(data_phases) and not (self._turns or self._hides_terms(rows)):
                try:
                    return compute(phases, self._as_columns(data_phases))
                except LargePhasesError:
                    self._turns = True
            data_phases = self._without_turns(data_phases, half_turns, rows)
        return compute(phases, self._as_columns(data_phases))

    def _as_columns(self, phases: Tensor) -> Tensor:
        phases = phases.view(
            *phases.shape[:-2], self.columns, self.experiment.n_modes, phases.shape[-1]
        )
        if self.count is not None and phases.dim() == 3:
            phases = phases.expand(self.count, -1, -1, -1)
        return phases

    def _tuned(self, factors: Tensor) -> Tensor:
        """Factors (columns * modes, features) times the bandwidth of each row."""
        bandwidth = self.bandwidth
        if bandwidth is None:
            return factors
        return factors * bandwidth.to(factors.dtype).index_select(-1, self.tuned_by)[..., None]

    def _hides_terms(self, rows: Tensor) -> bool:
        """Whether large terms may cancel in a sum that is tuned more than what else shows them."""
        if self.bandwidth is None or not self._widest or not rows.numel():
            return False
        return _magnitude(rows) * _magnitude(self.bandwidth) * self._widest >= PHASE_BOUND

    def _without_turns(self, phases: Tensor, half_turns: Tensor, rows: Tensor) -> Tensor:
        """Replace large phases by what float64 says is left of them beside whole turns.

        Whole turns change nothing but cost digits: a float32 phase of a million has none left, and
        neither has the sum of two that cancel. Derivatives are those of ``phases``.
        """
        with torch.no_grad():  # a checkpoint that computes again must not find more was kept
            reach = self._tuned(self.encoding).abs() @ rows.to(phases.dtype).abs().mT
            exact = self._tuned(half_turns) @ rows.to(half_turns.dtype).mT
            left = (math.pi * (exact - 2 * torch.round(exact / 2))).to(phases.dtype)
            large = (phases.abs() >= PHASE_BOUND) | (reach >= _REACH_BOUND)
            values = torch.where(large, left, phases).detach()
        return values + (phases - phases.detach())

    def _set_constants(self) -> None:
        """Fill the buffers that follow from the experiment alone.

        ``encoding`` holds radians for each unit of a feature, shape (columns * modes, features),
        ``tuned_by`` which bandwidth each row has (one without data has any, times 0), ``photons``
        the photons in each occupied mode.
        ``_half_turns`` is the encoding in units of pi and float64, where the device has that; it
        is no buffer, so that no cast reaches it. ``_turns`` says to take whole turns off without a
        trial: where a phase has been too large, or where large terms may cancel in a small sum that
        nothing gives away. A mean of features does not hide them if each has a phase of its own, of
        the same bandwidth; otherwise ``_widest`` is the largest sum of a row's radians, else 0.
        """
        factors = self.experiment.encoding_for(self.input_size).reshape(-1, self.input_size)
        photons = [float(self.input_state[mode]) for mode in self._inputs]
        dtype = torch.promote_types(self.phases.dtype, torch.float32)
        device = self.phases.device
        terms = np.count_nonzero(factors, axis=1)[:, None]
        alone = np.abs(factors[terms[:, 0] == 1]).max(axis=0, initial=0.0)
        self._turns = bool((terms * np.abs(factors) > alone * (1 + 1e-9)).any())
        self._widest = math.pi * float(np.abs(factors[terms[:, 0] > 1]).sum(1).max(initial=0.0))
        encoded = factors.any(axis=1)
        with torch.inference_mode(False):  # training after inference needs them too
            self.encoding = torch.tensor(factors * math.pi, dtype=dtype, device=device)
            self.tuned_by = torch.tensor(np.maximum(encoded.cumsum() - 1, 0), device=device)
            self.photons = torch.tensor(photons, dtype=dtype, device=device)
            self._half_turns = (
                None if device.type == "mps" else torch.tensor(factors, device=device)
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow ``.to()``, ``.half()`` and the like, but never below float32."""

        def floored(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            low = result.dtype in (torch.float16, torch.bfloat16)
            return tensor.to(result.device) if low else result

        super()._apply(floored, recurse)  # type: ignore[no-untyped-call]
        self._set_constants()  # cast ones would keep float32's error
        return self


def _magnitude(tensor: Tensor) -> float:
    low, high = torch.aminmax(tensor.detach())
    return max(-low.item(), high.item())
