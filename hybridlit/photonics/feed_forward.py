r"""Circuits that depend on what was measured before, mixed exactly.

Behind each outcome s of the measured modes the others go through a circuit of their own, and are
counted: the outcome t = (s, r) of all modes has probability
:math:`|\langle r| W(U_s) |\psi_s\rangle|^2` with the state :math:`|\psi_s\rangle` of norm
:math:`\sqrt{p_s}`. Nothing is divided by p, so that impossible branches cost no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.photonics.adaptive import AdaptiveCircuit
from hybridlit.photonics.amplitudes import squared
from hybridlit.photonics.ansatz import output_size_for, strategy_for
from hybridlit.photonics.evolution import Terms, evolved
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.measurement import Outcome
from hybridlit.photonics.outcomes import Outcomes, RareOutcomesError
from hybridlit.photonics.parameters import in_single
from hybridlit.photonics.postselection import rule_text
from hybridlit.photonics.readouts.row import outputs_of
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.words import in_bytes, in_digits

__all__ = ["FeedForward"]

_LARGE = 2**22
"""Amplitudes beyond which it is worth asking whether memory suffices."""
_COPIES = 12
"""Complex numbers for each amplitude: before, in its branch, behind, and their gradients."""


class FeedForward(AdaptiveCircuit):
    """A circuit, a measurement of some of its modes, and circuits that depend on its outcome.

    The exact mixture over all outcomes, differentiable in the parameters of all circuits and in
    the features. Memory is that of a dozen times the amplitudes of a batch. As of a layer, float64
    takes over where what `postselect` keeps is too rare for float32.

    Args:
        layer: The first circuit, of all outcomes. Its readout plays no part, so that it may have no
            weights: `output_mapping_strategy="none"`.
        modes: The modes that are measured behind it, at least one and not all.
        then: From the photons found in each of `modes`, a tuple, to what the other modes go
            through, in their order: a `Circuit` of as many modes; a `QuantumLayer`, of which only
            the circuit is used, whatever its photons; another `FeedForward`; or None for nothing.
            Beside one of the first two it may return the features that it gets behind this outcome,
            a sequence of numbers; otherwise it gets those of the samples, unless it takes none.
            What is returned for several outcomes is shared by them. The function is called once for
            each outcome, and not where no photon is left.
        output_size: Number of outputs; None where the strategy has only one.
        output_mapping_strategy: How the probabilities of all modes' outcomes become outputs, as for
            a layer.
        postselect: Which of these outcomes to keep, as for an `Experiment`; None: all of them.

    Attributes:
        input_size: Number of features.
        output_size: Number of outputs.
        outcomes: The outcomes, photons in each mode of `layer`.
        circuits: What `then` has returned, each once.

    Raises:
        TypeError: If an argument, or what `then` returns, has the wrong type.
        ValueError: If modes, features or precisions do not fit.

    Example:
        >>> from hybridlit import BeamSplitter, Circuit, Data
        >>> first = QuantumLayer(2, n_modes=3, n_photons=2, output_mapping_strategy="none")
        >>> mixer = Circuit(2).add(BeamSplitter(Data(0)), [0, 1])
        >>> adaptive = FeedForward(first, [0], lambda found: (mixer, [found[0] / 2]), 4)
        >>> adaptive(torch.rand(5, 2)).shape
        torch.Size([5, 4])
    """

    @checked
    def __init__(
        self,
        layer: QuantumLayer,
        modes: Sequence[int],
        then: Callable[[Outcome], Any],
        output_size: int | None = None,
        *,
        output_mapping_strategy: OutputMappingStrategy | str | None = None,
        postselect: str | None = None,
    ) -> None:
        super().__init__(layer, modes, then)
        space = layer.fock_space
        strategy = strategy_for(output_mapping_strategy, output_size)
        rule = None
        if postselect is not None:
            rule = rule_text(postselect, space.modes, space.photons)[1]
        self.outcomes = Outcomes(space, rule)
        self.output_size = output_size_for(strategy, self.outcomes, None, output_size)
        self._statistic = strategy.readout.statistic
        place, dtype = layer.phases.device, layer.phases.dtype
        make = strategy.readout.module
        self.readout = make(self.outcomes, self.output_size, None, place, dtype)

    def forward(self, x: Tensor | int | None = None, state: Tensor | None = None) -> Tensor:
        """Return the outputs.

        Args:
            x: Features, shape (..., input_size), real floating; without features the batch size.
            state: What enters instead of the `input_state` of `layer`, as for a layer.

        Returns:
            Shape (..., output_size).

        Raises:
            MemoryError: On the CPU, if the branches cannot fit into memory.
            TypeError: As a layer.
            ValueError: As a layer.
        """
        return self._read(x, state, self._outputs)

    def probabilities(self, x: Tensor | int | None = None, state: Tensor | None = None) -> Tensor:
        """Return the probabilities of all outcomes, in the order of `outcomes`.

        Args:
            x: As for `forward`.
            state: As for `forward`.

        Returns:
            Shape (..., D).
        """
        return self._read(x, state, lambda *rows: self._probabilities(*rows)[0])

    def success_probability(
        self, x: Tensor | int | None = None, state: Tensor | None = None
    ) -> Tensor:
        """Return the probability that `postselect` keeps an outcome.

        Args:
            x: As for `forward`.
            state: As for `forward`.

        Returns:
            Shape (...); 1 where nothing is dropped.
        """

        def kept(*rows: Tensor) -> Tensor:
            found, mass = self._probabilities(*rows)
            return torch.ones_like(found[..., 0]) if mass is None else mass

        return self._read(x, state, kept)

    def extra_repr(self) -> str:
        """Return the modes and sizes for `repr`."""
        return (
            f"input_size={self.input_size}, output_size={self.output_size}, "
            f"modes={list(self.modes)}, outcomes={in_digits(self.outcomes.size)}"
        )

    def _read(
        self, x: Tensor | int | None, state: Tensor | None, read: Callable[..., Tensor]
    ) -> Tensor:
        if state is not None and self._reader is not None:
            raise ValueError(
                "state must be None where only later circuits take features, got a tensor; give "
                "the first layer features"
            )
        reader = self._at_place(self._reader)
        if isinstance(reader, FeedForward):
            return reader._read(x, None, read)
        found: Tensor = reader._read(x, read, state=state)
        return found

    def _outputs(self, rows: Tensor, state: Tensor | None = None) -> Tensor:
        found = self._probabilities(rows, state)[0]
        return outputs_of(found, self.readout, self._statistic, self.outcomes)

    def _probabilities(
        self, rows: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        space = self.layer.fock_space
        own = rows if self.layer.input_size else rows.new_empty(1, 0)
        _require_memory(max(len(rows), 1 if state is None else state.shape[-2]), space, rows)
        amplitudes = self.layer._amplitudes(own, state)[0]
        try:
            return self._behind_first(amplitudes, rows, state)
        except RareOutcomesError:
            if amplitudes.dtype == torch.complex128:
                raise
        # As of a layer, float64 takes over: all of its circuits follow the precision of states.
        return in_single(*self._behind_first(self._in_double(own, state), rows, state))

    def _behind_first(
        self, amplitudes: Tensor, rows: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The same from the amplitudes behind the first circuit."""
        if len(amplitudes) == 1:
            amplitudes = amplitudes.expand(len(rows), -1)
        weights = self._mixed(amplitudes, rows, self.layer.fock_space.photons)
        if state is not None and self.outcomes.selected:
            weights = weights / squared(state).sum(-1).flatten()[:, None]
        return self.outcomes.conditional(weights)

    def _in_double(self, rows: Tensor, state: Tensor | None) -> Tensor:
        """Amplitudes (batch, D) behind the first circuit, complex128."""
        layer, space = self.layer, self.layer.fock_space
        terms = layer._terms
        if state is None:
            state = layer._amplitudes_in
        else:
            terms = Terms(space.modes, space.photons, ComputationSpace.FOCK)
        found: Tensor = layer._in_double(rows, (), evolved, terms, state, layer.outcomes)[0]
        return found


def _require_memory(batch: int, space: FockSpace, like: Tensor) -> None:
    """Refuse a batch whose branches cannot fit into the memory of this machine."""
    if not like.is_cpu or batch * space.size < _LARGE:
        return
    needed = _COPIES * 2 * like.element_size() * batch * space.size
    free = available_memory()
    if needed > free:
        fits = free * batch // needed
        advice = f"a batch of {fits}" if fits else "fewer modes or photons"
        raise MemoryError(
            f"the branches of {space.modes} modes and {space.photons} photons hold "
            f"{in_digits(space.size)} amplitudes: a batch of {batch} needs about "
            f"{in_bytes(needed)} of the {in_bytes(free)} free; what would fit: {advice}"
        )
