"""What there is to see of a photonic module, as heat maps.

`groups` are those of the samples, which the first dimension of what is shown belongs to; `title` is
the line above.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridlit.analysis.pictures.heat_map import Picture, heat_map, side_by_side
from hybridlit.analysis.pictures.optical_circuit import kept_positions
from hybridlit.analysis.pictures.samples import SampleGroups
from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.circuit.periods import periods
from hybridlit.photonics.interferometer import cells
from hybridlit.photonics.outcomes import Outcomes

__all__ = [
    "angle_picture",
    "interferometer_picture",
    "mode_picture",
    "outcome_picture",
    "output_picture",
    "phase_picture",
    "readout_picture",
]

_PANELS = 6
"""Interferometers shown of a circuit, the first and the last ones: more are too small to see."""


def outcome_picture(
    outcomes: Tensor, groups: SampleGroups, space: Outcomes, title: str, most: int = 40
) -> Picture:
    """Show which outcomes each group of samples brings about, by roots of mean probabilities.

    Outcomes stand under the group that makes them likeliest, so that groups that the photons can
    tell apart form a diagonal. At most `most` are shown, those that vary most between groups; the
    axis says how much probability the others hold.
    """
    means = outcomes.double()
    spread = means.var(0, unbiased=False)
    shown = spread.argsort(descending=True, stable=True)[:most]
    likeliest = means[:, shown].argmax(0)
    order = np.lexsort((-means[:, shown].amax(0).numpy(), likeliest.numpy()))
    shown = shown[torch.from_numpy(order)]
    values = means[:, shown]
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
        _kets(space, shown),
        row_title=groups.kind,
        column_title=what,
        legend="sqrt of probability",
        low=0.0,
        width=600,
    )


def mode_picture(modes: Tensor, groups: SampleGroups, title: str) -> Picture:
    """Show how many photons leave through each mode on average, shape (groups, modes)."""
    return heat_map(
        modes,
        title,
        groups.names,
        _numbers(modes.shape[1]),
        row_title=groups.kind,
        column_title="output mode",
        legend="mean photons",
        low=0.0,
    )


def output_picture(outputs: Tensor, groups: SampleGroups, title: str) -> Picture:
    """Show mean outputs of shape (groups, outputs): of more than 240, the first and last ones."""
    before, after, left_out = kept_positions(outputs.shape[1], 240)
    shown = before + after
    return heat_map(
        outputs[:, shown],
        title,
        groups.names,
        list(map(str, shown)),
        row_title=groups.kind,
        column_title="output" + (f" ({left_out:,} in the middle left out)" if left_out else ""),
        legend="mean",
        scale="diverging" if bool((outputs < 0).any()) else "sequential",
    )


def interferometer_picture(unitaries: Tensor, title: str) -> Picture:
    """Show magnitudes of unitaries `[out, in]`, shape (unitaries, modes, modes)."""
    magnitudes = unitaries.detach().abs().cpu()
    labels = _numbers(magnitudes.shape[-1])
    panel = partial(_panel, row_title="out", column_title="in", low=0.0, high=1.0)
    before, after, left_out = kept_positions(len(magnitudes), _PANELS)
    panels = [
        panel(magnitudes[number], f"|U_{number}|", labels, labels) for number in before + after
    ]
    return side_by_side(panels, 3, title + _left_out(left_out))


def phase_picture(values: Tensor, title: str, *, gradients: bool = False) -> Picture:
    """Show the phases of a circuit, or a number for each of them, in the places of their cells.

    Args:
        values: Of a and b of each cell, shape (interferometers, cells, 2).
        title: Line above.
        gradients: The values are gradients, not phases in radians.

    Returns:
        The picture; phases are in units of pi, modulo 2.
    """
    numbers = values.detach().cpu().double().numpy()
    column, mode = cells((1 + int((1 + 8 * numbers.shape[1]) ** 0.5)) // 2).T
    if gradients:
        finite = np.abs(numbers[np.isfinite(numbers)])
        high = float(finite.max(initial=0.0)) or 1.0
        panel = partial(_panel, scale="diverging", low=-high, high=high)
    else:
        numbers = (numbers % (2 * np.pi)) / np.pi
        panel = partial(_panel, scale="cyclic", low=0.0, high=2.0, legend="pi")
    before, after, left_out = kept_positions(len(numbers), _PANELS)
    panels = []
    for number in before + after:
        for kind, name in enumerate("ab"):
            grid = np.full((mode.max() + 1, column.max() + 1), np.nan)
            grid[mode, column] = numbers[number, :, kind]
            panels.append(
                panel(
                    grid,
                    f"U_{number}: {name}",
                    _numbers(len(grid)),
                    _numbers(grid.shape[1]),
                    row_title="mode",
                    column_title="column of the mesh",
                )
            )
    return side_by_side(panels, 2 if len(before) < 3 else 4, title + _left_out(left_out))


def angle_picture(
    values: Tensor, layer: PhotonicCircuit, title: str, *, gradients: bool = False, most: int = 120
) -> Picture:
    """Show the angles of a circuit of components, or a number for each of them, in a row.

    Args:
        values: Of each trainable angle, shape (angles,).
        layer: The circuit.
        title: Line above.
        gradients: The values are gradients, not angles in radians.
        most: Angles shown at most, at least 2, the first and the last ones.

    Returns:
        The picture; angles are in turns, modulo 1, of what leaves the circuit as it is.
    """
    numbers = values.detach().cpu().double().numpy()
    before, after, left_out = kept_positions(len(numbers), most)
    shown = before + after
    if not gradients:
        turn = periods(layer.lowering)
        numbers = numbers / np.where(np.isinf(turn), 2 * np.pi, turn) % 1
    return heat_map(
        numbers[None, shown],
        title,
        [""],
        [str(layer.lowering.parameters[place]) for place in shown],
        column_title="angle" + (f" ({left_out:,} in the middle left out)" if left_out else ""),
        legend="" if gradients else "turns",
        scale="diverging" if gradients else "cyclic",
        low=None if gradients else 0.0,
        high=None if gradients else 1.0,
    )


def readout_picture(weights: Tensor, space: Outcomes, title: str, most: int = 120) -> Picture:
    """Show the weights of a linear readout, shape (outputs, D).

    Of more than `most` outcomes, those with the largest weights are shown, in their order.
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
        list(map(str, rows)),
        _kets(space, shown),
        row_title="output",
        column_title=what,
        legend="weight",
        scale="diverging",
        width=600,
        height=300,
    )


def _panel(*given: Any, **options: Any) -> Picture:
    """One of several, side by side."""
    return heat_map(*given, width=120, height=120, **options)


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _left_out(number: int) -> str:
    return f" ({number} interferometers in the middle left out)" if number else ""


def _kets(space: Outcomes, positions: Tensor) -> list[str]:
    """Names of outcomes."""
    return [_ket(space[position]) for position in positions.tolist()]


def _ket(state: tuple[int, ...]) -> str:
    """Name a state, by its occupied modes where there are many."""
    if len(state) <= 12:
        separator = "" if max(state) < 10 else ","
        return f"|{separator.join(map(str, state))}>"
    occupied = [f"{mode}" + (f"^{n}" if n > 1 else "") for mode, n in enumerate(state) if n]
    return f"modes {' '.join(occupied)}" if occupied else "no photon"
