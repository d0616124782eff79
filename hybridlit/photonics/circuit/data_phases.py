"""The linear map from features to data phases, for features of any size.

Whole turns change nothing but cost digits: a float32 phase of a million has none left, and neither
has the sum of two that cancel. So they are taken off large phases, in float64. To look for such
phases costs more than a small circuit, and kernels look at every phase anyway: they refuse large
ones, and a layer is told once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hybridlit.photonics.circuit.lowering import Lowering
from hybridlit.photonics.kernels.compiled import PHASE_BOUND

__all__ = ["LinearMap", "hides_terms", "tuned", "turned_back", "without_turns"]

_REACH_BOUND = PHASE_BOUND * (1 + 2**-12)
"""For the terms of a sum: beyond rounding, so that one of them alone is above `PHASE_BOUND`."""


class LinearMap(NamedTuple):
    """What follows from an encoding alone.

    Attributes:
        encoding: Radians for each unit of a feature, shape (columns * modes, features).
        tuned_by: Which bandwidth each row has; one without data has any, times 0.
        half_turns: The encoding in units of pi and float64; None where the device has none.
        hides: Whether large terms may cancel in a small sum that nothing gives away. A mean of
            features does not hide them if each has a phase of its own, of the same bandwidth.
        widest: The largest sum of the radians of a row with several terms, else 0.
    """

    encoding: Tensor
    tuned_by: Tensor
    half_turns: Tensor | None
    hides: bool
    widest: float

    @classmethod
    def of(cls, circuit: Lowering, dtype: torch.dtype, device: torch.device) -> LinearMap:
        """Return the map of a circuit's encoding (columns, modes, features), on a device."""
        encoding = circuit.encoding
        factors = encoding.reshape(math.prod(encoding.shape[:2]), encoding.shape[2])
        terms = np.count_nonzero(factors, axis=1)[:, None]
        alone = np.abs(factors[terms[:, 0] == 1]).max(axis=0, initial=0.0)
        return cls(
            encoding=torch.tensor(factors * math.pi, dtype=dtype, device=device),
            tuned_by=torch.tensor(circuit.tuned_by, device=device),
            half_turns=None if device.type == "mps" else torch.tensor(factors, device=device),
            hides=bool((terms * np.abs(factors) > alone * (1 + 1e-9)).any()),
            widest=math.pi * float(np.abs(factors[terms[:, 0] > 1]).sum(1).max(initial=0.0)),
        )


def tuned(factors: Tensor, bandwidth: Tensor | None, tuned_by: Tensor) -> Tensor:
    """Return factors (columns * modes, features) times the bandwidth of each row."""
    if bandwidth is None:
        return factors
    return factors * bandwidth.to(factors.dtype).index_select(-1, tuned_by)[..., None]


def hides_terms(rows: Tensor, bandwidth: Tensor, widest: float) -> bool:
    """Return whether large terms may cancel in a sum that is tuned more than what else shows them.

    Args:
        rows: Features, shape (..., batch, features).
        bandwidth: Of each encoded phase.
        widest: Of the `LinearMap`.
    """
    if not rows.numel():
        return False
    largest = torch.linalg.vector_norm
    features = largest(rows.detach(), math.inf).item()
    return bool(features * largest(bandwidth.detach(), math.inf).item() * widest >= PHASE_BOUND)


def without_turns(half_turns: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the phases of features below two half turns each way, without looking at any.

    Args:
        half_turns: The encoding in units of pi and float64, tuned.
        rows: Features, shape (..., batch, features).
        dtype: Of the phases.

    Returns:
        In radians, shape (..., columns * modes, batch), differentiable; NaN where a feature is
        infinite.
    """
    exact = half_turns @ rows.to(half_turns.dtype).mT
    return (torch.fmod(exact, 2.0) * math.pi).to(dtype)


def turned_back(phases: Tensor, encoding: Tensor, half_turns: Tensor, rows: Tensor) -> Tensor:
    """Return phases below `PHASE_BOUND`: of large ones what float64 says is left beside turns.

    Args:
        phases: In radians, shape (..., columns * modes, batch).
        encoding: What they were made with, tuned.
        half_turns: The same in units of pi and float64, tuned.
        rows: Features, shape (..., batch, features).
    """
    reach = encoding.abs() @ rows.to(phases.dtype).abs().mT
    exact = half_turns @ rows.to(half_turns.dtype).mT
    left = (math.pi * (exact - 2 * torch.round(exact / 2))).to(phases.dtype)
    large = (phases.abs() >= PHASE_BOUND) | (reach >= _REACH_BOUND)
    return torch.where(large, left, phases).detach()
