"""The numbers of a twin: in units, with standard errors, beside the truth or the design."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import MEASURED, ChipLayer
from hybridlit.templates.chip.intervals import RELATIVE
from hybridlit.templates.chip.priors import priors_of

__all__ = ["KINDS", "ChipNumbers", "chip_numbers", "same_chip"]

_Numbers = npt.NDArray[np.float64]
_Raw = dict[str, Tensor]

KINDS = {
    "offset": ("phases at no voltage", "rad"),
    "quadratic": ("response to squares of voltages", "rad/V2"),
    "linear": ("linear response to voltages", "rad/V"),
    "leak": ("crosstalk", "of a heater's phase"),
    "phases": ("reflectivities of splitters", ""),
    "input_loss": ("losses of inputs", "dB"),
    "mode_loss": ("losses along modes", "dB"),
    "output_loss": ("losses of outputs", "dB"),
    "overlap": ("indistinguishability", ""),
}
"""What is found of a chip, and its unit, by the name of the parameter."""


@dataclass(frozen=True)
class ChipNumbers:
    """What a twin has found of one kind.

    Attributes:
        name: What they are.
        unit: Their unit, or nothing.
        learned: The numbers; of crosstalk (phases, heaters), NaN on a heater's own phase.
        error: Standard error of each; NaN where none is known, infinite where light says nothing.
        reference: What each truly is, or was designed to be; NaN where that is not known. Of phases
            at no voltage, with whole turns and what no light tells as in `learned`.
    """

    name: str
    unit: str
    learned: _Numbers
    error: _Numbers
    reference: _Numbers

    @property
    def half_width(self) -> _Numbers:
        """Half of the 95 % interval of each."""
        return 1.96 * self.error

    @property
    def covered(self) -> tuple[int, int]:
        """How many references are within the 95 % intervals, and of how many there is both."""
        off = np.abs(self.learned - self.reference)
        both = np.isfinite(off) & np.isfinite(self.error)
        return int((off[both] < self.half_width[both]).sum()), int(both.sum())


def same_chip(
    one: tuple[HeaterResponse, ChipLayer], other: tuple[HeaterResponse, ChipLayer]
) -> bool:
    """Tell whether two chips are of one design: the same heaters, splitters and detectors."""
    homes = [heaters.home.shape == one[0].home.shape for heaters, _ in (one, other)]
    splitters = [list(map(str, layer.lowering.parameters)) for _, layer in (one, other)]
    seen = {(layer.measured, layer.modes) for _, layer in (one, other)}
    placed = all(homes) and bool((one[0].home.cpu() == other[0].home.cpu()).all())
    return placed and splitters[0] == splitters[1] and len(seen) == 1


def chip_numbers(
    heaters: HeaterResponse,
    layer: ChipLayer,
    errors: Mapping[str, Tensor] | None = None,
    truth: tuple[HeaterResponse, ChipLayer] | None = None,
    unseen: Tensor | None = None,
) -> dict[str, ChipNumbers]:
    """Return what a twin has found, by the name of the parameter.

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.
        errors: What `standard_errors` says; None: not known.
        truth: The chip itself, of the same design, of a simulated one; None: the design is what
            numbers are compared with.
        unseen: What `unseen_offsets` says, to compare offsets without it.
    """
    learned = _in_units(layer, _raw(heaters, layer))
    reference = _in_units(layer, _design(heaters, layer) if truth is None else _raw(*truth))
    known = _errors(heaters, layer, errors or {})
    if truth is not None:
        away = learned["offset"] - reference["offset"]
        reference["offset"] = learned["offset"] - _without_gauges(away, unseen)
    return {
        name: ChipNumbers(*KINDS[name], value, known[name], reference[name])
        for name, value in learned.items()
    }


def _raw(heaters: HeaterResponse, layer: ChipLayer) -> _Raw:
    """Return the parameters, crosstalk as a matrix."""
    found = {name: getattr(heaters, name) for name in ("offset", "linear", "quadratic")}
    if heaters.leak is not None:
        found["leak"] = (heaters.mixing() - heaters.home).masked_fill(heaters.home > 0, math.nan)
    names = ["phases", "input_loss", "mode_loss", "output_loss"]
    if MEASURED[layer.measured].lights > 1:
        names.append("overlap")
    found |= {name: getattr(layer, name) for name in names}
    return {name: value.detach().double().cpu() for name, value in found.items()}


def _design(heaters: HeaterResponse, layer: ChipLayer) -> _Raw:
    """Return what priors say of the parameters; NaN where they say nothing."""
    found = {name: torch.full_like(value, math.nan) for name, value in _raw(heaters, layer).items()}
    for name, prior in priors_of(heaters, layer).items():
        if name in found:
            unknown = torch.isinf(torch.as_tensor(prior.sd))
            mean = torch.as_tensor(prior.mean, dtype=torch.float64)
            found[name].copy_(mean.masked_fill(unknown, math.nan))
    return found


def _in_units(layer: ChipLayer, raw: _Raw) -> dict[str, _Numbers]:
    """Return parameters as people know them, in the order of `KINDS`, if there are any."""
    found = {name: value.clone() for name, value in raw.items()}
    found["phases"] = (_angles(layer, raw["phases"]) / 2).sin().square()
    for name in RELATIVE:
        found[name] -= found[name].mean()
    return {name: found[name].numpy() for name in KINDS if name in found and found[name].numel()}


def _angles(layer: ChipLayer, phases: Tensor) -> Tensor:
    """Return the angles of splitters, of which phases are only some."""
    scale, offset, kept = _splitters(layer)
    return (scale * phases + offset)[kept]


def _splitters(layer: ChipLayer) -> tuple[Tensor, Tensor, Tensor]:
    """Return factors and offsets of trained angles, and which of them are those of splitters."""
    own = layer.lowering.parameters
    numbers = torch.tensor([(p.scale, p.offset) for p in own], dtype=torch.float64).view(-1, 2)
    kept = torch.tensor([p.drawn == "splitter" for p in own], dtype=torch.bool)
    return numbers[:, 0], numbers[:, 1], kept


def _errors(
    heaters: HeaterResponse, layer: ChipLayer, errors: Mapping[str, Tensor]
) -> dict[str, _Numbers]:
    """Return standard errors in the same units and shapes."""
    raw = _raw(heaters, layer)
    found = {name: torch.full_like(value, math.nan) for name, value in raw.items()}
    for name, error in errors.items():
        if name == "leak" and heaters.apart is not None:
            error = error[heaters.apart]
        found[name] = error.detach().double().cpu()
    if "leak" in found:
        found["leak"] = found["leak"].masked_fill(heaters.home.cpu() > 0, math.nan)
    scale, _, kept = _splitters(layer)
    slope = (_angles(layer, raw["phases"])).sin() / 2
    found["phases"] = (scale * found["phases"])[kept] * slope.abs()
    return {name: value.numpy() for name, value in found.items()}


def _without_gauges(away: _Numbers, unseen: Tensor | None) -> _Numbers:
    """Return differences of offsets without whole turns and directions that no light tells."""
    if unseen is not None and unseen.shape[1]:
        from scipy.linalg import qr  # which takes its time to import

        blind = unseen.detach().double().cpu().numpy()
        # As many phases as there are directions are set to no difference: then others are whole
        # turns away from what they are.
        pivots = qr(blind.T, mode="r", pivoting=True)[1][: blind.shape[1]]
        away = _wrapped(away - blind @ np.linalg.solve(blind[pivots], away[pivots]))
        return away - blind @ (blind.T @ away)
    return _wrapped(away)


def _wrapped(angles: _Numbers) -> _Numbers:
    found: _Numbers = (angles + math.pi) % (2 * math.pi) - math.pi
    return found
