"""Wanted unitaries -> voltages of a chip's heaters, through a twin of the chip."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.photonics.circuit.angles import Data
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import as_unitary
from hybridlit.photonics.circuit.decomposition import decomposed
from hybridlit.photonics.circuit.meshes import Interferometer
from hybridlit.templates.chip.steering import Steering, amplitude_fidelity

__all__ = ["Programmed", "checked_limits", "program"]

_TOGETHER = 128
_STEPS, _STEPS_AT_RANDOM, _STARTS = 30, 150, 3
_REACHED = 0.999


class Programmed(NamedTuple):
    """Voltages, and what a twin says that they do.

    Attributes:
        voltages: Of each heater, shape (targets, heaters), in volts, float64.
        fidelity: Amplitude fidelity of the twin's matrix with the wanted one, from 0 to 1: see
            `program`; (targets,), float64.
    """

    voltages: Tensor
    fidelity: Tensor


@checked
def program(
    heaters: HeaterResponse,
    layer: ChipLayer,
    unitaries: npt.ArrayLike | Tensor,
    limits: tuple[float, float] | list[float] = (0.0, 1.0),
    *,
    seed: int = 0,
) -> Programmed:
    r"""Return voltages at which a chip does what is wanted, as far as its twin is right.

    A unitary is wanted up to phases on its inputs and outputs, which neither powers nor counts of
    photons feel. Phases begin as a perfect mesh would have them (Clements, Reck), or at random on
    other circuits, and follow the twin's splitters and losses by Gauss-Newton steps through all
    heaters and their crosstalk. Whole turns are chosen so that heaters dissipate little; then
    limits are kept.

    Between the matrix A of the twin, from behind its input losses to before its output losses, and
    the wanted U, the amplitude fidelity is

    .. math:: \sum_{ij} |A_{ij}| |U_{ij}| / \sqrt{\sum_{ij} |A_{ij}|^2 \sum_{ij} |U_{ij}|^2}

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.
        unitaries: `[out, in]`, shape (targets, modes, modes), or (modes, modes) of one.
        limits: The least and the largest voltage, in volts, 0 or more.
        seed: Of the phases that begin at random.

    Returns:
        Voltages and fidelities, of all targets.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a matrix is not unitary or has not the modes of the chip, if limits are not
            two voltages in rising order, or if the heaters' phases are not the chip's.
    """
    lowest, highest = checked_limits(limits)
    if heaters.phases != layer.turned:
        raise ValueError(
            f"heaters must turn the {layer.turned} phases of layer, got {heaters.phases} phases"
        )
    wanted = _targets(unitaries, layer.modes).to(layer.encoding.device)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        exact, chip = copy.deepcopy(heaters).double(), copy.deepcopy(layer).double()
        parts = [
            _programmed(exact, chip, part, lowest, highest, generator)
            for part in wanted.split(_TOGETHER)
        ]
        voltages = torch.cat(parts)
        found = torch.cat([chip.matrices(exact(part)) for part in parts])
        return Programmed(voltages, amplitude_fidelity(found, wanted))


def checked_limits(limits: tuple[float, float] | list[float]) -> tuple[float, float]:
    """Return the least and the largest voltage; refuses what is no such pair."""
    if len(limits) != 2 or not 0 <= limits[0] < limits[1] < math.inf:
        raise ValueError(
            "limits must be the least and the largest voltage, 0 <= least < largest, got "
            f"{list(limits)}"
        )
    return float(limits[0]), float(limits[1])


def _targets(unitaries: npt.ArrayLike | Tensor, modes: int) -> Tensor:
    given = torch.as_tensor(unitaries)
    if given.dim() == 2:
        given = given[None]
    if given.dim() != 3 or given.shape[1:] != (modes, modes) or not len(given):
        raise ValueError(
            f"unitaries must have shape (targets, {modes}, {modes}) for a chip of {modes} modes, "
            f"got {tuple(given.shape)}"
        )
    return torch.stack(
        [torch.from_numpy(as_unitary(each, f"unitary {k}")) for k, each in enumerate(given)]
    )


def _programmed(
    heaters: HeaterResponse,
    layer: ChipLayer,
    wanted: Tensor,
    lowest: float,
    highest: float,
    generator: torch.Generator,
) -> Tensor:
    """Voltages for some targets."""
    mixing = heaters.mixing()
    least, most = _range(heaters, lowest, highest)
    homes = heaters.home.argmax(0)
    # Crosstalk is weak: a heater turns its own phase most.
    own: Tensor = torch.linalg.inv(mixing[homes])

    def turns_for(phases: Tensor) -> Tensor:
        return (phases - heaters.offset[homes]) @ own.mT

    free = Steering(layer, heaters.offset, mixing)
    mesh = _only_mesh(layer.circuit)
    phases = _random_phases(len(wanted), layer, generator)
    if mesh is not None:
        _set_as_perfect(phases, mesh, wanted)
    turns = turns_for(phases[:, homes])
    turns = free.solved(wanted, turns, _STEPS_AT_RANDOM if mesh is None else _STEPS)
    for _ in range(1, _STARTS if mesh is None else 1):
        reached = amplitude_fidelity(free.matrices(turns), wanted)
        missed = (reached < _REACHED).nonzero()[:, 0]
        if not len(missed):
            break
        phases = _random_phases(len(missed), layer, generator)[:, homes]
        again = free.solved(wanted[missed], turns_for(phases), _STEPS_AT_RANDOM)
        better = amplitude_fidelity(free.matrices(again), wanted[missed]) > reached[missed]
        turns[missed[better]] = again[better]
    turns = _least_turns(turns, mixing[homes], own, least, most)
    bounded = free._replace(least=least, most=most)
    turns = bounded.solved(wanted, turns, _STEPS)
    return _voltages(heaters, turns).clamp(lowest, highest)


def _set_as_perfect(phases: Tensor, mesh: Interferometer, wanted: Tensor) -> None:
    """Set phases (targets, phases) as a mesh of 50:50 splitters needs them."""
    angles, _ = mesh.tables()
    for row, unitary in zip(phases, wanted.cpu().numpy(), strict=True):
        found, _ = decomposed(unitary, mesh.shape, mesh.phases)
        for angle, value in zip(angles.flat, found.flat, strict=True):
            ((feature, weight),) = angle.weights
            row[feature] = (value - angle.offset) / weight


def _only_mesh(circuit: Circuit) -> Interferometer | None:
    """The mesh that a chip consists of, if it is one whose every angle is one phase."""
    component, modes = next(circuit.flattened())
    if len(list(circuit.flattened())) > 1 or not isinstance(component, Interferometer):
        return None
    angles = component.tables()[0].flat
    single = all(isinstance(angle, Data) and len(angle.weights) == 1 for angle in angles)
    return component if single and modes == tuple(range(circuit.n_modes)) else None


def _random_phases(targets: int, layer: ChipLayer, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(targets, layer.turned, generator=generator, dtype=torch.float64)
    return (2 * math.pi * drawn).to(layer.encoding.device)


def _least_turns(turns: Tensor, mixing: Tensor, own: Tensor, least: Tensor, most: Tensor) -> Tensor:
    """Turns of the same phases but for whole ones, the least that limits allow.

    A heater that cannot do a whole turn stops at the limit that is nearer.
    """
    whole = 2 * math.pi
    start = least + (most - least - whole).clamp(max=0.0) / 2
    phases = turns @ mixing.mT
    for _ in range(20):  # a turn leaks to other heaters' phases, which may then need one as well
        beyond = ((turns - start) / whole).floor()
        if not bool(beyond.any()):
            break
        phases = phases - whole * beyond
        turns = phases @ own.mT
    return turns.clamp(least, most)


def _range(heaters: HeaterResponse, lowest: float, highest: float) -> tuple[Tensor, Tensor]:
    """Least and largest turn of each heater, where turns rise with voltages."""
    top = -heaters.linear / (2 * heaters.quadratic)  # the voltage at which a parabola turns back
    ends = torch.tensor([lowest, highest], dtype=top.dtype, device=top.device)
    low, high = ends[:, None].expand(2, len(top))
    low = torch.where(heaters.quadratic > 0, top.clamp(lowest, highest), low)
    high = torch.where(heaters.quadratic < 0, top.clamp(lowest, highest), high)
    return heaters.turned(low[None])[0], heaters.turned(high[None])[0]


def _voltages(heaters: HeaterResponse, turns: Tensor) -> Tensor:
    """Voltages of turns, where they rise with voltages."""
    linear, quadratic = heaters.linear, heaters.quadratic
    root = (linear.square() + 4 * quadratic * turns).clamp(min=0.0).sqrt()
    # Of the two forms of the solution the one that loses no digits.
    return torch.where(linear > 0, 2 * turns / (linear + root), (root - linear) / (2 * quadratic))
