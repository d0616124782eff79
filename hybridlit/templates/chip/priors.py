"""What is known of a chip before it is measured: its design, and how far chips are from theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.fitted import Fitted

__all__ = ["Prior", "leak_around", "prior_vectors", "priors_around", "priors_of"]

_QUADRATIC = 1.0
"""Standard deviation of what a heater turns its phase by at the voltage of a full turn, in radians:
responses 10 % off the design are nothing unusual."""
_LINEAR = 0.3
"""The same of the linear part."""
_LEAK = 0.03
"""Of what leaks to other phases."""
_LEAST, _MOST = 0.2, 0.5
"""Of what leaks, as a part of the mean at its distance."""
_SPLITTER = 0.06
"""Of a splitter's angle in radians: reflectances of 0.5 +- 0.03."""
_END_LOSS, _MODE_LOSS = 3.0, 1.0
"""Of losses in dB."""
_OVERLAP = 0.3
"""Of the indistinguishability."""
_LATER = 0.03
"""Of all of these from one day to another, by that of one chip from its design."""


@dataclass(frozen=True)
class Prior:
    """A Gaussian on each number of a parameter.

    Args:
        mean: One for all, or of the parameter's shape.
        sd: Standard deviation, above 0, of either kind; infinite where nothing is known.
    """

    mean: float | Tensor
    sd: float | Tensor


def priors_of(heaters: HeaterResponse, layer: ChipLayer) -> dict[str, Prior]:
    """Return what the design says, by parameter of both; what is missing is not known at all.

    Offsets are unknown. Splitters are near the `init` of their angles; phases that are trained,
    and splitters without an `init`, are unknown.

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.
    """
    turn = heaters.full_turn
    found = {
        "linear": Prior(0.0, _LINEAR / turn),
        "quadratic": Prior(2 * math.pi / turn**2, _QUADRATIC / turn**2),
        "leak": Prior(0.0, _LEAK),
        "input_loss": Prior(0.0, _END_LOSS),
        "mode_loss": Prior(0.0, _MODE_LOSS),
        "output_loss": Prior(0.0, _END_LOSS),
        "overlap": Prior(layer.indistinguishability, _OVERLAP),
    }
    if layer.lowering.slots is not None and layer.lowering.parameters:
        parameters = layer.lowering.parameters
        sd = [
            _SPLITTER / abs(p.scale) if p.drawn == "splitter" and p.init is not None else math.inf
            for p in parameters
        ]
        mean = [p.init or 0.0 for p in parameters]
        found["phases"] = Prior(torch.tensor(mean).double(), torch.tensor(sd).double())
    return found


def priors_around(design: Mapping[str, Prior], before: Mapping[str, Tensor]) -> dict[str, Prior]:
    """Return what another day says: offsets may drift anywhere, all else stays about as it was.

    Args:
        design: What `priors_of` says.
        before: Parameters of that day, by name; of others the design counts.
    """
    later = {n: Prior(before[n], _LATER * p.sd) for n, p in design.items() if n in before}
    return {**design, **later}


def leak_around(leak: Tensor, dense: Tensor | None = None) -> Prior:
    """Return the prior of dense crosstalk around what a coarser description has found.

    Args:
        leak: What crosstalk by distance says, shape (phases, heaters).
        dense: What has been found of each, which says how far they are from there; None: not known.
    """
    leak, spread = leak.detach().clone(), _MOST
    if dense is not None:
        far = (dense.detach() - leak).square().sum() / leak.square().sum()
        spread = float(far.sqrt().nan_to_num(_MOST).clamp(_LEAST, _MOST))
    return Prior(leak, spread * leak.abs() + 5e-4)


def prior_vectors(fitted: Fitted, priors: Mapping[str, Prior]) -> tuple[Tensor, Tensor]:
    """Return mean and precision (1 / sd**2, 0 without a prior) of each number that is fitted.

    Args:
        fitted: The parameters.
        priors: By the name of a parameter; those that are not fitted are left out.

    Returns:
        Both of shape (size,), float64.

    Raises:
        ValueError: If some standard deviation is not above 0.
    """
    means, precisions = {}, {}
    for name, tensor in fitted.tensors.items():
        prior = priors.get(name, Prior(0.0, math.inf))
        mean, sd = (
            torch.as_tensor(v).double().expand(tensor.shape) for v in (prior.mean, prior.sd)
        )
        if not bool((sd > 0).all()):
            raise ValueError(f"priors[{name!r}].sd must be above 0, got {float(sd.min()):g}")
        means[name], precisions[name] = mean, sd**-2
    return fitted.joined(means), fitted.joined(precisions)
