r"""Derivatives in a phase from values at other phases alone, as a device can give them.

What n photons show is a trigonometric polynomial of degree n in any phase, so that exactly

.. math:: f'(x) = \sum_{\mu=1}^{2n} \frac{(-1)^{\mu-1}}{4 n \sin^2(x_\mu / 2)}\, f(x + x_\mu),
          \quad x_\mu = \frac{(2\mu - 1)\pi}{2n}

(Wierichs et al., Quantum 6, 677 (2022); for photons Pappalardo et al., Phys. Rev. A 111, 032429
(2025)).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hybridlit.checks import integer

__all__ = ["shifts"]


def shifts(photons: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return at which other phases to look, and how much each value counts.

    Args:
        photons: The most photons n that a circuit may hold, at least 1.

    Returns:
        Shifts in radians and weights, shape (2 n,) each.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below 1.

    Example:
        >>> angles, weights = shifts(2)
        >>> x = 0.3 + angles
        >>> f = np.cos(2 * x) + np.sin(x)
        >>> bool(np.isclose(weights @ f, -2 * np.sin(0.6) + np.cos(0.3)))
        True
    """
    count = 2 * integer(photons, "photons", 1)
    angles = (2 * np.arange(count) + 1) * np.pi / count
    signs = np.where(np.arange(count) % 2, -1.0, 1.0)
    return angles, signs / (2 * count * np.sin(angles / 2) ** 2)
