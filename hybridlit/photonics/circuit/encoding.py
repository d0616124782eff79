"""Data phases as one array: what the rules of circuit types give and kernels take."""

import numpy as np
import numpy.typing as npt

__all__ = ["Encoding"]

Encoding = npt.NDArray[np.float64]
"""Phases in units of pi for each unit of a feature, shape (columns, modes, features)."""
