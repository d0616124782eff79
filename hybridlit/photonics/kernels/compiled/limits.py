"""What the compiled kernel can serve; beyond it torch operations do."""

import torch

from hybridlit.photonics.kernels.compiled.dispatch import FLOAT32_PHOTONS

__all__ = ["MOST_MODES", "MOST_PHOTONS", "MOST_STATES"]

MOST_PHOTONS = {torch.float32: FLOAT32_PHOTONS, torch.float64: 150}
"""Photons up to which unnormalised amplitudes stay in range, by real dtype."""

MOST_MODES = 128
"""Modes that fit into a 32-bit link between states."""

MOST_STATES = 2**24 - 1
"""States that fit into a 32-bit link beside the mode."""
