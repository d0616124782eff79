"""Pictures of what the light does in a photonic layer, as images of a few milliseconds each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybridlit.analysis.pictures.heat_map import ColourScale, Picture, heat_map, side_by_side
from hybridlit.analysis.pictures.optical_circuit import kept_positions
from hybridlit.analysis.pictures.photon_statistics import SampleGroups
from hybridlit.photonics import FockSpace
from hybridlit.photonics.interferometer import cells, unitaries

__all__ = [
    "interferometer_picture",
    "mode_picture",
    "outcome_picture",
    "output_picture",
    "phase_picture",
    "readout_picture",
]

_PANELS = 6
"""Interferometers shown of a circuit: more are too small to see."""


def outcome_picture(
    outcomes: Tensor, groups: SampleGroups, space: FockSpace, title: str, most: int = 40
) -> Picture:
    """Show which outcomes each group of samples brings about.

    Outcomes stand under the group that makes them likeliest, so that groups that the photons can
    tell apart form a diagonal.

    Args:
        outcomes: Mean probability of each outcome, shape (groups, D).
        groups: The groups.
        space: The outcomes.
        title: Line above.
        most: Outcomes shown at most, at least 1: those that vary most between groups. The
            axis says how much probability the others hold.

    Returns:
        The picture: colours are square roots of probabilities.
    """
    means = outcomes.double()
    spread = means.var(0, unbiased=False)
    shown = spread.argsort(descending=True, stable=True)[:most]
    likeliest = means[:, shown].argmax(0)
    order = np.lexsort((-means[:, shown].amax(0).numpy(), likeliest.numpy()))
    shown = shown[torch.from_numpy(order)]
    values, labels = means[:, shown], [_ket(space[position]) for position in shown.tolist()]
    what = f"all {space.size} outcomes"
    if len(shown) < space.size:
        rest = 100 * (1 - values.sum(1))
        what = (
            f"{len(shown)} of {space.size:,} outcomes, those that differ most; the others hold "
            f"{rest.min():.0f} to {rest.max():.0f} % of the probability"
        )
    return heat_map(
        values.clamp(min=0).sqrt(),
        title,
        groups.names,
        labels,
        row_title=groups.kind,
        column_title=what,
        legend="sqrt of probability",
        low=0.0,
        width=600,
    )


def mode_picture(modes: Tensor, groups: SampleGroups, title: str) -> Picture:
    """Show how many photons leave through each mode.

    Args:
        modes: Mean photon number of each mode, shape (groups, modes).
        groups: The groups.
        title: Line above.

    Returns:
        The picture.
    """
    return heat_map(
        modes,
        title,
        groups.names,
        [str(mode) for mode in range(modes.shape[1])],
        row_title=groups.kind,
        column_title="output mode",
        legend="mean photons",
        low=0.0,
    )


def output_picture(outputs: Tensor, groups: SampleGroups, title: str) -> Picture:
    """Show what a module returns, whatever it is.

    Args:
        outputs: Mean of each output, shape (groups, outputs).
        groups: The groups.
        title: Line above.

    Returns:
        The picture: of more than 240 outputs, the first and the last ones.
    """
    before, after, left_out = kept_positions(outputs.shape[1], 240)
    shown = before + after
    return heat_map(
        outputs[:, shown],
        title,
        groups.names,
        [str(position) for position in shown],
        row_title=groups.kind,
        column_title="output" + (f" ({left_out:,} in the middle left out)" if left_out else ""),
        legend="mean",
        scale="diverging" if bool((outputs < 0).any()) else "sequential",
    )


def interferometer_picture(phases: Tensor, title: str) -> Picture:
    """Show the magnitudes of each interferometer's unitary.

    Args:
        phases: (a, b) of each cell of a circuit in radians, shape (interferometers, cells, 2).
        title: Line above.

    Returns:
        The picture: of more than 6 interferometers, the first and the last ones.
    """
    magnitudes = unitaries(phases.detach()).abs().cpu()
    labels = [str(mode) for mode in range(magnitudes.shape[-1])]
    before, after, left_out = kept_positions(len(magnitudes), _PANELS)
    panels = [
        heat_map(
            magnitudes[number],
            f"|U_{number}|",
            labels,
            labels,
            row_title="out",
            column_title="in",
            low=0.0,
            high=1.0,
            width=120,
            height=120,
        )
        for number in before + after
    ]
    return side_by_side(panels, 3, title + _left_out(left_out))


def phase_picture(values: Tensor, title: str, *, gradients: bool = False) -> Picture:
    """Show the phases of a circuit, or a number for each of them, in the places of their cells.

    Args:
        values: Of a and b of each cell, shape (interferometers, cells, 2).
        title: Line above.
        gradients: The values are gradients, not phases in radians.

    Returns:
        The picture: of more than 6 interferometers, the first and the last ones. Phases are shown
        in units of pi, modulo 2.
    """
    numbers = values.detach().cpu().double().numpy()
    column, mode = cells((1 + int((1 + 8 * numbers.shape[1]) ** 0.5)) // 2).T
    scale: ColourScale = "diverging" if gradients else "cyclic"
    finite = np.abs(numbers[np.isfinite(numbers)])
    high = float(finite.max(initial=0.0)) or 1.0 if gradients else 2.0
    before, after, left_out = kept_positions(len(numbers), _PANELS)
    panels = []
    for number in before + after:
        for kind, name in enumerate("ab"):
            grid = np.full((mode.max() + 1, column.max() + 1), np.nan)
            shown = numbers[number, :, kind]
            grid[mode, column] = shown if gradients else (shown % (2 * np.pi)) / np.pi
            panels.append(
                heat_map(
                    grid,
                    f"U_{number}: {name}",
                    [str(row) for row in range(len(grid))],
                    [str(cell) for cell in range(grid.shape[1])],
                    row_title="mode",
                    column_title="column of the mesh",
                    legend="" if gradients else "pi",
                    scale=scale,
                    low=-high if gradients else 0.0,
                    high=high,
                    width=120,
                    height=120,
                )
            )
    return side_by_side(panels, 2 if len(before) < 3 else 4, title + _left_out(left_out))


def readout_picture(weights: Tensor, space: FockSpace, title: str, most: int = 120) -> Picture:
    """Show the weights of a linear readout.

    Args:
        weights: Shape (outputs, D).
        space: The outcomes.
        title: Line above.
        most: Outcomes shown at most, at least 1: those with the largest weights, in their order.

    Returns:
        The picture.
    """
    numbers = weights.detach().cpu().double()
    shown = torch.arange(numbers.shape[1])
    what = f"all {space.size} outcomes"
    if len(shown) > most:
        shown = numbers.square().sum(0).argsort(descending=True, stable=True)[:most].sort().values
        what = f"{most} of {space.size:,} outcomes, those with the largest weights"
    before, after, left_out = kept_positions(len(numbers), 100)
    rows = before + after
    if left_out:
        what += f"; {left_out:,} outputs in the middle left out"
    return heat_map(
        numbers[rows][:, shown],
        title,
        [str(row) for row in rows],
        [_ket(space[position]) for position in shown.tolist()],
        row_title="output",
        column_title=what,
        legend="weight",
        scale="diverging",
        width=600,
        height=300,
    )


def _left_out(number: int) -> str:
    return f" ({number} interferometers in the middle left out)" if number else ""


def _ket(state: tuple[int, ...]) -> str:
    """Name a state, by its occupied modes where there are many."""
    if len(state) <= 12:
        separator = "" if max(state) < 10 else ","
        return f"|{separator.join(map(str, state))}>"
    occupied = [f"{mode}" + (f"^{n}" if n > 1 else "") for mode, n in enumerate(state) if n]
    return f"modes {' '.join(occupied)}"
