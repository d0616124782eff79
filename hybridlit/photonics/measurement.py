r"""Measure some of a circuit's modes, and keep the light of the others.

The state behind a circuit is a sum over what the measured modes can hold,
:math:`|\psi\rangle = \sum_s |s\rangle \otimes |\psi_s\rangle`. The outcome s has probability
:math:`p_s = \langle\psi_s|\psi_s\rangle` and leaves the others in
:math:`|\psi_s\rangle / \sqrt{p_s}`, a state of as many photons as are left. All branches together
hold each amplitude of :math:`|\psi\rangle` once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import integer
from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.amplitudes import squared
from hybridlit.photonics.branches import Branches
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.pure_light import require_amplitudes
from hybridlit.photonics.tables import on_device

__all__ = ["Branches", "PartialMeasurement", "branch_positions", "measured_modes", "whole_layer"]

Outcome = tuple[int, ...]


class PartialMeasurement(nn.Module):
    """Counts the photons in some modes behind a layer's circuit.

    The states that are left go into other layers, `layer(x, state=branches.states[k])`; to do so
    for all branches, and to mix what comes out, see `FeedForward`.

    Args:
        layer: The circuit, of all outcomes; its readout plays no part.
        modes: The modes that are measured, at least one and not all.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If modes are out of range or named twice, outcomes are post-selected, or the
            layer has noise or detectors.

    Example:
        >>> layer = QuantumLayer(2, 1, n_modes=3, n_photons=2)
        >>> branches = PartialMeasurement(layer, [0])(torch.rand(5, 2))
        >>> branches.outcomes, branches.probabilities.shape
        (((0,), (1,), (2,)), torch.Size([5, 3]))
        >>> [tuple(state.shape) for state in branches.states]
        [(5, 3), (5, 2), (5, 1)]
    """

    @checked
    def __init__(self, layer: QuantumLayer, modes: Sequence[int]) -> None:
        super().__init__()
        self.layer = whole_layer(layer, "layer")
        self.modes = measured_modes(modes, layer.fock_space.modes)
        self.input_size = layer.input_size
        numbers = range(layer.fock_space.photons + 1)
        self._found = [tuple(FockSpace(len(self.modes), counted)) for counted in numbers]

    def forward(self, x: Tensor | int | None = None, state: Tensor | None = None) -> Branches:
        """Return all branches.

        Args:
            x: Features, shape (..., input_size), as for the layer.
            state: What enters instead of the layer's `input_state`, as for the layer.

        Returns:
            The branches, in their order.

        Raises:
            TypeError: As the layer.
            ValueError: As the layer.
        """
        space = self.layer.fock_space
        amplitudes = self.layer.amplitudes(x, state)
        probabilities, states, spaces = [], [], []
        for counted, found in enumerate(self._found):
            left = FockSpace(space.modes - len(self.modes), space.photons - counted)
            (places,) = branch_positions(
                space.modes, space.photons, self.modes, found, amplitudes.device
            )
            parts = amplitudes[..., places.flatten()].unflatten(-1, places.shape)
            mass = squared(parts).sum(-1)
            roots = torch.where(mass > 0, mass, 1).sqrt()  # without a gradient of 0 / 0
            probabilities.append(mass)
            states += list((parts / roots[..., None]).unbind(-2))
            spaces += [left] * len(found)
        outcomes = sum(self._found, ())
        return Branches(outcomes, torch.cat(probabilities, -1), tuple(states), tuple(spaces))

    def extra_repr(self) -> str:
        """Return the modes for `repr`."""
        return f"modes={list(self.modes)}"


def whole_layer(layer: object, name: str) -> QuantumLayer:
    """Check that a layer has amplitudes of all outcomes."""
    found = require_amplitudes(layer, name)
    if found.outcomes.selected:
        raise ValueError(
            f"{name} must have computation_space='fock' and no postselect, got one of "
            f"{found.outcomes.size} {found.outcomes.words}: what is dropped may be measured"
        )
    return found


def measured_modes(given: Sequence[int], modes: int) -> tuple[int, ...]:
    """Check the modes that are measured of a number of modes."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"modes must be a sequence of ints, got {type(given).__name__} {given!r}")
    found = tuple(integer(mode, "each entry of modes", 0) for mode in given)
    if not 0 < len(set(found)) == len(found) < modes or max(found) >= modes:
        raise ValueError(
            f"modes must be at least one of 0 to {modes - 1} and not all, each once, got "
            f"{list(found)}"
        )
    return found


@constant_in_graphs
def branch_positions(
    modes: int,
    photons: int,
    measured: tuple[int, ...],
    outcomes: tuple[Outcome, ...],
    device: torch.device,
) -> tuple[Tensor, ...]:
    """Return where the states of branches are among those of all modes.

    Args:
        modes: Number of modes.
        photons: Number of photons in them.
        measured: Those that are measured.
        outcomes: Of as many photons each.
        device: Where to.

    Returns:
        Positions, shape (outcomes, states of the others), alone in a tuple: of a constant that is a
        tensor `torch.compile` takes one only.
    """

    def make() -> Iterator[npt.NDArray[Any]]:
        others = [mode for mode in range(modes) if mode not in measured]
        left = FockSpace(len(others), photons - sum(outcomes[0])).states
        states = np.zeros((len(outcomes), len(left), modes), np.int64)
        states[..., others] = left
        states[..., list(measured)] = np.array(outcomes)[:, None]
        yield FockSpace(modes, photons).rank(states)

    return on_device(("branches", modes, photons, measured, outcomes), make, device)
