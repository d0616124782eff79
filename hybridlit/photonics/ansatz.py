"""An experiment tied to numbers of features and outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hybridlit.checks import enum_member, integer, precision
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.reach import refuse_unreached
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.readouts.selected import same_behind_all
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.photonics.superposition import Superposition

__all__ = ["Ansatz", "AnsatzFactory", "needs_outcomes", "output_size_for", "strategy_for"]


@dataclass(frozen=True)
class Ansatz:
    """An experiment tied to numbers of features and outputs; made by `AnsatzFactory`.

    Args:
        experiment: The circuit.
        input_size: Number of features; 0 for a circuit without data.
        output_size: Number of outputs; None where the strategy has only one: NONE, which gives all
            probabilities, MODE_EXPECTATIONS and PAIR_CORRELATIONS.
        output_mapping_strategy: How probabilities become outputs.
        dtype: `torch.float32` or `torch.float64`, in which layers made of it compute; None: torch's
            default, if it is one of them.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a size is out of range or does not fit the strategy, or if no feature would
            reach the output: mode expectations of as many photons in each input mode, and pair
            correlations of one photon, are constant.

    Example:
        >>> from hybridlit.photonics import QuantumLayer
        >>> experiment = Experiment("series", n_modes=4, n_photons=2)
        >>> ansatz = Ansatz(experiment, input_size=3, output_size=2)
        >>> QuantumLayer(3, ansatz=ansatz)(torch.rand(5, 3)).shape
        torch.Size([5, 2])
    """

    experiment: Experiment
    input_size: int
    output_size: int | None = None
    output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.experiment, Experiment):
            raise TypeError(
                f"experiment must be an Experiment, got {type(self.experiment).__name__}"
            )
        name = "output_mapping_strategy"
        strategy = enum_member(OutputMappingStrategy, self.output_mapping_strategy, name)
        object.__setattr__(self, name, strategy)
        if self.dtype is not None:
            precision(self.dtype, "dtype")
        object.__setattr__(self, "input_size", integer(self.input_size, "input_size", 0))
        lowering = self.experiment.lowering(self.input_size)  # may be for another number
        if self.experiment.use_bandwidth_tuning and not lowering.bandwidths:
            raise ValueError(
                "use_bandwidth_tuning must be False for a circuit without data, got True: there is "
                "nothing to tune"
            )
        outcomes = self.experiment.outcomes
        state = self.experiment.superposition or self.experiment.occupation
        size = output_size_for(strategy, outcomes, state, self.output_size)
        object.__setattr__(self, "output_size", size)
        rule, source = self.experiment.postselect, self.experiment.source
        looked_at = rule is not None or (source is not None and source.program.light.size <= 2**14)
        if looked_at and same_behind_all(outcomes, state, strategy.readout, size, source):
            under = "" if source is None else f" under noise={source.noise.plain()}"
            raise ValueError(
                f"{outcomes.kept_by}{under} leaves outcomes of which {strategy.value!r} gives the "
                f"same outputs behind every interferometer, with {size} outputs and the input "
                f"{state}, so that no feature reaches the output; change one of them"
            )
        if isinstance(self.experiment.circuit, Circuit) and self.input_size:
            states = state.states if isinstance(state, Superposition) else (state,)
            refuse_unreached(
                self.experiment.circuit,
                self.input_size,
                tuple(states),
                outcomes,
                strategy.readout,
                source,
            )

    @property
    def strategy(self) -> OutputMappingStrategy:
        """How probabilities become outputs, as a member."""
        return OutputMappingStrategy(self.output_mapping_strategy)

    @property
    def readout(self) -> Readout:
        """All that depends on the strategy."""
        return self.strategy.readout

    @property
    def needs_amplitudes(self) -> bool:
        """Whether outcomes are simulated one by one; expectations of all of them need none."""
        return needs_outcomes(self.experiment, self.readout)


def needs_outcomes(circuit: Experiment, readout: Readout) -> bool:
    """Return whether outcomes are simulated one by one, or else expectations of all of them."""
    if readout.expectation is None or circuit.superposition is not None:
        return True
    noise = circuit.noise if isinstance(circuit.noise, Noise) else Noise()
    if noise.g2 and not readout.of_means:
        return True
    return not circuit.outcomes.resolves


def output_size_for(
    strategy: OutputMappingStrategy,
    outcomes: Outcomes,
    state: tuple[int, ...] | Superposition | None,
    given: int | None,
) -> int:
    """Return the number of outputs of a readout.

    Args:
        strategy: How probabilities become outputs.
        outcomes: Of which.
        state: What enters the circuit; None: anything.
        given: The number of outputs, or None for the only one.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it does not fit, or if no feature would reach the outputs.
    """
    readout, mapping = strategy.readout, f"output_mapping_strategy={strategy.value!r}"
    only_size = None if readout.only_size is None else readout.only_size(outcomes)
    if given is None and only_size is None:
        raise ValueError(
            f"output_size must be given with {mapping}; 'none' gives all {outcomes.size} "
            "probabilities without it"
        )
    size = integer(only_size if given is None else given, "output_size", 1)
    refusal = readout.refusal(outcomes, state, size)
    if refusal:
        raise ValueError(f"{mapping} {refusal}")
    if only_size not in (None, size):
        raise ValueError(f"output_size must be {only_size} or None with {mapping}, got {size}")
    return size


def strategy_for(
    given: OutputMappingStrategy | str | None, output_size: int | None
) -> OutputMappingStrategy:
    """Return a given strategy, or the usual one: linear, or without a size all probabilities."""
    if given is None:
        return OutputMappingStrategy.NONE if output_size is None else OutputMappingStrategy.LINEAR
    return enum_member(OutputMappingStrategy, given, "output_mapping_strategy")


class AnsatzFactory:
    """Makes an `Ansatz`, with the call that MerLin's users know.

    Example:
        >>> experiment = Experiment("parallel", n_modes=4, n_photons=2)
        >>> AnsatzFactory.create(experiment, input_size=3, output_size=2).strategy
        <OutputMappingStrategy.LINEAR: 'linear'>
    """

    @staticmethod
    def create(
        experiment: Experiment,
        input_size: int,
        output_size: int | None = None,
        output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR,
        dtype: torch.dtype | None = None,
    ) -> Ansatz:
        """Tie an experiment to numbers of features and outputs.

        Args:
            experiment: As for `Ansatz`, and so are the others.
            input_size: Number of features.
            output_size: Number of outputs.
            output_mapping_strategy: How probabilities become outputs.
            dtype: In which layers made of it compute.

        Returns:
            The ansatz for `QuantumLayer`.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: As `Ansatz`.
        """
        return Ansatz(experiment, input_size, output_size, output_mapping_strategy, dtype)
