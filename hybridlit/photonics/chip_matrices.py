"""Matrices of a chip at many settings of its phases, with their derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridlit.photonics.chip_layer import ChipLayer

__all__ = ["matrices_and_derivatives"]


def matrices_and_derivatives(
    layer: ChipLayer, phases: Tensor, mixing: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the matrices between the ends of a chip, and their derivatives.

    A phase on mode k between a part B of the chip in front of it and a part C behind changes
    :math:`C B` by :math:`i\, C_{\cdot k} B_{k \cdot}`.

    Args:
        layer: The chip.
        phases: In radians, shape (batch, phases).
        mixing: What a unit of each variable adds to each phase, shape (phases, variables).

    Returns:
        As `ChipLayer.matrices`, shape (batch, modes, modes), and the derivatives in the variables,
        (batch, modes, modes, variables); complex.
    """
    meshes, columns = layer.interferometers(), layer.columns
    shifts = (phases @ layer.encoding.mT).view(-1, columns, layer.modes)
    shifts = torch.polar(layer.kept().expand_as(shifts), shifts)
    found = meshes[0].expand(len(phases), -1, -1)
    front = []
    for column in range(columns):
        found = shifts[:, column, :, None] * found
        front.append(found)
        found = meshes[column + 1] @ found
    behind = meshes[columns].expand_as(found)
    back = [behind]
    for column in reversed(range(1, columns)):
        behind = (behind * shifts[:, column, None, :]) @ meshes[column]
        back.append(behind)
    used = layer.encoding.any(1)
    into = torch.stack(front, 1).flatten(1, 2)[:, used].mT
    out = torch.cat(back[::-1], 2)[:, :, used]
    each = 1j * out[:, :, None, :] * into[:, None, :, :]
    return found, each @ (layer.encoding[used] @ mixing).to(each.dtype)
