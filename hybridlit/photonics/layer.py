"""The photonic layer as an ordinary `nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from hybridlit.checks import integer
from hybridlit.photonics.ansatz import Ansatz, AnsatzFactory, strategy_for
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import ComputationSpace
from hybridlit.photonics.noise.shots import ShotGradientName
from hybridlit.photonics.readouts.table import OutputMappingStrategy

__all__ = ["QuantumLayer", "resolved_ansatz", "take_over"]


class QuantumLayer(PhotonicCircuit):
    r"""Features -> phases of an interferometer -> photon statistics -> outputs.

    Simulates the circuit :math:`U_L \Phi_L(x) \dots \Phi_1(x) U_0` on a Fock state exactly.
    Features are expected in [0, 1], where they give phases of 0 to pi for a factor of 1; others are
    legal, since phases are periodic, and never clamped.

    The layer is a precision island: it computes in float32, or in float64 after `.double()`,
    whatever the precision around it, and its parameters are real. Outside autocast the outputs have
    the dtype of `x`.

    NaN or infinite features raise on the CPU, and so do samples whose kept outcomes are too rare to
    be told from rounding errors, even in float64, which takes over where float32 fails. On other
    devices such checks would cost a synchronisation each step, so there they become NaN outputs of
    their samples.

    Args:
        input_size: Number of features; 0 for a circuit without data, which then takes a batch size
            as well: `layer(32)`.
        output_size: Number of outputs; see `Ansatz`.
        ansatz: What `AnsatzFactory.create` made; its sizes, mapping and precision hold.
        experiment: The circuit, instead of an ansatz.
        output_mapping_strategy: How photon statistics become outputs; None: `"linear"`, or
            `"none"`, all probabilities, without an `output_size`.
        recompute: Simulate again for the gradient instead of keeping intermediate states: less
            memory, up to a third more time. None keeps them up to 5 MiB, while that is faster.
        shots: How often each sample is measured: outputs are then those of the frequencies of the
            outcomes that are kept, drawn from torch's generator in training and evaluation. None:
            of exact probabilities.
        shot_gradient: Of frequencies: `"exact"` is that of the probabilities, straight through; the
            others are unbiased estimates of it: `"score"` by score functions of as many shots
            again; `"shift"` by the shift rule, as many shots at each of twice as many values of
            each phase as there are photons, which is slow, and what a device can do.
        device: Where parameters and buffers are; None: torch's default.
        dtype: `torch.float32` or `torch.float64`; None: that of the ansatz, or torch's default if
            it is one of them.
        **circuit: Without ansatz and experiment, the fields of an `Experiment`; its circuit type is
            then `"series"` unless given.

    Attributes:
        phases: (a, b) of each cell of each interferometer in radians, shape
            (columns + 1, cells, 2); a buffer in reservoir mode.
        bandwidth: Factor of each encoded phase, initially 1, shape (encoded phases,); None without
            bandwidth tuning.
        readout: Module from probabilities to outputs.
        input_state: Photons in each input mode, or a `Superposition`.
        input_space: The basis of a `state` that enters: as many photons, in the computation space.
        fock_space: What is simulated, a sequence of occupation tuples.
        outcomes: Those that have a probability, in the same order: what `postselect` keeps of them.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range or contradicts the ansatz.

    Example:
        >>> import torch
        >>> layer = QuantumLayer(3, 4, n_modes=4, n_photons=2)
        >>> layer(torch.rand(8, 3)).shape
        torch.Size([8, 4])
    """

    def __init__(
        self,
        input_size: int,
        output_size: int | None = None,
        *,
        ansatz: Ansatz | None = None,
        experiment: Experiment | None = None,
        output_mapping_strategy: OutputMappingStrategy | str | None = None,
        recompute: bool | None = None,
        shots: int | None = None,
        shot_gradient: ShotGradientName = "exact",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **circuit: Any,
    ) -> None:
        chosen = resolved_ansatz(
            input_size, output_size, ansatz, experiment, output_mapping_strategy, circuit
        )
        super().__init__(chosen, None, recompute, shots, shot_gradient, device, dtype)

    @classmethod
    def simple(
        cls,
        input_size: int,
        output_size: int | None = None,
        *,
        output_mapping_strategy: OutputMappingStrategy | str | None = None,
        recompute: bool | None = None,
        shots: int | None = None,
        shot_gradient: ShotGradientName = "exact",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **circuit: Any,
    ) -> Self:
        """Make a layer of a usual shape from its sizes alone, as MerLin's users know it.

        It has a mode more than features, up to 20 modes, and photons in every second one. Features
        enter in one column, one a mode, or in several where there are more than 19. Outcomes are
        post-selected to at most one photon a mode.

        Args:
            input_size: Number of features.
            output_size: Number of outputs; None: the probabilities of all outcomes.
            output_mapping_strategy: How probabilities become outputs; None: `"modgrouping"`, or
                `"none"` if there are as many outputs as outcomes.
            recompute: As for the layer, and so are the others.
            shots: How often each sample is measured.
            shot_gradient: Of frequencies.
            device: Where parameters and buffers are.
            dtype: In which it computes.
            **circuit: Fields of an `Experiment` that differ from these.

        Returns:
            The layer.

        Raises:
            TypeError: As the layer.
            ValueError: As the layer.

        Example:
            >>> QuantumLayer.simple(4, 3).fock_space
            FockSpace(modes=5, photons=3, space=<ComputationSpace.UNBUNCHED: 'unbunched'>)
        """
        usual = min(integer(input_size, "input_size", 1) + 1, 20)
        modes = integer(circuit.setdefault("n_modes", usual), "n_modes", 2)
        if circuit.get("input_state") is None and circuit.get("n_photons") is None:
            circuit["n_photons"] = (modes + 1) // 2
        circuit.setdefault("computation_space", ComputationSpace.UNBUNCHED)
        experiment = _experiment(circuit)
        if output_mapping_strategy is None:
            everything = output_size in (None, experiment.outcomes.size)
            output_mapping_strategy = "none" if everything else "modgrouping"
        return cls(
            input_size,
            output_size,
            experiment=experiment,
            output_mapping_strategy=output_mapping_strategy,
            recompute=recompute,
            shots=shots,
            shot_gradient=shot_gradient,
            device=device,
            dtype=dtype,
        )

    def probabilities(self, x: Tensor | int | None = None, state: Tensor | None = None) -> Tensor:
        """Return the probabilities of all outcomes, in the order of `outcomes`.

        Args:
            x: Features, shape (..., input_size), real floating.
            state: What enters instead of `input_state`, as for `forward`.

        Returns:
            Shape (..., D); each row sums to 1, or to the squared norm of its `state`.
        """
        return self._read(x, lambda *rows: self._probabilities(*rows)[0], state=state)

    def amplitudes(self, x: Tensor | int | None = None, state: Tensor | None = None) -> Tensor:
        """Return the amplitudes of all outcomes, in the order of `outcomes`.

        They are those of the circuit as it is, and go into another one of as many modes as its
        `state`.

        Args:
            x: Features, shape (..., input_size), real floating.
            state: What enters instead of `input_state`, as for `forward`.

        Returns:
            Shape (..., D), complex64 or complex128 as the layer computes; of norm 1, or that of
            `state`. After post-selection those given that an outcome is kept, of norm 1.
        """
        return self._read(x, lambda *rows: self._amplitudes(*rows)[0], state=state)

    def sample(
        self,
        x: Tensor | int | None,
        shots: int,
        generator: torch.Generator | None = None,
        state: Tensor | None = None,
    ) -> Tensor:
        """Draw how often each outcome is found, of those that are kept, in the order of `outcomes`.

        Args:
            x: Features, shape (..., input_size), real floating; of a circuit without data the batch
                size or None.
            shots: How often each sample is measured with an outcome that is kept, at least 1.
            generator: Of random numbers, on the device of the layer; None: torch's own.
            state: What enters instead of `input_state`, as for `forward`.

        Returns:
            Counts, shape (..., D), int64; each row sums to `shots`.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: As `forward`, and if `shots` is below 1.

        Example:
            >>> layer = QuantumLayer(2, 3, n_modes=3, n_photons=2)
            >>> layer.sample(torch.rand(5, 2), 100).sum(-1)
            tensor([100, 100, 100, 100, 100])
        """
        integer(shots, "shots", 1)
        if not isinstance(generator, torch.Generator | None):
            raise TypeError(
                f"generator must be a torch.Generator or None, got {type(generator).__name__}"
            )

        def drawn(rows: Tensor, state: Tensor | None = None) -> Tensor:
            return self._drawn(rows, state, shots, generator)

        return self._read(x, drawn, state=state, alike=False)

    def success_probability(
        self, x: Tensor | int | None = None, state: Tensor | None = None
    ) -> Tensor:
        """Return the probability that an outcome is one of `outcomes` at all.

        Args:
            x: Features, shape (..., input_size), real floating.
            state: What enters instead of `input_state`, as for `forward`.

        Returns:
            Shape (...): the share of what post-selection keeps, if unbunched the outcomes with at
            most one photon a mode, and of these what `postselect` says; 1 if it drops nothing.
        """

        def kept(rows: Tensor, state: Tensor | None = None) -> Tensor:
            found, mass = self._probabilities(rows, state)
            return torch.ones_like(found[..., 0]) if mass is None else mass

        return self._read(x, kept, state=state)

    def unitary(self, x: Tensor | int) -> Tensor:
        """Return the unitary `[out, in]` of the whole circuit.

        Args:
            x: Features, shape (..., input_size), real floating.

        Returns:
            Shape (..., modes, modes), complex64 or complex128 as the layer computes.
        """
        modes = tuple(range(self.experiment.n_modes))
        return self._read(x, lambda rows: self._columns(rows, modes).movedim(-1, 0))


def resolved_ansatz(
    input_size: int,
    output_size: int | None,
    ansatz: Ansatz | None,
    experiment: Experiment | None,
    output_mapping_strategy: OutputMappingStrategy | str | None,
    circuit: Mapping[str, Any],
) -> Ansatz:
    """Return the ansatz that the arguments of `QuantumLayer` mean, whether whole or in parts."""
    features = integer(input_size, "input_size", 0)
    name = "output_mapping_strategy"
    strategy = strategy_for(output_mapping_strategy, output_size)
    if ansatz is None and experiment is None and circuit:
        experiment = _experiment(circuit)
    elif (ansatz is None) == (experiment is None):
        given = "neither" if ansatz is None else "both"
        raise ValueError(
            f"give exactly one of ansatz and experiment, got {given}; or the fields of an "
            "experiment, such as n_modes=5, n_photons=2"
        )
    elif circuit:
        _refuse_unknown(circuit)
        raise ValueError(
            f"{', '.join(circuit)} must be said in the "
            f"{'experiment' if ansatz is None else 'ansatz'}, which describes the whole circuit"
        )
    if experiment is not None:
        return AnsatzFactory.create(experiment, features, output_size, strategy)
    if not isinstance(ansatz, Ansatz):
        raise TypeError(
            f"ansatz must be what AnsatzFactory.create returns, got {type(ansatz).__name__}"
        )
    wanted: dict[str, object] = {"input_size": features}
    if output_size is not None:
        wanted["output_size"] = output_size
    if output_mapping_strategy is not None and strategy is not OutputMappingStrategy.LINEAR:
        wanted[name] = strategy
    for argument, value in wanted.items():
        made = getattr(ansatz, argument)
        if value != made:
            raise ValueError(f"{argument} must be {made!r} as in the ansatz, got {value!r}")
    return ansatz


def _experiment(circuit: Mapping[str, Any]) -> Experiment:
    _refuse_unknown(circuit)
    given = any(circuit.get(name) is not None for name in ("encoding", "circuit"))
    default = {} if given else {"circuit_type": "series"}
    return Experiment(**{**default, **circuit})


def _refuse_unknown(circuit: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Experiment)]
    others = [
        name for name in signature(QuantumLayer).parameters if name not in ("circuit", *circuit)
    ]
    for name in circuit:
        if name not in known:
            near = get_close_matches(name, [*known, *others], 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"unexpected argument {name!r}{meant}; beside those of the layer it may be a field "
                f"of Experiment: {', '.join(known)}"
            )


def take_over(made: PhotonicCircuit, source: PhotonicCircuit, state: Mapping[str, Any]) -> None:
    """Give a new circuit the state of another one, its device, its precision and its mode."""
    if made.noise is not None and source.noise is not None:
        made.noise.learn_like(source.noise)  # what may have begun after it was made
    made.to(source.phases)
    made.load_state_dict(state)
    trained = {name: value.requires_grad for name, value in source.named_parameters()}
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(trained[name])
    made.shots, made.shot_gradient = source.shots, source.shot_gradient
    made.train(source.training)
