r"""Whether every feature of a circuit of components can change what is counted at its output.

A feature that turns phases of a circuit U changes it at the rate :math:`dU = i U K`, where K is
Hermitian and follows from the light before each of these phases. No photon count feels it if K does
to the input state what phases on single modes do, before or behind the circuit: a linear system of
as many unknowns as modes. It is looked at for random angles and features, in polynomial time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.photonics.amplitudes import amplitudes_from_columns, occupied_modes, squared
from hybridlit.photonics.circuit.angles import Data
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import MatrixStep
from hybridlit.photonics.noise.simulation import shown_of_columns

if TYPE_CHECKING:
    from hybridlit.photonics.noise.simulation import Source
    from hybridlit.photonics.outcomes import Outcomes
    from hybridlit.photonics.readouts.row import Readout

__all__ = ["refuse_unreached"]

_NEXT_TO = 1e-10
"""What is rounding, of a change whose size is 1."""

_SMALL = 2**14
"""Outcomes up to which the probabilities of those that a selection keeps are looked at as well."""


def refuse_unreached(
    circuit: Circuit,
    features: int,
    states: tuple[tuple[int, ...], ...],
    outcomes: Outcomes,
    readout: Readout,
    source: Source | None = None,
) -> None:
    """Refuse a circuit in which some feature cannot reach the output.

    Args:
        circuit: The components.
        features: Number of features.
        states: The occupations that the input state consists of.
        outcomes: What is kept.
        readout: What is made of it.
        source: What makes the light; None: all photons arrive alike and are counted.

    Raises:
        ValueError: With the numbers of the features.
    """
    occupied = np.flatnonzero(np.any(states, axis=0))
    unitary, changes, sizes = _changes(circuit, features, occupied)
    _refuse(sizes == 0, "turn no angle: leave them out, or give each a Data angle")
    by_modes = unitary.conj()[:, :, None] * unitary[:, None, occupied]  # of a phase on each output
    terms = np.array(states)[:, occupied]
    known, wanted = (_felt(each, occupied, terms).T for each in (by_modes, changes))
    left = wanted - known @ np.linalg.lstsq(known, wanted, rcond=None)[0]
    _refuse(
        np.abs(left).max(axis=0, initial=0.0) <= _NEXT_TO * sizes,
        "turn only phases that no photon count feels: of all modes alike, before or behind all "
        "that mixes modes, between mixers that close no loop, or where the light of "
        f"{' + '.join(map(str, states))} does not come; "
        "put other components around them, or change input_state",
    )
    if len(states) > 1:
        return
    read, words = _reading(states[0], outcomes, readout, source)
    if read is None:
        return
    columns = torch.from_numpy(unitary[:, occupied])[..., None].repeat(1, 1, features)
    slopes = torch.from_numpy(np.moveaxis(1j * unitary @ changes, 0, -1))
    found = torch.func.jvp(read, (columns,), (slopes,))[1].abs().amax(1).numpy()
    _refuse(
        found <= _NEXT_TO * sizes,
        f"change no {words}: change output_mapping_strategy, input_state or the space of outcomes",
    )


def _reading(
    state: tuple[int, ...], outcomes: Outcomes, readout: Readout, source: Source | None
) -> tuple[Callable[[Tensor], Tensor] | None, str]:
    """Return what may lose more, from columns (modes, occupied modes, samples), and in words."""
    if source is not None:
        if source.program.light.size > _SMALL:
            return None, ""
        return lambda columns: shown_of_columns(columns, source, outcomes), "outcome that is shown"
    if outcomes.selected:
        if outcomes.space.size > _SMALL:
            return None, ""
        order = occupied_modes(state)
        places = np.searchsorted(np.unique(order), order).tolist()

        def kept(columns: Tensor) -> Tensor:
            kind = outcomes.space.space
            found = outcomes.chosen(
                squared(amplitudes_from_columns(columns[:, places], order, kind))
            )
            total: Tensor = found.sum(1, keepdim=True)
            return found / total.clamp_min(torch.finfo(total.dtype).tiny)

        return kept, "probability of those outcomes that are kept"
    expectation = readout.expectation
    if expectation is None:
        return None, ""
    photons = torch.tensor([float(number) for number in state if number], dtype=torch.float64)
    return lambda columns: expectation(columns, photons), readout.words


def _changes(
    circuit: Circuit, features: int, occupied: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a unitary, each feature's K at the occupied modes, and the sizes of what it turns."""
    draw = np.random.default_rng(0)
    x, parameters = draw.normal(size=features), dict[object, float]()
    unitary = np.eye(circuit.n_modes, dtype=np.complex128)
    changes = np.zeros((features, circuit.n_modes, len(occupied)), dtype=np.complex128)
    sizes = np.zeros(features)
    for step in circuit.steps():
        if isinstance(step, MatrixStep):
            modes = list(step.modes)
            unitary[modes] = step.matrix @ unitary[modes]
            continue
        row = unitary[step.mode]
        if isinstance(step.angle, Data):
            numbers = [feature for feature, _ in step.angle.weights]
            weights = step.factor * np.array([weight for _, weight in step.angle.weights])
            effect = np.outer(row.conj(), row[occupied])
            np.add.at(changes, numbers, weights[:, None, None] * effect)
            np.add.at(sizes, numbers, np.abs(weights))
            angle = float(weights @ x[numbers])
        else:
            given, key = step.angle, step.angle.name or step.key
            if key not in parameters:
                parameters[key] = (_drawn(step.drawn, draw) - given.offset) / given.scale
            angle = step.factor * given.scale * parameters[key]
        unitary[step.mode] = row * np.exp(1j * angle)
    return unitary, changes, sizes


def _drawn(how: float | str, draw: np.random.Generator) -> float:
    """Draw an angle as layers do: in large meshes uniform angles keep light where it enters."""
    uniform = draw.uniform()
    if how == "phase":
        return 2 * math.pi * uniform
    return 2 * math.acos(uniform ** (0.5 / (1.0 if isinstance(how, str) else how)))


def _felt(
    changes: npt.NDArray[Any], occupied: npt.NDArray[np.int64], terms: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return what of each K an input state feels: all but a phase that its terms have in common."""
    places = np.arange(len(occupied))
    diagonal = changes[:, occupied, places].real
    mixing = changes.copy()
    mixing[:, occupied, places] = 0
    mixing = mixing.reshape(len(changes), -1)
    between = diagonal @ (terms[1:] - terms[0]).T
    return np.concatenate([mixing.real, mixing.imag, between], axis=1)


def _refuse(lost: npt.NDArray[np.bool_], why: str) -> None:
    if lost.any():
        raise ValueError(
            "circuit must let every feature reach the output, but feature(s) "
            f"{np.flatnonzero(lost).tolist()} {why}"
        )
