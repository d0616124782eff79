"""What a photonic layer and a stack of them share: parameters, encoding, checks and precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.argument_types import checked
from hybridlit.checks import precision
from hybridlit.photonics.amplitudes import occupied_modes, squared
from hybridlit.photonics.ansatz import Ansatz
from hybridlit.photonics.description import description, imperfections
from hybridlit.photonics.evolution import Terms, evolved
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.choice import kernel_for
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.phases import Off
from hybridlit.photonics.noise.shots import ShotGradientName
from hybridlit.photonics.noise.simulation import behind_photons, detected_probabilities
from hybridlit.photonics.noise.values import NoiseValues
from hybridlit.photonics.one_node import OneNodeCircuit
from hybridlit.photonics.outcomes import Outcomes, RareOutcomesError
from hybridlit.photonics.parameters import in_double, in_single
from hybridlit.photonics.propagation import circuit_columns
from hybridlit.photonics.readouts.row import outputs_of
from hybridlit.photonics.simulation import probabilities
from hybridlit.photonics.sizes import require_memory
from hybridlit.photonics.superposition import Superposition
from hybridlit.words import in_digits

__all__ = ["PhotonicCircuit"]


class PhotonicCircuit(OneNodeCircuit):
    r"""One circuit, or several of one shape: the base of the photonic layers.

    Holds the phases, turns features into data phases and asks `simulation` for outcomes. Its
    own parameters are the photonic ones; a readout's weights belong to a child module.

    A state dict says of which circuit it is, beside the tensors, where torch keeps the versions of
    modules. One of another circuit is refused with a ValueError, even with `strict=False`. One
    that does not say (an older one, a copy by `dict(state)`, a safetensors file) is taken.

    Args:
        ansatz: Experiment and sizes.
        count: Number of circuits with phases of their own, or None for one without that dimension.
        recompute: As for `QuantumLayer`, and so are the others.
        shots: How often each sample is measured.
        shot_gradient: Of frequencies.
        device: Where parameters and buffers are.
        dtype: `torch.float32` or `torch.float64`.

    Example:
        >>> PhotonicCircuit(Ansatz(Experiment("series", 4, 2), 2, 3), 5)(torch.rand(7, 2)).shape
        torch.Size([7, 5, 3])
    """

    photons: Tensor
    input_state: tuple[int, ...] | Superposition
    readout: nn.Module
    interferes = True
    """Whether photons interfere with one another."""

    @checked
    def __init__(
        self,
        ansatz: Ansatz,
        count: int | None,
        recompute: bool | None = None,
        shots: int | None = None,
        shot_gradient: ShotGradientName = "exact",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        circuit = ansatz.experiment
        assert ansatz.output_size is not None  # the ansatz has filled it in
        if dtype is None:
            default = torch.promote_types(torch.get_default_dtype(), torch.float32)
            dtype = ansatz.dtype or default
        elif precision(dtype, "dtype") is not (ansatz.dtype or dtype):
            raise ValueError(f"dtype must be {ansatz.dtype} as in the ansatz, got {dtype}")
        try:
            place = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:  # torch asserts that it has CUDA
            raise ValueError(f"device must be one of torch's, got {device!r}: {error}") from error
        space, outcomes = circuit.fock_space, circuit.outcomes
        if ansatz.needs_amplitudes:
            # A readout's weights and their gradient stand beside the simulation.
            weights = ansatz.readout.numbers(outcomes, ansatz.output_size) * (count or 1)
            if weights + space.size > 2**22:
                circuits, more = count or 1, 4 * weights
                require_memory(space, circuits, dtype, place.type, more, circuits=circuits)
        super().__init__(
            circuit.lowering(ansatz.input_size), count, not circuit.reservoir_mode,
            circuit.use_bandwidth_tuning, place, dtype,
        )  # fmt: skip
        self.ansatz = ansatz
        self.recompute = recompute
        self.input_size, self.output_size = ansatz.input_size, ansatz.output_size
        state = circuit.superposition
        if state is not None and not self.interferes:
            raise ValueError(
                f"input_state must be photons in each mode for a {type(self).__name__}, got a "
                f"superposition {state}, whose terms interfere: use a QuantumLayer"
            )
        self.input_state = circuit.occupation if state is None else state
        self.input_space = FockSpace(space.modes, space.photons, space.space)
        self.fock_space: FockSpace = space
        self.outcomes: Outcomes = outcomes
        self._description = description(ansatz)
        # torch.compile cannot read what the members of an enum carry
        self._expectation = ansatz.readout.expectation
        self._without_interference = ansatz.readout.distinguishable
        self._statistic = ansatz.readout.statistic
        self._transmitted = ansatz.readout.transmitted
        self._program = circuit.program_for(self.interferes)
        self.noise: NoiseValues | None = None
        if self._program is not None or circuit.noise is not None:
            noise = circuit.noise if isinstance(circuit.noise, Noise) else Noise()
            self.noise = NoiseValues(noise, place, dtype, self.interferes)
        self._has_expectations = not ansatz.needs_amplitudes
        if self.noise is not None and not self.noise.given.steady_phases:
            self._set_one_by_one()
        self.shots, self.shot_gradient = shots, shot_gradient
        self._inputs = tuple(mode for mode, mean in enumerate(circuit.mean_photons) if mean)
        self._order: tuple[int, ...] | None = None
        self._superposed = state is not None
        terms = (circuit.occupation,) if state is None else state.states
        self._terms = Terms(space.modes, space.photons, terms)
        self._usual = (
            count is None
            and self.input_size > 0
            and self.interferes
            and state is None
            and self._program is None
            and outcomes.rule is None
            and self.lowering.slots is None
            and self._statistic is None
        )
        self.register_buffer("photons", None, persistent=False)
        self._set_constants()
        make = ansatz.readout.module
        self.readout = make(outcomes, self.output_size, count, place, dtype)
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

    def extra_repr(self) -> str:
        """Return sizes, circuit and states for `repr`."""
        circuit = self.experiment
        kept = f", kept={in_digits(self.outcomes.size)}" if self.outcomes.rule else ""
        parts = [
            f"input_size={self.input_size}, output_size={self.output_size}, "
            f"circuit={circuit.circuit_name}",
            f"modes={circuit.n_modes}, photons={circuit.n_photons}, data_columns={self.columns}",
            f"input_state={self._ket()}, space={self.fock_space.space.value}",
            f"states={in_digits(self.fock_space.size)}{kept}, phases={self.phases.numel()}",
        ]
        if self.count is not None:
            parts.insert(0, f"count={self.count}")
        if imperfect := imperfections(circuit):
            parts.append(imperfect)
        if circuit.reservoir_mode:
            parts.append("reservoir")
        if self.shots is not None:
            parts.append(f"shots={in_digits(self.shots)}, shot_gradient={self.shot_gradient}")
        if self.given and self.frozen.any():
            which = self.frozen.view(-1, self.columns + 1).any(0).nonzero().flatten().tolist()
            parts.append(f"frozen={which}")
        parts.append(f"kernel={kernel_for(self.fock_space, self.phases)}")
        return ", ".join(parts)

    def _ket(self) -> str:
        if isinstance(self.input_state, Superposition):
            return repr(self.input_state)
        return f"|{','.join(map(str, self.input_state))}>"

    def with_noise(
        self,
        noise: Noise | Mapping[str, Any] | str | None,
        *,
        detectors: str | Sequence[str] | None = None,
        min_detected_photons: int | None = None,
    ) -> Self:
        """Return a copy whose light, or detectors, are other ones: what hardware makes of it.

        A readout that was made for certain outcomes keeps these, given that they are seen:
        `success_probability` says how often. Mean photon numbers and correlations are of all.

        Args:
            noise: As for an `Experiment`; None: ideal photons.
            detectors: As for an `Experiment`; None: as they are.
            min_detected_photons: As for an `Experiment`; None: what the readout was made for.

        Returns:
            A layer with the same values; noise is learned where `trainable` says so.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If one is out of range, or the readout was made for other outcomes.
        """
        from hybridlit.photonics.hardware import with_noise  # which makes layers

        least = min_detected_photons
        return with_noise(self, noise, detectors=detectors, min_detected_photons=least)

    def __prepare_scriptable__(self) -> Self:
        """Refuse `torch.jit.script`, which asks every module for this."""
        raise NotImplementedError(
            "photonic layers cannot be compiled by torch.jit.script; use "
            "torch.export.export(layer, (x,)), or torch.jit.trace where TorchScript has to be"
        )

    # --- forward ----------------------------------------------------------------------------------

    def forward(self, x: Tensor | int | None = None, state: Tensor | None = None) -> Tensor:
        """Return the outputs.

        Args:
            x: Features, shape (..., input_size), real floating; of a circuit without data also the
                batch size, or None with a `state`.
            state: What enters instead of `input_state`: amplitudes over `input_space`, shape
                (..., K), complex or real; of an unbunched layer also over the full Fock space. One
                for each row of `x`, or one for all; or many for one row. It is taken as it is: the
                probabilities of a state of norm c sum to c squared, unless they are post-selected.

        Returns:
            Shape (..., output_size); of a stack (..., count, output_size).

        Raises:
            TypeError: If `x` is no floating tensor, or float64 in a float32 layer.
            ValueError: If its width is wrong or, on the CPU, if a feature is not finite or a sample
                has next to no outcome that is kept.
        """
        return self._read(x, self._outputs, state=state, alike=self._shots is None)

    # --- readings of rows: what subclasses say ----------------------------------------------------

    def _outputs(self, rows: Tensor, state: Tensor | None = None) -> Tensor:
        """Outputs (..., batch, output_size)."""
        if self._shots is not None:
            found = self._frequencies(rows, state)
        elif self._has_expectations and state is None:
            return self._expectations(rows)
        else:
            if state is None and self._usual:
                short = self._in_one_node(rows)
                if short is not None:
                    return short
            found = self._probabilities(rows, state)[0]
        return outputs_of(found, self.readout, self._statistic, self.outcomes)

    def _probabilities(
        self, rows: Tensor, state: Tensor | None = None, off: Off | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Probabilities (..., batch, D), and what they summed to (..., batch) if selected."""
        if state is None and not self._superposed:
            photons = self._order or self._occupied()
            if self._program is None:
                ideal = self.outcomes, self.recompute
                return self._at(rows, photons, probabilities, *ideal, off=off)
            how = self._program, self.noise, self.outcomes, photons, self.recompute
            return self._at(rows, (), detected_probabilities, *how, off=off)
        if self._program is not None:
            return self._behind(rows, state, off)
        found, kept = self._amplitudes(rows, state, off)
        return squared(found), kept

    def _behind(
        self, rows: Tensor, state: Tensor | None, off: Off | None
    ) -> tuple[Tensor, Tensor | None]:
        """What detectors show of a state that entered as it is."""
        assert self._program is not None and self.noise is not None
        if not self._program.ideal_source:
            raise ValueError(
                f"state must be left out where a source makes the photons, got one for "
                f"{self.noise.given}: noise of a source needs photons in each mode"
            )
        space = FockSpace(self._program.modes, self.fock_space.photons, self._program.space)
        found, kept = self._amplitudes_of(rows, state, Outcomes(space), off)
        weights = squared(found)
        if kept is not None:  # of unbunched states, which are then normalised
            weights = weights * kept[..., None]
        return behind_photons(weights, self._program, self.noise, self.outcomes)

    def _amplitudes(
        self, rows: Tensor, state: Tensor | None = None, off: Off | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Amplitudes (..., batch, D), and the success probability (..., batch) if selected."""
        if self._program is not None:
            raise NotImplementedError(
                "amplitudes(x) need ideal photons, all of which are counted: light that lost some "
                "is no single state; use probabilities(x), or a layer without noise, detectors and "
                "min_detected_photons"
            )
        return self._amplitudes_of(rows, state, self.outcomes, off)

    def _amplitudes_of(
        self, rows: Tensor, state: Tensor | None, outcomes: Outcomes, off: Off | None
    ) -> tuple[Tensor, Tensor | None]:
        terms = self._terms
        if state is None:
            state = self._amplitudes_in
        else:
            space = self.input_space
            own = state.shape[-1] == space.size
            kind = space.space if own else ComputationSpace.FOCK
            terms = Terms(space.modes, space.photons, kind)
        if self.input_size or self.phases.is_meta:
            return self._at(rows, (), evolved, terms, state, outcomes, off=off)
        off = self._off() if off is None else off
        try:
            return evolved(self._without_data(off), terms, state, outcomes)
        except RareOutcomesError:
            if state.dtype == torch.complex128:
                raise
        unitary = self._without_data(off, torch.float64)
        return in_single(*in_double(evolved, unitary, terms, state, outcomes))

    def _expectations(self, rows: Tensor) -> Tensor:
        """Photon-number expectations (..., batch, outputs), if the strategy is one."""
        columns = self._columns(rows, self._inputs)
        assert self._expectation is not None
        flat = columns.flatten(2)
        if self.noise is None:
            outputs = self._expectation(flat, self.photons)
        else:
            outputs = self._noisy_expectations(flat)
        return outputs.view(*columns.shape[2:], self.output_size)

    def _noisy_expectations(self, columns: Tensor) -> Tensor:
        """The same of a noisy source: they are linear in the indistinguishability."""
        assert self.noise is not None and self._expectation is not None
        outputs = self._expectation(columns, self.photons)
        apart = self._without_interference
        if apart is not None:
            overlap = self.noise.overlap(outputs) if self.interferes else 0.0
            transfer = columns.real.square() + columns.imag.square()
            outputs = overlap * outputs + (1 - overlap) * apart(transfer, self.photons)
        assert self._transmitted is not None
        return outputs * self._transmitted(self.noise.mean_photons(outputs))

    def _columns(self, rows: Tensor, inputs: tuple[int, ...]) -> Tensor:
        """Columns of the circuit's unitary, shape (modes, inputs, ..., batch), complex."""
        return self._at(rows, inputs, circuit_columns)

    def _occupied(self) -> tuple[int, ...]:
        """The input mode of each photon, in the order of computation."""
        if self._order is None:  # expectations serve any number of photons, and seldom ask for it
            self._order = tuple(occupied_modes(self.experiment.occupation))
        return self._order

    def _set_constants(self) -> None:
        super()._set_constants()
        if not hasattr(self, "_inputs"):
            return  # the base class has them before there are photons
        dtype, device = self.encoding.dtype, self.encoding.device
        circuit = self.experiment
        photons = [circuit.mean_photons[mode] for mode in self._inputs]
        superposition = circuit.superposition
        amplitudes = [1.0] if superposition is None else superposition.amplitudes
        with torch.inference_mode(False):
            self.photons = torch.tensor(photons, dtype=dtype, device=device)
            values = torch.tensor(amplitudes, dtype=dtype.to_complex(), device=device)
            self._amplitudes_in = values[None, None]

    # --- state ------------------------------------------------------------------------------------

    def _load_from_state_dict(self, *state: Any) -> None:
        super()._load_from_state_dict(*state)
        if self.encoding.device != self.phases.device:  # assigned to a layer on the meta device
            self._set_constants()
            self.readout.to_empty(device=self.phases.device)
            self._reset_readout()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        empty = self.phases.is_meta
        super()._apply(fn, recurse)
        if empty and not self.phases.is_meta:
            self._reset_readout()  # its tables, which are in no state dict
        return self
