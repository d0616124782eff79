"""The photonic layer as an ordinary ``nn.Module``."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.photonics import simulation
from hybridlit.photonics.amplitudes import occupied_modes
from hybridlit.photonics.correlations import mode_expectations, pair_correlations
from hybridlit.photonics.experiment import (
    Ansatz,
    AnsatzFactory,
    CircuitType,
    Experiment,
    OutputMappingStrategy,
)
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.interferometer import cells, haar_phases, unitaries
from hybridlit.photonics.readout import GroupingReadout, LinearReadout, make_readout
from hybridlit.photonics.validation import enum_member, integer

__all__ = ["QuantumLayer"]


class QuantumLayer(nn.Module):
    r"""Features -> phases of an interferometer -> photon statistics -> outputs.

    Simulates the circuit :math:`U_L \Phi_L(x) \dots \Phi_1(x) U_0` on a Fock state exactly.
    Features are expected in [0, 1], where they give phases of 0 to pi for a factor of 1; others are
    legal, since phases are periodic, and never clamped.

    The layer is a precision island: it computes in float32, or in float64 after ``.double()``,
    whatever the precision around it, and its parameters are real. Outside autocast the outputs have
    the dtype of ``x``.

    NaN or infinite features raise on the CPU. On other devices that check would cost a
    synchronisation each step, so there they become NaN outputs of their samples.

    Args:
        input_size: number of features.
        output_size: number of outputs; see :class:`~hybridlit.photonics.experiment.Ansatz`.
        ansatz: what :meth:`AnsatzFactory.create` made; its sizes and mapping hold.
        experiment: the circuit, instead of an ansatz.
        output_mapping_strategy: how probabilities become outputs.

    Attributes:
        phases: (a, b) of each cell of each interferometer in radians, shape
            (columns + 1, cells, 2); a buffer in reservoir mode.
        bandwidth: factor of each encoded phase, initially 1, shape (encoded phases,); None without
            bandwidth tuning.
        readout: module from probabilities to outputs.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range or contradicts the ansatz.

    Example:
        >>> layer = QuantumLayer(3, 4, experiment=Experiment("series", n_modes=4, n_photons=2))
        >>> layer(torch.rand(8, 3)).shape
        torch.Size([8, 4])
    """

    phases: Tensor
    encoding: Tensor
    encoded: Tensor
    readout: LinearReadout | GroupingReadout | nn.Identity

    def __init__(
        self,
        input_size: int,
        output_size: int | None = None,
        *,
        ansatz: Ansatz | None = None,
        experiment: Experiment | None = None,
        output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR,
    ) -> None:
        super().__init__()
        self.ansatz = _resolved(
            integer(input_size, "input_size", 1),
            output_size,
            ansatz,
            experiment,
            enum_member(OutputMappingStrategy, output_mapping_strategy, "output_mapping_strategy"),
        )
        circuit = self.experiment
        self.input_size = self.ansatz.input_size
        assert self.ansatz.output_size is not None  # the ansatz has filled it in
        self.output_size = self.ansatz.output_size
        self.input_state = circuit.occupation
        self.fock_space: FockSpace = circuit.fock_space
        self._occupied = occupied_modes(self.input_state)
        strategy = OutputMappingStrategy(self.ansatz.output_mapping_strategy)
        self._expectation = _EXPECTATIONS.get(strategy)

        factors = circuit.encoding_for(self.input_size)
        self.columns = len(factors)
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        shape = (self.columns + 1, len(cells(circuit.n_modes)), 2)
        if circuit.reservoir_mode:
            self.register_buffer("phases", torch.empty(shape, dtype=dtype))
        else:
            self.phases = nn.Parameter(torch.empty(shape, dtype=dtype))
        encoded = int(factors.any(axis=2).sum())
        self.bandwidth = (
            nn.Parameter(torch.empty(encoded, dtype=dtype))
            if circuit.use_bandwidth_tuning
            else None
        )
        self.register_buffer("encoding", None, persistent=False)
        self.register_buffer("encoded", None, persistent=False)
        self._set_encoding()
        self.readout = make_readout(strategy, self.fock_space.size, self.output_size)
        self.reset_parameters()

    @property
    def experiment(self) -> Experiment:
        """The circuit."""
        return self.ansatz.experiment

    def reset_parameters(self) -> None:
        """Draw Haar-random interferometers and set every bandwidth to 1."""
        meshes = self.columns + 1
        drawn = haar_phases(
            meshes, self.experiment.n_modes, dtype=self.phases.dtype, device=self.phases.device
        )
        with torch.no_grad():
            self.phases.copy_(drawn)
            if self.bandwidth is not None:
                self.bandwidth.fill_(1.0)
        if not isinstance(self.readout, nn.Identity):
            self.readout.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (..., output_size).

        Raises:
            TypeError: if ``x`` is no floating tensor, or float64 in a float32 layer.
            ValueError: if its width is wrong or, on the CPU, if a feature is not finite.
        """
        return self._island(x, self._outputs)

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the probabilities of all outcomes, in the order of ``fock_space.states``.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (..., D); each row sums to 1.
        """
        return self._island(x, lambda value: self._simulate(value)[0])

    def success_probability(self, x: Tensor) -> Tensor:
        """Return the probability that an outcome is in ``fock_space`` at all.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (...): 1 in the full Fock space; if unbunched, the share of outcomes with at most
            one photon a mode, which post-selection keeps.
        """
        return self._island(x, lambda value: self._simulate(value)[1])

    def unitary(self, x: Tensor) -> Tensor:
        """Return the unitary ``[out, in]`` of the whole circuit.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (..., modes, modes), complex64 or complex128 as the layer computes.
        """
        self._check(x)
        modes = self.experiment.n_modes
        with torch.autocast(x.device.type, enabled=False):
            data_phases = self._data_phases(x.reshape(-1, self.input_size))
            meshes = unitaries(self._phases())
            columns = simulation.circuit_columns(meshes, data_phases, range(modes))
        return columns.movedim(-1, 0).reshape(*x.shape[:-1], modes, modes)

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
            f"states={_short(self.fock_space.size)}, phases={self.phases.numel()}",
        ]
        if circuit.reservoir_mode:
            parts.append("reservoir")
        return ", ".join(parts)

    # --- inside ---------------------------------------------------------------------------------

    def _island(self, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Run ``compute`` on rows (batch, input_size) outside autocast; restore shape and dtype."""
        self._check(x)
        rows = x.reshape(-1, self.input_size)
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                result = compute(rows)
        else:
            result = compute(rows).to(x.dtype)
        return result.reshape(x.shape[:-1] + result.shape[1:])

    def _outputs(self, rows: Tensor) -> Tensor:
        if self._expectation is None:
            outputs: Tensor = self.readout(self._simulate(rows)[0])
            return outputs
        inputs = [mode for mode, photons in enumerate(self.input_state) if photons]
        columns = simulation.circuit_columns(
            unitaries(self._phases()), self._data_phases(rows), inputs
        )
        photons = [self.input_state[mode] for mode in inputs]
        return self._expectation(
            columns, torch.tensor(photons, dtype=columns.real.dtype, device=columns.device)
        )

    def _simulate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        space = ComputationSpace(self.fock_space.space)
        result, kept = simulation.probabilities(
            self._phases(), self._data_phases(rows), self._occupied, space
        )
        if (
            self.fock_space.unbunched
            and _can_look_at(kept)
            and not bool((kept > torch.finfo(kept.dtype).eps ** 2).all())  # all of it rounding
        ):
            raise ValueError(
                "no unbunched outcome has any probability for some sample, which leaves nothing to "
                "renormalise; use computation_space='fock' or another input_state"
            )
        return result, kept

    def _phases(self) -> Tensor:
        # A half-precision state dict loaded with assign=True would otherwise sink the island.
        return self.phases.to(torch.promote_types(self.phases.dtype, torch.float32))

    def _data_phases(self, rows: Tensor) -> Tensor:
        """Phases of the data in radians, shape (columns, modes, batch)."""
        factors = self.encoding
        if self.bandwidth is not None:
            tuned = self.bandwidth[:, None].to(factors.dtype)
            factors = factors * torch.ones_like(factors[:, :1]).index_copy(0, self.encoded, tuned)
        phases = factors @ rows.to(factors.dtype).T
        return phases.view(self.columns, self.experiment.n_modes, -1)

    def _set_encoding(self) -> None:
        """Fill the buffers that follow from the experiment alone.

        ``encoding`` holds radians for each unit of a feature, shape (columns * modes, features),
        ``encoded`` the rows of it that are not zero.
        """
        factors = self.experiment.encoding_for(self.input_size).reshape(-1, self.input_size)
        dtype = torch.promote_types(self.phases.dtype, torch.float32)
        device = self.phases.device
        self.encoding = torch.tensor(factors * math.pi, dtype=dtype, device=device)
        self.encoded = torch.tensor(np.flatnonzero(factors.any(axis=1)), device=device)

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"x must be a real floating tensor, got {got}; use x.float()")
        if x.dtype == torch.float64 and self.phases.dtype != torch.float64:
            raise TypeError(
                "x must not be more precise than the layer, got float64 for a float32 layer; use "
                "x.float(), or layer.double() to compute in float64"
            )
        if x.dim() == 0 or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x must have shape (..., input_size={self.input_size}), got {tuple(x.shape)}"
            )
        if _can_look_at(x) and not bool(torch.isfinite(x).all()):
            raise ValueError(
                "x must be finite, got NaN or infinity; clean the data or look for a diverging "
                "layer before this one"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow ``.to()``, ``.half()`` and the like, but never below float32."""

        def floored(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return tensor.to(result.device) if result.dtype in _LOW else result

        super()._apply(floored, recurse)  # type: ignore[no-untyped-call]
        self._set_encoding()  # a cast one would keep float32's error
        return self


_EXPECTATIONS = {
    OutputMappingStrategy.MODE_EXPECTATIONS: mode_expectations,
    OutputMappingStrategy.PAIR_CORRELATIONS: pair_correlations,
}
_LOW = (torch.float16, torch.bfloat16)


def _short(number: int) -> str:
    return str(number) if number < 10**9 else f"{number:.2e}"


def _can_look_at(tensor: Tensor) -> bool:
    """Whether reading a value costs no synchronisation and is possible at all."""
    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def _resolved(
    input_size: int,
    output_size: int | None,
    ansatz: Ansatz | None,
    experiment: Experiment | None,
    strategy: OutputMappingStrategy,
) -> Ansatz:
    if (ansatz is None) == (experiment is None):
        given = "neither" if ansatz is None else "both"
        raise ValueError(f"give exactly one of ansatz and experiment, got {given}")
    if experiment is not None:
        return AnsatzFactory.create(experiment, input_size, output_size, strategy)
    if not isinstance(ansatz, Ansatz):
        raise TypeError(
            f"ansatz must be what AnsatzFactory.create returns, got {type(ansatz).__name__}"
        )
    wanted: dict[str, object] = {"input_size": input_size}
    if output_size is not None:
        wanted["output_size"] = output_size
    if strategy is not OutputMappingStrategy.LINEAR:
        wanted["output_mapping_strategy"] = strategy
    for name, value in wanted.items():
        made = getattr(ansatz, name)
        if value != made:
            raise ValueError(f"{name} must be {made!r} as in the ansatz, got {value!r}")
    return ansatz
