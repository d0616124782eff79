r"""States of several terms through a lowered circuit: amplitudes in, amplitudes out.

A unitary U of modes acts on states of n photons as the matrix W(U) of its amplitudes from every
input to every outcome. There are two ways through a circuit, and the cheaper one is taken:

- term by term, if there are few: the amplitudes of each term's outcomes for each sample's own
  U(x), weighted by the terms' amplitudes. This costs K n D for K terms.
- column by column of data phases: W(U_0), a phase for each occupation, W(U_1), ... Each W(U_l) is
  made once for all samples, at n D^2, and costs D^2 a sample.

Rows of W are made some at a time where all of them would not fit, and again for the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.amplitudes import amplitudes_from_columns, occupied_modes, squared
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.finite import can_look_at, rows_in_words
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.fock_transform import transformed
from hybridlit.photonics.kernels.choice import forward_mode, transforming
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.propagation import circuit_columns, meshes_and_shifts, unusable
from hybridlit.photonics.shapes import shaped
from hybridlit.photonics.state_sizes import MOST_NUMBERS, few_terms, require_state_memory
from hybridlit.photonics.tables import occupations, of_modes, on_device
from hybridlit.photonics.tracing import recording

__all__ = ["Terms", "evolved"]

_LARGE = 2**22
"""Amplitudes beyond which it is worth asking whether memory suffices."""


@dataclass(frozen=True)
class Terms:
    """The occupations that an input state has amplitudes of.

    Attributes:
        modes: Number of modes.
        photons: Number of photons.
        states: The occupations, in order; or the kind of space all of whose states they are.
    """

    modes: int
    photons: int
    states: tuple[tuple[int, ...], ...] | ComputationSpace

    @property
    def size(self) -> int:
        """Their number K."""
        if isinstance(self.states, tuple):
            return len(self.states)
        return FockSpace(self.modes, self.photons, self.states).size

    @property
    def inputs(self) -> tuple[int, ...]:
        """The modes that hold a photon in any of them."""
        return _occupied(self.states, self.modes)


def evolved(
    circuit: Lowered | Tensor, terms: Terms, state: Tensor, outcomes: Outcomes
) -> tuple[Tensor, Tensor | None]:
    """Return the amplitudes of outcomes and the probability that they have together.

    Args:
        circuit: Any, whose input modes do not matter; or the unitary of one without data, shape
            (..., modes, modes), complex.
        terms: The occupations that enter.
        state: Their amplitudes, shape (..., samples, K), complex, with the circuit's leading
            dimensions, or 1 there; as many samples as the circuit's, or one of either.
        outcomes: Those wanted.

    Returns:
        Amplitudes, shape (..., batch, D), linear in `state` where nothing is dropped and of norm 1
        otherwise, and the success probability, shape (..., batch), or None.

    Raises:
        LargePhasesError: As `circuit_columns`.
        RareOutcomesError: On the CPU, if the outcomes kept of some sample are too rare for its
            precision.
        ValueError: On the CPU, if a phase is not finite.
    """
    if isinstance(circuit, Tensor):
        single = circuit.dim() == 2
        circuit = circuit[None] if single else circuit
    elif circuit.data_phases.is_meta:
        return _shapes(circuit, state, outcomes)
    else:
        interferometers, data_phases, inputs = circuit
        single = data_phases.dim() == 3
        if single:
            circuit = Lowered(interferometers[None], data_phases[None], inputs)
    found, kept = outcomes.conditional_amplitudes(
        _evolved(circuit, terms, state, outcomes.space), _norm(state, outcomes)
    )
    if single:
        return found[0], (None if kept is None else kept[0])
    return found, kept


def _shapes(circuit: Lowered, state: Tensor, outcomes: Outcomes) -> tuple[Tensor, Tensor | None]:
    """What `evolved` returns on the meta device."""
    *stack, _, _, batch = circuit.data_phases.shape
    rows = (*stack, max(batch, state.shape[-2]))
    sources = circuit.data_phases, circuit.interferometers
    found = shaped((*rows, outcomes.size), *sources, complex_numbers=True)
    return found, (shaped(rows, *sources) if outcomes.selected else None)


def _norm(state: Tensor, outcomes: Outcomes) -> Tensor | None:
    """Squared norms of states, shape (..., samples), where post-selection must know them."""
    if not outcomes.selected:
        return None
    norm = squared(state).sum(-1)
    if can_look_at(norm) and bool((norm.detach() == 0).any()):
        rows = rows_in_words((norm.detach() == 0).reshape(-1, norm.shape[-1]).any(0))
        raise ValueError(f"state must not be 0 where outcomes are post-selected, got 0 in {rows}")
    return norm


def _evolved(circuit: Lowered | Tensor, terms: Terms, state: Tensor, space: FockSpace) -> Tensor:
    """Amplitudes (circuits, batch, D) of the outcomes of a space, without post-selection."""
    if isinstance(circuit, Tensor):
        if can_look_at(circuit) and not math.isfinite(abs(circuit.detach().sum())):
            raise unusable(circuit)
        samples = len(circuit) * state.shape[-2]
        _require_memory(state, samples, terms, space, 0)
        return _transformed(of_modes(circuit, terms.inputs)[:, None], terms, state, space)
    columns, modes, batch = circuit.data_phases.shape[1:]
    between = FockSpace(modes, space.photons)
    samples = len(circuit.data_phases) * max(batch, state.shape[-2])
    _require_memory(state, samples, terms, space, columns)
    if batch == 1 or few_terms(terms.size, columns, between):
        unitary = circuit_columns(circuit._replace(inputs=terms.inputs))
        return _transformed(unitary.permute(2, 3, 0, 1), terms, state, space)
    meshes, shifts = meshes_and_shifts(circuit)
    like = shifts.real.dtype, shifts.device
    photons = occupations(modes, space.photons, between.space, *like)[0].mT
    for column in range(columns + 1):
        last = column == columns
        unitary = of_modes(meshes[:, column, None], terms.inputs)
        state = _transformed(unitary, terms, state, space if last else between)
        if not last:
            angles = circuit.data_phases[:, column].mT @ photons
            state = state * torch.polar(torch.ones_like(angles), angles)
            terms = Terms(modes, space.photons, between.space)
    return state


def _require_memory(
    state: Tensor, samples: int, terms: Terms, space: FockSpace, columns: int
) -> None:
    if recording() or not state.is_cpu:
        return
    if samples * FockSpace(space.modes, space.photons).size > _LARGE:
        dtype = torch.float64 if state.dtype == torch.complex128 else torch.float32
        require_state_memory(space, samples, dtype, terms=terms.size, columns=columns)


def _transformed(unitary: Tensor, terms: Terms, state: Tensor, space: FockSpace) -> Tensor:
    """Send states through unitaries.

    Args:
        unitary: Their columns at the terms' inputs, shape (circuits, batch, modes, inputs).
        terms: What `state` has amplitudes of.
        state: Shape (circuits or 1, samples, K); samples and batch are equal, or one of them is 1.
        space: The outcomes wanted.

    Returns:
        Shape (circuits, batch or samples, D).
    """
    like = unitary.real.dtype, unitary.device
    (choice,) = _choice(terms.modes, terms.photons, terms.states, *like)
    circuits, batch, modes, _ = unitary.shape
    step = max(1, MOST_NUMBERS // max(1, circuits * batch * (space.size + terms.photons * modes)))
    if step >= terms.size:
        return _part(unitary, choice, state, space)
    compute: Callable[..., Tensor] = _part
    if torch.is_grad_enabled() and not (recording() or transforming() or forward_mode()):

        def again(*arguments: Any) -> Tensor:
            found: Tensor = checkpoint(
                _part, *arguments, use_reentrant=False, preserve_rng_state=False
            )
            return found

        compute = again
    parts = [slice(first, first + step) for first in range(0, terms.size, step)]
    total = compute(unitary, choice[..., parts[0]], state[..., parts[0]], space)
    for part in parts[1:]:
        total = total + compute(unitary, choice[..., part], state[..., part], space)
    return total


def _part(unitary: Tensor, choice: Tensor, state: Tensor, space: FockSpace) -> Tensor:
    """`_transformed` for some of the terms."""
    circuits, batch, modes, _ = unitary.shape
    photons, terms = choice.shape[1:]
    occupied = _entries(photons, modes)
    if circuits == batch == len(state) == 1:
        return transformed(unitary[0, 0], choice, state[0], occupied, space)[None]
    # (circuits, batch, modes, photons, K) -> (modes, photons, K, circuits, batch)
    columns = (unitary @ choice.flatten(1).to(unitary.dtype)).unflatten(-1, (photons, terms))
    columns = columns.permute(2, 3, 4, 0, 1).flatten(2)
    found = amplitudes_from_columns(columns, occupied, space.space)
    if batch == 1:
        return state @ found.view(terms, circuits, space.size).transpose(0, 1)
    matrices = found.view(terms, circuits, batch, space.size)
    return (state.movedim(-1, 0)[..., None] * matrices).sum(0)


@constant_in_graphs
def _choice(
    modes: int,
    photons: int,
    states: tuple[tuple[int, ...], ...] | ComputationSpace,
    real: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, ...]:
    """From the terms' inputs to the column of each photon of each term, (inputs, photons, K).

    Where a photon enters stands what its column is multiplied by, else 0: a product with this is
    faster than a choice of columns, whose gradient is a scatter. The recursion divides by the root
    of the photons so far in the photon's mode, here of those of `_entries`; that is made up for.
    """
    dtype = np.float64 if real == torch.float64 else np.float32

    def make() -> Iterator[npt.NDArray[Any]]:
        terms = states if isinstance(states, tuple) else FockSpace(modes, photons, states)
        order = np.array([occupied_modes(state) for state in terms])
        entries = np.array(_entries(photons, modes))
        factors = np.sqrt(_so_far(entries[None]) / _so_far(order)).astype(dtype)
        here = np.array(_occupied(states, modes))[:, None, None] == order.T
        yield np.where(here, factors.T, dtype(0))

    return on_device(("choice", modes, photons, states, dtype), make, device)


def _occupied(
    states: tuple[tuple[int, ...], ...] | ComputationSpace, modes: int
) -> tuple[int, ...]:
    if not isinstance(states, tuple):
        return tuple(range(modes))
    return tuple(mode for mode in range(modes) if any(state[mode] for state in states))


def _entries(photons: int, modes: int) -> list[int]:
    """Modes that stand for those of all terms in one recursion."""
    return [photon % modes for photon in range(photons)]


def _so_far(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many photons have entered the mode of each photon, shape (K, photons), it included."""
    found: npt.NDArray[np.int64] = np.tril(order[:, :, None] == order[:, None, :]).sum(2)
    return found
